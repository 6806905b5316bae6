/**
 * A replicated log by Raft: `startRaft` runs one node of it over a durable log, a transport and
 * a state machine. The protocol itself is `Raft`, without any IO. Knows nothing of containers.
 */
export type { TargetConfiguration } from "./configuration.ts";
export type { FeedLimits } from "./feed-server.ts";
export type {
  Configuration,
  Entry,
  EntryId,
  HardState,
  LogReader,
  LogStorage,
  SnapshotMeta,
} from "./log-storage.ts";
export { MemoryLogStorage } from "./memory-log-storage.ts";
export type { Message, PeerMessage } from "./message.ts";
export { createPeerTransport, type PeerTransport } from "./peer-transport.ts";
export { planVoters, type VoterCandidate } from "./plan-voters.ts";
export { type MemberProgress, Raft, type RaftOptions } from "./raft.ts";
export { RaftError, type RaftErrorCode } from "./raft-error.ts";
export { startRaft } from "./raft-runner.ts";
export type {
  RaftRunner,
  RaftRunnerOptions,
  RaftStatus,
  SnapshotPolicy,
} from "./runner-contract.ts";
export { electionMsOf, type RaftLimits, type RaftTiming, raftTimings } from "./timing.ts";
export type { RaftStateMachine, RaftTransport } from "./transport.ts";
