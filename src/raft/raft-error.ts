import { CodedError } from "../kernel/index.ts";

/**
 * - `has_quorum`: a majority works, so there is nothing to recover from.
 * - `no_quorum`: no leader can be found, or it could not commit in time.
 * - `not_leader`: only the leader can do this.
 * - `leadership_lost`: it was started, but the leader changed before it was done.
 * - `configuration_pending`: the last change of members is not finished.
 * - `invalid_configuration`: the wanted members make no configuration.
 * - `too_large`: a proposal, message or snapshot is over its limit.
 * - `overloaded`: too many proposals wait.
 * - `malformed_message`: a peer sent what cannot be read.
 * - `storage_failed`: the disk failed, so the log has stopped.
 * - `stopped`: the log was closed.
 */
export type RaftErrorCode =
  | "no_quorum"
  | "has_quorum"
  | "not_leader"
  | "leadership_lost"
  | "configuration_pending"
  | "invalid_configuration"
  | "too_large"
  | "overloaded"
  | "malformed_message"
  | "storage_failed"
  | "stopped";

export class RaftError extends CodedError<RaftErrorCode> {}
