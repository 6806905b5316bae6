import type { NodeId, ReadableCell } from "../kernel/index.ts";

export type SubmitOptions = { readonly signal: AbortSignal; readonly id?: string };

/** What the cluster needs of a replicated log. The Raft runner fits. */
export interface CommandLog {
  /**
   * Replicates `data` and resolves with its index once this node has applied it.
   * Works on every node: followers forward to the leader. Applied at most once.
   * One with an `id` is applied once, however often it is proposed under that name.
   * @throws CodedError `no_quorum` when no leader can be found or it cannot commit in time.
   */
  propose(data: Uint8Array, options: SubmitOptions): Promise<number>;
}

/** What the log needs of whoever applies its entries. All synchronous: state lives in memory. */
export interface StateMachine {
  /** In order, each index exactly once. Must not throw for bad input. */
  apply(entry: { readonly index: number; readonly data: Uint8Array }): void;
  snapshot(): Uint8Array;
  restore(snapshot: Uint8Array, index: number): void;
}

/** What the cluster knows of the log's present condition. */
export type LogStatus = {
  readonly leader: NodeId | undefined;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly voters: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Whether this node has heard from a working leader lately, or is one. */
  readonly hasQuorum: boolean;
  /** From whom this node gets the log while it is neither voter nor learner. */
  readonly feeder?: NodeId | undefined;
};

/** The log's condition as a value that changes. */
export type LogStatusCell = ReadableCell<LogStatus>;
