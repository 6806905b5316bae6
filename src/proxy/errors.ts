import { CodedError } from "../kernel/index.ts";

/**
 * - `proxy_unreachable`: the proxy process does not answer, or does not start.
 * - `proxy_refused`: it answered that it cannot do what was asked.
 * - `already_running`: another proxy process serves this control socket.
 */
export class ProxyError extends CodedError<
  "proxy_unreachable" | "proxy_refused" | "already_running"
> {}
