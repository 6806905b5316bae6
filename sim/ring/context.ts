import type { GossipTiming } from "../../src/gossip/index.ts";
import type { Random } from "../../src/kernel/index.ts";
import type { RaftTiming, SnapshotPolicy } from "../../src/raft/index.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Links } from "../links.ts";

export type RingTiming = {
  readonly gossip: GossipTiming;
  readonly raft: RaftTiming;
  readonly snapshots: SnapshotPolicy;
};

/** What all parts of one simulated ring share. */
export type RingContext = {
  readonly queue: EventQueue;
  readonly random: Random;
  readonly links: Links;
  readonly timing: RingTiming;
  readonly note: (text: () => string) => void;
  /** Ends the run: a promise was broken. */
  violated(text: string): void;
  /** Something happened to a machine: it acts before time goes on. */
  stir(): void;
};
