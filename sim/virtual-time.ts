import { EventQueue } from "./event-queue.ts";

/**
 * The time of a simulated world of promises: events happen in order, and everybody whom one of
 * them woke acts before time goes on.
 */
export class VirtualTime {
  readonly queue = new EventQueue();
  #isStirred = false;
  /** What the checks found: thrown from the loop, since a listener's error would be lost. */
  #violation: Error | undefined;

  /** Somebody was woken: the promises have to settle before the next event. */
  stir(): void {
    this.#isStirred = true;
  }

  /** Ends the run: a promise was broken. */
  violated(text: string): void {
    this.#violation ??= new Error(text);
  }

  /** Passes time. @throws whatever was {@link violated} */
  async passUntil(endMs: number): Promise<void> {
    await settled();
    for (;;) {
      const at = this.queue.nextAt;
      if (at === undefined || at > endMs) break;
      this.#isStirred = false;
      do this.queue.runNext();
      while (this.queue.nextAt === at);
      if (this.#isStirred) await settled();
      if (this.#violation !== undefined) throw this.#violation;
    }
    this.queue.now = endMs;
    if (this.#violation !== undefined) throw this.#violation;
  }

  /** Passes time until the condition holds: how long it took, undefined past the limit. */
  async until(limitMs: number, test: () => boolean, stepMs = 100): Promise<number | undefined> {
    const fromMs = this.queue.now;
    while (!test()) {
      if (this.queue.now - fromMs >= limitMs) return undefined;
      await this.passUntil(this.queue.now + stepMs);
    }
    return this.queue.now - fromMs;
  }
}

/** Lets everything that is ready run, promises that lead to promises included. */
function settled(): Promise<void> {
  // Ticks come when no promise is left, as immediates do, without a turn of the event loop.
  return new Promise((resolve) => process.nextTick(resolve));
}
