import { type NodeId, type Random, randomBelow } from "../../src/kernel/index.ts";
import { EventQueue } from "../event-queue.ts";
import { Checker } from "./checker.ts";
import type { PlantedBug } from "./planted-bugs.ts";
import type { Swarm } from "./swarm.ts";
import { Trace } from "./trace.ts";

export type ContextOptions = {
  readonly random: Random;
  readonly swarm: Swarm;
  readonly bug: PlantedBug | undefined;
  readonly print: ((line: string) => void) | undefined;
};

/** What all parts of one simulated world share. */
export class Context {
  readonly random: Random;
  readonly swarm: Swarm;
  readonly bug: PlantedBug | undefined;
  readonly queue = new EventQueue();
  readonly checker = new Checker();
  readonly trace: Trace;
  /** Until the world is healed. */
  isFaulty = true;
  /** Promises were settled: their users must go on before virtual time does. */
  isSettling = false;
  failure: { readonly error: unknown } | undefined;
  steps = 0;

  constructor({ random, swarm, bug, print }: ContextOptions) {
    this.random = random;
    this.swarm = swarm;
    this.bug = bug;
    this.trace = new Trace({ now: () => this.queue.now, ...(print && { print }) });
  }

  chance(rate: number): boolean {
    return rate > 0 && this.random.next() < rate;
  }

  below(count: number): number {
    return randomBelow(this.random, count);
  }

  pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.below(items.length)];
  }

  /** For work that nobody waits for: its failure fails the run. */
  watch(work: Promise<unknown>): void {
    this.isSettling = true;
    work.catch((error: unknown) => {
      this.failure ??= { error };
    });
  }
}

/** Nodes have numbers too, for tables of links. */
export type Address = { readonly id: NodeId; readonly number: number };
