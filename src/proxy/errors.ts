import { CodedError } from "../kernel/index.ts";

/**
 * - `proxy_unreachable`: the proxy process does not answer, or does not start.
 * - `proxy_refused`: it answered that it cannot do what was asked.
 * - `port_taken`: the cluster's port, without which no node hears this one, is another's.
 * - `already_running`: another proxy process serves this control socket.
 */
export class ProxyError extends CodedError<
  "proxy_unreachable" | "proxy_refused" | "port_taken" | "already_running"
> {}
