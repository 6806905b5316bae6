import type { NodeId } from "../kernel/index.ts";
import { NetworkError } from "./errors.ts";

/** What to throw once `signal` has aborted: `timed_out` for a timeout, else the signal's reason. */
export function interruption(signal: AbortSignal, peer: NodeId): unknown {
  const { reason }: { readonly reason: unknown } = signal;
  return reason instanceof Error && reason.name === "TimeoutError"
    ? new NetworkError("timed_out", `Node ${peer} did not answer in time.`, { cause: reason })
    : reason;
}

/** The promise's result, or {@link interruption} as soon as the signal aborts. */
export function orInterrupted<T>(
  promise: Promise<T>,
  { signal, peer }: { readonly signal: AbortSignal; readonly peer: NodeId },
): Promise<T> {
  // The loser of the race may fail later, when nobody listens any more.
  promise.catch(() => undefined);
  if (signal.aborted) return Promise.reject(interruption(signal, peer));
  const { promise: interrupted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(interruption(signal, peer));
  signal.addEventListener("abort", abort, { once: true });
  return Promise.race([promise, interrupted]).finally(() =>
    signal.removeEventListener("abort", abort),
  );
}
