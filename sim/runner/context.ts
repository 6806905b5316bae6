import type { Random } from "../../src/kernel/index.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Links } from "../links.ts";
import type { Checker } from "./checker.ts";
import type { Swarm } from "./swarm.ts";

/** What all parts of one run share. */
export type RunnerContext = {
  readonly queue: EventQueue;
  readonly random: Random;
  readonly links: Links;
  readonly swarm: Swarm;
  readonly checker: Checker;
  readonly note: (text: () => string) => void;
  /** Ends the run: a promise was broken. */
  violated(text: string): void;
  /** Something happened to a machine: it acts before time goes on. */
  stir(): void;
};
