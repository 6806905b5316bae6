import { type NodeId, type Random, randomBelow } from "../../src/kernel/index.ts";
import type { TargetConfiguration } from "../../src/raft/configuration.ts";
import type { Message } from "../../src/raft/message.ts";
import { Raft, type RaftOptions } from "../../src/raft/raft.ts";
import type { RaftRules } from "../../src/raft/rules.ts";

/** Takes messages of an older term for ones of the present term. */
export class TimelessRaft extends Raft {
  readonly #kinds: readonly Message["kind"][];

  constructor(options: RaftOptions, kinds: readonly Message["kind"][]) {
    super(options);
    this.#kinds = kinds;
  }

  override step(from: NodeId, message: Message): void {
    const isStale = message.term < this.term && this.#kinds.includes(message.kind);
    super.step(from, isStale ? { ...message, term: this.term } : message);
  }
}

/**
 * Changes one voter at a time, without a joint configuration (dissertation §4.1): safe by itself,
 * but only as long as a leader waits for a commit in its own term before it begins. This one
 * begins one as soon as it leads.
 */
export class SingleChangeRaft extends Raft {
  readonly #random: Random;
  readonly #known = new Set<NodeId>();
  #changedIn = 0;

  constructor(options: RaftOptions) {
    super(options);
    this.#random = options.random;
  }

  override step(from: NodeId, message: Message): void {
    this.#known.add(from);
    super.step(from, message);
    if (this.role !== "leader" || this.term === this.#changedIn) return;
    const known = [...this.#known].filter((node) => !this.configuration.voters.includes(node));
    const { voters } = this.configuration;
    const isGrowing = voters.length < 4 || this.#random.next() < 0.5;
    const one = (nodes: readonly NodeId[]) => nodes[randomBelow(this.#random, nodes.length)];
    const changed = isGrowing ? one(known) : one(voters);
    const { kind } = this.proposeConfiguration({
      voters: isGrowing
        ? [...voters, ...(changed === undefined ? [] : [changed])]
        : voters.filter((node) => node !== changed),
      learners: [],
    });
    if (kind === "appended") this.#changedIn = this.term;
  }

  override proposeConfiguration(target: TargetConfiguration) {
    const { voters } = this.configuration;
    const added = target.voters.find((node) => !voters.includes(node));
    const removed = voters.find((node) => !target.voters.includes(node));
    const next =
      added === undefined ? voters.filter((node) => node !== removed) : [...voters, added];
    const learners = target.learners.filter((node) => !next.includes(node));
    return super.proposeConfiguration({ voters: next, learners });
  }
}

/** What is new counts alone, from the moment that it is in a log. */
export const singleChangeRules: Partial<RaftRules> = { decidingSets: ({ voters }) => [voters] };

/**
 * Looks for where the logs part from their beginning, instead of where they may part. It costs
 * messages only, but appends then begin before a tail that the leader does not have: where the
 * search is exact, the first append that is taken cuts such a tail off.
 */
export class FarBackRaft extends Raft {
  override step(from: NodeId, message: Message): void {
    const isRejected = message.kind === "append_rejected";
    super.step(from, isRejected ? { ...message, hint: { index: 0, term: 0 } } : message);
  }
}
