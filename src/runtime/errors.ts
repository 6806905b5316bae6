import { CodedError } from "../kernel/index.ts";

/**
 * - `image_not_found`: neither present nor pullable.
 * - `port_in_use`: a host port is taken.
 * - `invalid_request`: the engine refuses the container as described.
 * - `not_found`: no such container.
 * - `engine_unreachable`: the engine does not answer; nothing is known.
 * - `engine_failed`: the engine answered with a failure of its own.
 */
export type RuntimeErrorCode =
  | "image_not_found"
  | "port_in_use"
  | "invalid_request"
  | "not_found"
  | "engine_unreachable"
  | "engine_failed";

export class RuntimeError extends CodedError<RuntimeErrorCode> {}
