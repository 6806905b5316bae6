import type { Clock, NodeId } from "../../src/kernel/index.ts";
import type { EventQueue } from "../event-queue.ts";

/** One life of a node's process. It ends without a word: what it waited for never comes. */
export class Machine {
  readonly id: NodeId;
  readonly clock: Clock;
  /** By how much the clock that people read is wrong. */
  wallErrorMs = 0;
  isUp = true;
  isPaused = false;
  readonly startedAtMs: number;
  readonly #queue: EventQueue;
  readonly #onStir: () => void;
  /** What happened to it while it was paused. */
  #backlog: (() => void)[] = [];

  constructor(
    id: NodeId,
    options: {
      readonly queue: EventQueue;
      /** How fast its clock runs: 1 is right. */
      readonly clockRate: number;
      readonly onStir: () => void;
    },
  ) {
    this.id = id;
    this.#queue = options.queue;
    this.#onStir = options.onStir;
    this.startedAtMs = this.#queue.now;
    const { clockRate } = options;
    const monotonic = () => Math.floor(this.#queue.now * clockRate);
    this.clock = {
      now: () => 1_700_000_000_000 + monotonic() + this.wallErrorMs,
      monotonic,
      sleep: (ms, { signal }) => this.#sleep(ms / clockRate, signal),
    };
  }

  /** Lets something happen to it: now, when it goes on again, or never. */
  act(run: () => void): void {
    if (!this.isUp) return;
    if (this.isPaused) {
      this.#backlog.push(run);
      return;
    }
    this.#onStir();
    run();
  }

  goOn(): void {
    this.isPaused = false;
    for (const run of this.#backlog.splice(0)) this.act(run);
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal.aborted) {
      reject(signal.reason);
      return promise;
    }
    let isOver = false;
    const abort = () => {
      isOver = true;
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    this.#queue.after(ms, () => {
      if (isOver) return;
      this.act(() => {
        if (isOver) return;
        isOver = true;
        signal.removeEventListener("abort", abort);
        resolve();
      });
    });
    return promise;
  }
}
