import type { Clock } from "../kernel/index.ts";

/** Does `work` under a signal that aborts with `signal`, or when the time is over. */
export async function withTimeout<T>(
  clock: Clock,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const done = new AbortController();
  const timeout = new AbortController();
  // Rejects only when the work is done or given up first.
  clock.sleep(timeoutMs, { signal: AbortSignal.any([signal, done.signal]) }).then(
    () => timeout.abort(new Error(`It took longer than ${timeoutMs / 1_000} s.`)),
    () => undefined,
  );
  try {
    return await work(AbortSignal.any([signal, timeout.signal]));
  } finally {
    done.abort();
  }
}
