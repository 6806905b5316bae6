import type { NodeId } from "../kernel/index.ts";

/** Indexes and terms have 48 bits on disk. At a thousand elections a second terms last 8,900 years. */
export const maxLogNumber = 2 ** 48 - 1;

/** Which entry: its position and the term in which a leader created it. They travel together. */
export type EntryId = { readonly index: number; readonly term: number };

/**
 * One entry of the replicated log. `data` is opaque: of `normal` entries it belongs to the
 * state machine, of `configuration` entries to Raft; an `empty` one opens a leader's term.
 */
export type Entry = EntryId & {
  readonly kind: "normal" | "configuration" | "empty";
  readonly data: Uint8Array;
};

/** What must survive a crash besides the entries (paper figure 2, plus the commit index). */
export type HardState = {
  readonly term: number;
  readonly vote: NodeId | undefined;
  readonly commitIndex: number;
};

/**
 * Who takes part. While `votersOutgoing` is not empty, the configuration is joint: every
 * decision needs a majority of both sets (dissertation §4.3).
 */
export type Configuration = {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  /** Receive the log, do not vote and do not count. */
  readonly learners: readonly NodeId[];
  /** Voters on their way out that become learners when the joint configuration ends. */
  readonly learnersNext: readonly NodeId[];
};

export type SnapshotMeta = EntryId & { readonly configuration: Configuration };

/** The durable log as the core reads it: synchronous, and only what is on disk already. */
export interface LogReader {
  /** Index of the oldest entry still there; `lastIndex() + 1` when there is none. */
  firstIndex(): number;
  /** 0 when the log is empty and there was never a snapshot. */
  lastIndex(): number;
  /** Term of an entry; also answered for the snapshot's own index. Undefined when compacted or absent. */
  term(index: number): number | undefined;
  /** Entries `from` to `to`, both included; stops after `maxBytes` but gives at least one. */
  entries(range: {
    readonly from: number;
    readonly to: number;
    readonly maxBytes: number;
  }): readonly Entry[];
  /** The newest snapshot's description, where there is one. */
  snapshotMeta(): SnapshotMeta | undefined;
}

/**
 * The durable half of Raft. One save at a time, in order. A failed write is fatal to the
 * process: after it the disk's contents are unknown, so it must not be retried.
 */
export interface LogStorage extends LogReader, AsyncDisposable {
  /** As found at opening, and after each save. Term 0 and no vote at first. */
  hardState(): HardState;
  /**
   * Resolves when all of it is durable. An entry whose index is not above the last one
   * supersedes that entry and everything after it. Entries are consecutive.
   */
  save(batch: {
    readonly hardState?: HardState;
    readonly entries: readonly Entry[];
  }): Promise<void>;
  /**
   * Stores a snapshot of the state machine at `meta.index`. Durable before it resolves. When
   * the log does not hold the entry `meta` names (it came from a leader), the log is emptied
   * and goes on after it.
   */
  saveSnapshot(meta: SnapshotMeta, data: Uint8Array): Promise<void>;
  /** The newest snapshot, read back and checked. */
  loadSnapshot(): Promise<{ readonly meta: SnapshotMeta; readonly data: Uint8Array } | undefined>;
  /** Entries up to `index` may be dropped; never above the newest snapshot. */
  compact(index: number): Promise<void>;
}
