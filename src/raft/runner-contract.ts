import type { Clock, Logger, NodeId, Random, ReadableCell } from "../kernel/index.ts";
import { isSameSet, type TargetConfiguration } from "./configuration.ts";
import type { FeedLimits } from "./feed-server.ts";
import type { EntryId, LogStorage } from "./log-storage.ts";
import type { MemberProgress, Raft } from "./raft.ts";
import type { RaftTiming } from "./timing.ts";
import type { RaftStateMachine, RaftTransport } from "./transport.ts";

/** A snapshot is taken after so many entries or bytes since the last one. */
export type SnapshotPolicy = {
  readonly everyEntries: number;
  readonly everyBytes: number;
  /** Kept behind a snapshot, so that a member that lags a little needs none. */
  readonly retainedEntries: number;
  /**
   * While a member fetches an older snapshot, the entries that it will need after that one are
   * kept, but for so many snapshots at most. 8 by default.
   */
  readonly maxPutOff?: number;
};

export type RaftRunnerOptions = {
  readonly self: NodeId;
  /** Stays the caller's to close, after the runner. */
  readonly storage: LogStorage;
  readonly stateMachine: RaftStateMachine;
  readonly transport: RaftTransport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly timing: RaftTiming;
  /** With empty storage: begin a new cluster whose one voter is this node. */
  readonly bootstrap?: boolean;
  /** The disk failed or an invariant broke: the log has stopped, end the process. */
  readonly onFatal: (error: unknown) => void;
  readonly proposalTimeoutMs?: number;
  readonly snapshots?: SnapshotPolicy;
  /** Whom to ask for the log beyond the members named in it: at first this node knows none. */
  readonly feeders?: () => readonly NodeId[];
  /** The highest index that any node is said to hold; a feeder far behind it is left. */
  readonly knownHead?: ReadableCell<number>;
  readonly feedLimits?: FeedLimits;
  /** Runs a function in the next turn of the event loop, so that one turn's work is one batch. */
  readonly nextTurn?: (run: () => void) => void;
};

/** The log's condition. Covers what the cluster asks of a log's status. */
export type RaftStatus = {
  readonly leader: NodeId | undefined;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly voters: readonly NodeId[];
  /** While a change of voters is under way: those before it, of whom a majority must agree too. */
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Whether this node heard a leader within the election timeout, or leads with a majority. */
  readonly hasQuorum: boolean;
  /** From whom this node gets the log while it is no member of the configuration. */
  readonly feeder: NodeId | undefined;
  /** Whether the last change of members is finished. */
  readonly isSettled: boolean;
  /** The slowest write of the last minute, where it took above a third of the election timeout. */
  readonly slowWriteMs: number | undefined;
};

export type ProposeOptions = {
  readonly signal: AbortSignal;
  /**
   * Names the proposal, at most 64 bytes: one that is made again under its name, by this node
   * or after its restart, is applied once. The name is known for the next 8,192 proposals.
   */
  readonly id?: string;
};

/** One running node of the log. */
export interface RaftRunner extends AsyncDisposable {
  readonly status: ReadableCell<RaftStatus>;
  /**
   * Replicates `data` and resolves with its index once this node applied it. Works on every
   * node; applied at most once, also when it had to be sent again.
   * @throws RaftError `no_quorum`, `too_large`, `overloaded`, `storage_failed`, `stopped`.
   */
  propose(data: Uint8Array, options: ProposeOptions): Promise<number>;
  /**
   * Resolves with an index that covers everything committed before the call, once this node
   * has applied it: what is read then is linearizable. @throws RaftError `no_quorum`.
   */
  barrier(options: { readonly signal: AbortSignal }): Promise<number>;
  /**
   * On the leader: changes the members and resolves when the change is finished.
   * @throws RaftError `not_leader`, `configuration_pending`, `invalid_configuration`,
   *   `leadership_lost` (it may still be finished by the next leader).
   */
  changeConfiguration(
    target: TargetConfiguration,
    options: { readonly signal: AbortSignal },
  ): Promise<void>;
  /**
   * How far the logs of other nodes reach, as they answer: only those that do are in the map.
   */
  positions(
    nodes: readonly NodeId[],
    options: { readonly signal: AbortSignal },
  ): Promise<ReadonlyMap<NodeId, EntryId>>;
  /** How far this node's own log reaches. */
  position(): EntryId;
  /**
   * Goes on without a majority, as the only voter, see {@link Raft.recover}; resolves with
   * the index of `data` once it is applied here.
   * @throws RaftError `has_quorum`
   */
  recover(
    wanted: { readonly learners: readonly NodeId[]; readonly data: Uint8Array },
    options: { readonly signal: AbortSignal },
  ): Promise<number>;
  /** How far the members are; undefined on others than the leader. */
  progress(): readonly MemberProgress[] | undefined;
  /**
   * On the leader: hands over to the most advanced voter and resolves with the new leader, or
   * undefined when nobody took over in time. @throws RaftError `not_leader`.
   */
  transferLeadership(options: { readonly signal: AbortSignal }): Promise<NodeId | undefined>;
}

export function isSameStatus(left: RaftStatus, right: RaftStatus): boolean {
  return (
    left.leader === right.leader &&
    left.feeder === right.feeder &&
    left.term === right.term &&
    left.commitIndex === right.commitIndex &&
    left.appliedIndex === right.appliedIndex &&
    left.isSettled === right.isSettled &&
    left.slowWriteMs === right.slowWriteMs &&
    isSameSet(left.voters, right.voters) &&
    isSameSet(left.votersOutgoing, right.votersOutgoing) &&
    isSameSet(left.learners, right.learners)
  );
}
