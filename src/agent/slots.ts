/** At most `limit` holders at a time; the others wait in order. */
export class Slots {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Resolves once a place is free; disposing what it resolves with gives the place back. */
  async take({ signal }: { readonly signal: AbortSignal }): Promise<Disposable> {
    while (this.#taken >= this.#limit) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const abort = () => reject(signal.reason);
      this.#waiting.add(resolve);
      signal.addEventListener("abort", abort, { once: true });
      try {
        await promise;
      } finally {
        this.#waiting.delete(resolve);
        signal.removeEventListener("abort", abort);
      }
    }
    if (signal.aborted) {
      // Whoever woke us meant to hand on a place.
      this.#wakeNext();
      throw signal.reason;
    }
    this.#taken += 1;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#taken -= 1;
        this.#wakeNext();
      },
    };
  }

  #wakeNext(): void {
    const [next] = this.#waiting;
    if (next === undefined) return;
    // At once: two places that become free in one turn must wake two.
    this.#waiting.delete(next);
    next();
  }
}
