import type { Clock } from "../../src/kernel/index.ts";

type Sleeper = {
  readonly atMs: number;
  readonly order: number;
  readonly wake: () => void;
  isDone: boolean;
};

/** Lets everything that is ready run, promises and the callbacks of aborted signals included. */
async function settle(woken = 1): Promise<void> {
  for (let turn = 0; turn < 3 * woken; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A clock that moves only when told to, and lets everybody act who waited for it. */
export class VirtualClock implements Clock {
  #nowMs: number;
  #order = 0;
  /** A binary heap: the next to wake comes first. Those who gave up stay until it is their turn. */
  readonly #sleepers: Sleeper[] = [];

  constructor(startMs = 1_000_000) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  sleep(ms: number, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#order += 1;
    const sleeper = { atMs: this.#nowMs + ms, order: this.#order, wake: resolve, isDone: false };
    this.#push(sleeper);
    const abort = () => {
      sleeper.isDone = true;
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    return promise.finally(() => signal.removeEventListener("abort", abort));
  }

  /** Passes `ms`, waking sleepers at their time; those of the same time wake together. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const atMs = this.#nextMs();
      if (atMs === undefined || atMs > endMs) break;
      this.#nowMs = Math.max(this.#nowMs, atMs);
      let woken = 0;
      for (; this.#nextMs() === atMs; woken += 1) {
        const sleeper = this.#pop();
        if (sleeper !== undefined) sleeper.isDone = true;
        sleeper?.wake();
      }
      await settle(woken);
    }
    this.#nowMs = endMs;
  }

  #nextMs(): number | undefined {
    while (this.#sleepers[0]?.isDone === true) this.#pop();
    return this.#sleepers[0]?.atMs;
  }

  #push(sleeper: Sleeper): void {
    const heap = this.#sleepers;
    heap.push(sleeper);
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#swapWhere(at, parent)) break;
      at = parent;
    }
  }

  #pop(): Sleeper | undefined {
    const heap = this.#sleepers;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    heap[0] = last;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      const right = left + 1;
      const child = isEarlier(heap[right], heap[left]) ? right : left;
      if (child >= heap.length || !this.#swapWhere(child, at)) break;
      at = child;
    }
    return first;
  }

  /** Swaps a child with its parent where it is due earlier; says whether it was. */
  #swapWhere(child: number, parent: number): boolean {
    const heap = this.#sleepers;
    const [lower, upper] = [heap[child], heap[parent]];
    if (lower === undefined || upper === undefined || !isEarlier(lower, upper)) return false;
    heap[child] = upper;
    heap[parent] = lower;
    return true;
  }
}

function isEarlier(left: Sleeper | undefined, right: Sleeper | undefined): boolean {
  if (left === undefined) return false;
  if (right === undefined) return true;
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}
