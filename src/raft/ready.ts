import type { NodeId } from "../kernel/index.ts";
import type { Entry, HardState } from "./log-storage.ts";
import type { Outgoing } from "./message.ts";
import type { Snapshot } from "./raft-log.ts";

/**
 * What the core wants done. The fields' names give the order: `send` at any time; first
 * `persist`, then `sendAfterPersist`, then `persisted()`; `apply` in order, then `applied()`.
 */
export type Ready = {
  /** At most one at a time: no other comes before `persisted()` was called for this one. */
  readonly persist: Persist | undefined;
  readonly send: readonly Outgoing[];
  /** Acknowledgements and votes: sent before their write is durable, they could be broken. */
  readonly sendAfterPersist: readonly Outgoing[];
  /** Members that need the newest snapshot on disk, as a message of the given term. */
  readonly sendSnapshots: readonly { readonly to: NodeId; readonly term: number }[];
  /** Committed and durable here. */
  readonly apply: readonly Entry[];
  /** Reads that may be answered as soon as `index` is applied. */
  readonly reads: readonly ConfirmedRead[];
};

/** One group commit: the snapshot first, then hard state and entries together. */
export type Persist = {
  /** Came from the leader. Once durable, the state machine is restored from it. */
  readonly snapshot: Snapshot | undefined;
  readonly hardState: HardState | undefined;
  readonly entries: readonly Entry[];
};

export type ConfirmedRead = { readonly context: number; readonly index: number };
