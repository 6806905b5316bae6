import {
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type Random,
  randomBelow,
  Wakeup,
} from "../../kernel/index.ts";

/** All members are linked up to here; beyond, a bounded random graph carries gossip. */
const fullMeshNodes = 30;
const maxLinks = 8;
const redialMinMs = 200;
const redialMaxMs = 10_000;
/** The longest time between two looks when nothing wakes the loop. */
const resyncMs = 1_000;

export type LinkOptions = {
  /** The other members that could be linked with. */
  readonly others: () => readonly NodeId[];
  readonly isConnected: (node: NodeId) => boolean;
  readonly dial: (node: NodeId) => Promise<unknown>;
  /** Called at every look, for what else has to be seen to from time to time. */
  readonly onLook: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly signal: AbortSignal;
};

type Attempt = { failures: number; nextDialMs: number; isDialling: boolean };

/**
 * Keeps this node linked with the other members: dials who is missing, with growing pauses,
 * for as long as it is a member. That is also what heals a partition.
 */
export class Links {
  readonly done: Promise<void>;
  readonly #options: LinkOptions;
  readonly #attempts = new Map<NodeId, Attempt>();
  readonly #wakeup = new Wakeup();

  constructor(options: LinkOptions) {
    this.#options = options;
    this.done = this.#run();
  }

  /** Something changed: look at once. */
  wake(): void {
    this.#wakeup.wake();
  }

  async #run(): Promise<void> {
    const { clock, signal, onLook } = this.#options;
    while (!signal.aborted) {
      this.#wakeup.reset();
      onLook();
      this.#dialMissing();
      await this.#wakeup.wait(clock, { atMostMs: this.#pauseMs(), signal });
    }
  }

  #dialMissing(): void {
    const { others, isConnected, clock } = this.#options;
    const all = others();
    const isMember = new Set(all);
    for (const [node, { isDialling }] of this.#attempts) {
      if (!isDialling && (isConnected(node) || !isMember.has(node))) this.#attempts.delete(node);
    }
    const now = clock.monotonic();
    const missing = all.filter((node) => {
      const attempt = this.#attempts.get(node);
      return (
        !isConnected(node) && attempt?.isDialling !== true && (attempt?.nextDialMs ?? 0) <= now
      );
    });
    for (const node of this.#choose(all, missing)) this.#dial(node);
  }

  /** Everybody in a small cluster, and as many as are lacking, at random, in a large one. */
  #choose(all: readonly NodeId[], missing: readonly NodeId[]): readonly NodeId[] {
    if (all.length < fullMeshNodes) return missing;
    const dialling = [...this.#attempts.values()].filter(({ isDialling }) => isDialling).length;
    const linked = all.filter((node) => this.#options.isConnected(node)).length;
    const lacking = Math.max(0, maxLinks - linked - dialling);
    const start = missing.length === 0 ? 0 : randomBelow(this.#options.random, missing.length);
    return [...missing.slice(start), ...missing.slice(0, start)].slice(0, lacking);
  }

  #dial(node: NodeId): void {
    const { dial, clock, random, logger, signal } = this.#options;
    const attempt = this.#attempts.get(node) ?? { failures: 0, nextDialMs: 0, isDialling: false };
    this.#attempts.set(node, attempt);
    attempt.isDialling = true;
    dial(node)
      .then(
        () => {
          attempt.failures = 0;
        },
        (error: unknown) => {
          if (signal.aborted) return;
          const backoffMs = Math.min(redialMinMs * 2 ** attempt.failures, redialMaxMs);
          attempt.failures += 1;
          attempt.nextDialMs = clock.monotonic() + backoffMs * (0.5 + random.next());
          logger.debug({ peer: node, error: messageOf(error) }, "peer not reached");
        },
      )
      .finally(() => {
        attempt.isDialling = false;
        this.wake();
      });
  }

  #pauseMs(): number {
    const now = this.#options.clock.monotonic();
    let pauseMs = resyncMs;
    for (const { isDialling, nextDialMs } of this.#attempts.values()) {
      if (!isDialling && nextDialMs > now) pauseMs = Math.min(pauseMs, nextDialMs - now);
    }
    return pauseMs;
  }
}
