import type { Clock } from "./clock.ts";

/**
 * A remembered nudge: "something changed". Any number of wake-ups before a `wait`
 * count as one, and one that comes before the wait is not lost.
 */
export class Wakeup {
  #isPending = false;
  #resolve: (() => void) | undefined;

  wake(): void {
    this.#isPending = true;
    this.#resolve?.();
  }

  reset(): void {
    this.#isPending = false;
  }

  /**
   * Resolves at the next wake-up. For a single waiter that is woken often: without a timer or a
   * signal, which cost more than the wait; whoever ends it wakes it.
   */
  next(): Promise<void> {
    if (this.#isPending) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resolve = resolve;
    return promise;
  }

  /** Resolves at the next wake-up, or after `atMostMs`, or when `signal` aborts. Never rejects. */
  async wait(
    clock: Clock,
    { atMostMs, signal }: { readonly atMostMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    if (this.#isPending || signal.aborted) return;
    const done = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resolve = resolve;
    const end = () => resolve();
    signal.addEventListener("abort", end, { once: true });
    const slept = clock.sleep(atMostMs, { signal: done.signal }).catch(() => undefined);
    await Promise.race([promise, slept]);
    signal.removeEventListener("abort", end);
    done.abort(woken);
    this.#resolve = undefined;
  }
}

/** One for all: an abort without a reason makes an error with a stack, and waits end often. */
const woken = new Error("The wait is over.");
