import type { Clock, Logger, NodeId, Random, ReadableCell } from "../kernel/index.ts";
import type { NodeSigner, PeerNetwork } from "../network/index.ts";
import type { KnownMember } from "./member-view.ts";
import type { GossipTiming } from "./presets.ts";
import type { StateRecord } from "./record-table.ts";

export type GossipOptions = {
  readonly network: PeerNetwork;
  readonly signer: NodeSigner;
  /** Who belongs to the cluster; others' claims and records are not kept. */
  readonly admitted: ReadableCell<ReadonlySet<NodeId>>;
  /** This node's incarnation on disk: a lower one than before would be ignored by all. */
  readonly incarnation: { load(): number; save(value: number): void };
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly timing: GossipTiming;
};

/** Who is alive, and what each member says of itself. */
export interface Gossip extends AsyncDisposable {
  /** All members, this node included. */
  readonly members: ReadableCell<ReadonlyMap<NodeId, KnownMember>>;
  /** The newest record of each member, this node's own included. */
  readonly records: ReadableCell<ReadonlyMap<NodeId, StateRecord>>;
  /**
   * Replaces this node's own record; changes in quick succession travel as one. A body that is
   * too large is logged and not taken: the record before it stays.
   */
  publish(body: Uint8Array): void;
  /** What somebody should see to: that another process speaks in this node's name. */
  warnings(): readonly string[];
  /** Says goodbye: the others need not find out. */
  leave(): Promise<void>;
}
