import type { Clock } from "../kernel/index.ts";

/** Runs something whose signal also aborts, with `reason`, when it takes too long. */
export async function withDeadline<Value>(
  clock: Clock,
  {
    timeoutMs,
    signal,
    reason,
  }: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly reason: Error },
  run: (options: { readonly signal: AbortSignal }) => Promise<Value>,
): Promise<Value> {
  const late = new AbortController();
  const done = new AbortController();
  const timer = clock.sleep(timeoutMs, { signal: done.signal }).then(
    () => late.abort(reason),
    () => undefined,
  );
  try {
    return await run({ signal: AbortSignal.any([signal, late.signal]) });
  } finally {
    done.abort();
    await timer;
  }
}

/** Settles like `promise`, or rejects with the signal's reason, whichever comes first. */
export function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  if (signal.aborted) {
    promise.catch(() => undefined); // Nobody waits for it any more.
    return Promise.reject(signal.reason);
  }
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  return Promise.race([promise, aborted.promise]).finally(() => {
    signal.removeEventListener("abort", abort);
  });
}
