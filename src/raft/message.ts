import type { NodeId } from "../kernel/index.ts";
import type { Entry, EntryId, SnapshotMeta } from "./log-storage.ts";

/** What nodes say to each other. `term` is the sender's, except where noted. */
export type Message =
  | PreVoteRequest
  | PreVoteResponse
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendAccepted
  | AppendRejected
  | Heartbeat
  | HeartbeatResponse
  | SnapshotRequest
  | TimeoutNow;

/** Asks whether an election could be won, without disturbing anybody (dissertation §9.6). */
export type PreVoteRequest = {
  readonly kind: "pre_vote_request";
  /** The term of the election that would follow: one above the sender's. */
  readonly term: number;
  readonly lastEntry: EntryId;
};

export type PreVoteResponse = {
  readonly kind: "pre_vote_response";
  /** When granted, the term asked for; else the sender's. */
  readonly term: number;
  readonly isGranted: boolean;
};

/** RequestVote (paper §5.2). */
export type VoteRequest = {
  readonly kind: "vote_request";
  readonly term: number;
  readonly lastEntry: EntryId;
  /** The leader itself asked for this election, so its lease does not protect it. */
  readonly isTransfer: boolean;
};

export type VoteResponse = {
  readonly kind: "vote_response";
  readonly term: number;
  readonly isGranted: boolean;
};

/** AppendEntries (paper §5.3). Entries follow `previous` without a gap. */
export type AppendRequest = {
  readonly kind: "append_request";
  readonly term: number;
  readonly previous: EntryId;
  readonly entries: readonly Entry[];
  readonly commitIndex: number;
};

export type AppendAccepted = {
  readonly kind: "append_accepted";
  readonly term: number;
  /** The logs are equal up to here, durably. */
  readonly matchIndex: number;
};

export type AppendRejected = {
  readonly kind: "append_rejected";
  readonly term: number;
  /** The index of the `previous` that did not match. */
  readonly rejectedIndex: number;
  /** Where the logs may match at most, so that the leader skips whole terms (paper §5.3, end). */
  readonly hint: EntryId;
};

export type Heartbeat = {
  readonly kind: "heartbeat";
  readonly term: number;
  /** Never above what the receiver has acknowledged. */
  readonly commitIndex: number;
  /** The newest read round; 0 when there is none. */
  readonly readContext: number;
};

export type HeartbeatResponse = {
  readonly kind: "heartbeat_response";
  readonly term: number;
  readonly readContext: number;
};

/** InstallSnapshot (paper §7). Between nodes it travels as an offer, and the data in chunks. */
export type SnapshotRequest = {
  readonly kind: "snapshot_request";
  readonly term: number;
  readonly meta: SnapshotMeta;
  readonly data: Uint8Array;
};

/** The leader asks the receiver to take over at once (dissertation §3.10). */
export type TimeoutNow = { readonly kind: "timeout_now"; readonly term: number };

/** A leader has a snapshot for the receiver, who fetches it piece by piece. */
export type SnapshotOffer = {
  readonly kind: "snapshot_offer";
  readonly term: number;
  readonly meta: SnapshotMeta;
  /** Size of the snapshot's data. */
  readonly bytes: number;
};

/** Asks the leader for an index that covers all that is committed by now. */
export type ReadRequest = {
  readonly kind: "read_request";
  /** Names the round, for the answer. */
  readonly round: string;
};

export type ReadAnswer = {
  readonly kind: "read_answer";
  readonly round: string;
  /** Null: the sender does not lead, or cannot take more. */
  readonly index: number | null;
};

/** What travels between nodes: the core's messages, and what their runners say to each other. */
export type PeerMessage =
  | Exclude<Message, SnapshotRequest>
  | SnapshotOffer
  | ReadRequest
  | ReadAnswer;

export type Outgoing = { readonly to: NodeId; readonly message: Message };
