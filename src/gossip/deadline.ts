import type { Clock } from "../kernel/index.ts";

const over = new Error("nobody waits any more");

/**
 * Like AbortSignal.timeout together with `signal`, by the injected clock. To be disposed of
 * when the work is done, so that no timer outlives what it was for.
 */
export function deadline(
  ms: number,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const done = new AbortController();
  const stop = (): void => controller.abort(signal.reason);
  const expire = (): void => controller.abort(new Error(`no answer within ${ms} ms`));
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  clock.sleep(ms, { signal: done.signal }).then(expire, () => undefined);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      signal.removeEventListener("abort", stop);
      done.abort(over);
    },
  };
}
