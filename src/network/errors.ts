import { CodedError } from "../kernel/index.ts";

/**
 * - `unreachable`: no connection to the peer can be made, or it broke.
 * - `timed_out`: the peer did not answer in time.
 * - `refused`: the peer answered with a failure; `remoteCode` is its code.
 * - `too_large`: a body or frame is over its limit.
 * - `not_admitted`: the peer does not take us for a member.
 * - `no_quorum`: who answers would let us in, but its cluster cannot decide now.
 * - `bad_token`: the join token is unreadable, wrong, expired or used up.
 */
export type NetworkErrorCode =
  | "unreachable"
  | "timed_out"
  | "refused"
  | "too_large"
  | "not_admitted"
  | "no_quorum"
  | "bad_token";

export class NetworkError extends CodedError<NetworkErrorCode> {
  /** With `refused`: the code that the peer's handler failed with. */
  readonly remoteCode: string | undefined;

  constructor(
    code: NetworkErrorCode,
    message: string,
    options?: ErrorOptions & { readonly remoteCode?: string },
  ) {
    super(code, message, options);
    this.remoteCode = options?.remoteCode;
  }
}
