import type { Address, Context } from "./context.ts";

/** A node as the network sees it. */
export type Receiver = Address & {
  readonly isUp: boolean;
  /** Runs it now, or when the process goes on after a pause. */
  whenRunning(run: () => void): void;
};

const maxNodes = 16;
/** A straggler takes up to so many times as long as others. */
const stragglerFactor = 8;

/** Links that lose, delay, repeat and reorder, and that can be cut one way or both. */
export class Network {
  readonly #context: Context;
  readonly #isCut = new Uint8Array(maxNodes * maxNodes);
  /** When the latest message of a link arrives: what comes later must not overtake it. */
  readonly #arrivals = new Float64Array(maxNodes * maxNodes);

  constructor(context: Context) {
    this.#context = context;
  }

  isCut(from: Address, to: Address): boolean {
    return this.#isCut[from.number * maxNodes + to.number] === 1;
  }

  cut(from: Address, to: Address): void {
    this.#isCut[from.number * maxNodes + to.number] = 1;
  }

  mend(): void {
    this.#isCut.fill(0);
  }

  send(
    from: Address,
    to: Receiver,
    { deliver, label }: { readonly deliver: () => void; readonly label: () => string },
  ): void {
    const { isFaulty, swarm } = this.#context;
    const copies = isFaulty && this.#context.chance(swarm.duplicateRate) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      this.#sendOnce(from, to, { deliver, label });
    }
  }

  #sendOnce(
    from: Address,
    to: Receiver,
    { deliver, label }: { readonly deliver: () => void; readonly label: () => string },
  ): void {
    const { isFaulty, swarm, queue, trace } = this.#context;
    if (isFaulty && this.#context.chance(swarm.dropRate)) {
      trace.line(() => `${from.id} -> ${to.id} ${label()} LOST`);
      return;
    }
    const link = from.number * maxNodes + to.number;
    const isStraggler = isFaulty && this.#context.chance(swarm.stragglerRate);
    const maxDelay = isFaulty ? swarm.maxDelay * (isStraggler ? stragglerFactor : 1) : 1;
    let delay = 1 + this.#context.below(maxDelay);
    if (!swarm.reorders) {
      delay = Math.max(delay, (this.#arrivals[link] ?? 0) - queue.now);
      this.#arrivals[link] = queue.now + delay;
    }
    trace.line(
      () => `${from.id} -> ${to.id} ${label()}, arrives ${(queue.now + delay).toFixed(1)}`,
    );
    queue.after(delay, () => {
      to.whenRunning(() => {
        if (to.isUp && !this.isCut(from, to)) deliver();
      });
    });
  }
}
