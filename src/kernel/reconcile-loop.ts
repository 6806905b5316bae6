import type { Clock } from "./clock.ts";
import type { Wakeup } from "./wakeup.ts";

export type ReconcileLoopOptions = {
  readonly reconcile: (options: { readonly signal: AbortSignal }) => Promise<void>;
  /** Told of every failed pass, with the pause before the next one. */
  readonly onError: (error: unknown, retryInMs: number) => void;
  readonly clock: Clock;
  /** The longest time between two passes when nothing wakes the loop. */
  readonly resyncMs: number;
  readonly retryMaxMs: number;
};

/**
 * Calls `reconcile` once at the start and then after every wake-up, one call at
 * a time, until `signal` aborts.
 *
 * Level-triggered: a wake-up says that something changed, never what, so any
 * number of them during a pass cause exactly one more. The periodic resync makes
 * a lost wake-up a delay instead of a fault.
 */
export async function runReconcileLoop(
  wakeup: Wakeup,
  { reconcile, onError, clock, resyncMs, retryMaxMs }: ReconcileLoopOptions,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    wakeup.reset(); // Before the pass: a change during it must not be missed.
    try {
      await reconcile({ signal });
      failures = 0;
      await wakeup.wait(clock, { atMostMs: resyncMs, signal });
    } catch (error) {
      if (signal.aborted) return;
      const retryInMs = Math.min(100 * 2 ** failures, retryMaxMs);
      failures += 1;
      onError(error, retryInMs);
      // A wake-up does not cut this short: state changes often in an outage.
      await clock.sleep(retryInMs, { signal }).catch(() => undefined);
    }
  }
}
