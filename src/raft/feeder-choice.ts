import { type NodeId, type Random, randomBelow } from "../kernel/index.ts";

/** Whom a follower may ask, as it knows the cluster now. */
export type FeederCandidates = {
  readonly voters: readonly NodeId[];
  readonly leader: NodeId | undefined;
  readonly others: readonly NodeId[];
};

const firstPauseMs = 200;
/** A feeder that failed again and again is tried this often at least. */
export const maxPauseMs = 5_000;
/** More nodes than this are not remembered; a forgotten one is merely tried again. */
const maxRemembered = 4_096;

/**
 * Which feeder to try next. Voters come first, because they have the entries first, and among
 * them those that do not lead, because the leader has enough to send; then everybody else. A
 * feeder that failed is left alone for a while, longer each time.
 */
export class FeederChoice {
  readonly #random: Random;
  readonly #avoided = new Map<NodeId, { readonly untilMs: number; readonly failures: number }>();
  #suggested: readonly NodeId[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** The feeder to try, or how long to wait until one may be tried again. */
  next(
    { voters, leader, others }: FeederCandidates,
    nowMs: number,
  ): { readonly feeder: NodeId } | { readonly waitMs: number } {
    const rest = voters.filter((node) => node !== leader);
    const leading = leader === undefined ? [] : [leader];
    for (const tier of [this.#suggested, rest, leading, others]) {
      const free = tier.filter((node) => this.isFree(node, nowMs));
      const feeder = free[randomBelow(this.#random, free.length)];
      if (feeder === undefined) continue;
      this.#suggested = this.#suggested.filter((node) => node !== feeder);
      return { feeder };
    }
    const waits = [...voters, ...others]
      .map((node) => (this.#avoided.get(node)?.untilMs ?? nowMs) - nowMs)
      .filter((waitMs) => waitMs > 0);
    return { waitMs: waits.length === 0 ? firstPauseMs : Math.min(...waits) };
  }

  /** Whether it may be tried now. */
  isFree(node: NodeId, nowMs: number): boolean {
    return (this.#avoided.get(node)?.untilMs ?? nowMs) <= nowMs;
  }

  /** What a full feeder named instead of itself. */
  suggest(nodes: readonly NodeId[]): void {
    this.#suggested = nodes;
  }

  /** It served: whatever went wrong before is forgotten. */
  worked(feeder: NodeId): void {
    this.#avoided.delete(feeder);
  }

  /** It did not serve; it is left alone, for a time that grows with each failure up to `atMostMs`. */
  failed(feeder: NodeId, nowMs: number, atMostMs: number = maxPauseMs): void {
    const failures = (this.#avoided.get(feeder)?.failures ?? 0) + 1;
    const pauseMs = Math.min(firstPauseMs * 2 ** Math.min(failures - 1, 10), atMostMs);
    // Many followers lose one feeder at the same moment; they must not come back as one.
    const untilMs = nowMs + pauseMs * (0.5 + this.#random.next());
    if (this.#avoided.size >= maxRemembered) this.#avoided.clear();
    this.#avoided.set(feeder, { untilMs, failures });
  }
}
