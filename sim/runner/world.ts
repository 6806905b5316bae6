import { randomBelow, seededRandom } from "../../src/kernel/index.ts";
import { electionMsOf } from "../../src/raft/index.ts";
import { Links } from "../links.ts";
import { Trace } from "../raft/trace.ts";
import { VirtualTime } from "../virtual-time.ts";
import { Checker } from "./checker.ts";
import { Clients } from "./clients.ts";
import type { RunnerContext } from "./context.ts";
import { Host } from "./host.ts";
import { Nemesis } from "./nemesis.ts";
import { drawSwarm, type Swarm } from "./swarm.ts";
import { SentEntries } from "./watched-transport.ts";

export type RunnerRun = {
  readonly nodes: number;
  readonly seconds: number;
  readonly writes: number;
  readonly answered: number;
  readonly terms: number;
  readonly starts: number;
  readonly happened: number;
  readonly store: "memory" | "file";
  readonly healedMs: number;
};

const startMs = 20_000;
/** Broken connections are given up after 15 s, and a lost chunk of a snapshot after 5 s. */
const healMs = 40_000;
const healElections = 60;
/** Gossip tells of the others' heads this often. */
const gossipMs = 400;

/**
 * One run: nodes run the log as the daemon does, things go wrong, the world heals, and all must
 * be equal again. Whatever happens follows from the seed. @throws whatever promise was broken.
 */
export async function runRunnerWorld({
  seed,
  print,
}: {
  readonly seed: number;
  readonly print?: (line: string) => void;
}): Promise<RunnerRun> {
  return await new World(seed, print).run();
}

class World extends VirtualTime {
  readonly #swarm: Swarm;
  readonly #context: RunnerContext;
  readonly #hosts: readonly Host[];
  readonly #clients: Clients;
  readonly #nemesis: Nemesis;

  constructor(seed: number, print: ((line: string) => void) | undefined) {
    super();
    const random = seededRandom(Math.imul(seed, 2_654_435_761) + 29);
    const swarm = drawSwarm(random);
    const { queue } = this;
    const trace = new Trace({ now: () => queue.now, ...(print === undefined ? {} : { print }) });
    const note = (text: () => string) => trace.line(text);
    note(() => `seed ${seed}: ${JSON.stringify(swarm)}`);
    const { weather, snapshotBytes } = swarm;
    const violated = (text: string) => this.violated(text);
    this.#swarm = swarm;
    this.#context = {
      queue,
      random,
      swarm,
      note,
      violated,
      links: new Links({ queue, random, weather: { ...weather, lossRate: 0 }, note }),
      checker: new Checker({ violated, snapshotBytes }),
      stir: () => this.stir(),
    };
    const sent = new SentEntries();
    const slow = swarm.hasSlowDisk ? swarm.nodes - 1 - randomBelow(random, 2) : undefined;
    this.#hosts = Array.from({ length: swarm.nodes }, (_, at) => {
      const clockRate = 1 + swarm.clockSkew * (2 * random.next() - 1);
      const others = () => this.#hosts.map(({ id }) => id);
      const maxWriteMs = at === slow ? swarm.slowWriteMs : swarm.maxWriteMs;
      return new Host(this.#context, { name: `n${at}`, clockRate, others, sent, maxWriteMs });
    });
    this.#clients = new Clients(this.#context, this.#hosts);
    this.#nemesis = new Nemesis(this.#context, this.#hosts);
  }

  async run(): Promise<RunnerRun> {
    const { links, checker, note } = this.#context;
    await this.#begin();
    links.weather = this.#swarm.weather;
    links.disorder = this.#swarm.disorder;
    this.#clients.begin();
    this.#nemesis.begin();
    await this.passUntil(this.queue.now + this.#swarm.faultsMs);
    this.#clients.end();
    this.#nemesis.end();
    const healedMs = await this.#recover();
    note(() => `all is well, ${healedMs} ms after healing`);
    return {
      nodes: this.#hosts.length,
      seconds: Math.round(this.queue.now / 1_000),
      writes: checker.writes,
      answered: this.#clients.answered,
      terms: checker.terms,
      starts: this.#hosts.reduce((sum, { starts }) => sum + starts, 0),
      happened: this.#nemesis.happened,
      store: this.#swarm.store,
      healedMs,
    };
  }

  /** The first node makes a cluster and takes in the others. */
  async #begin(): Promise<void> {
    const [first, ...others] = this.#hosts;
    first?.start({ isFirst: true });
    for (const host of others) host.start({ isFirst: false });
    this.#gossip();
    const { voters: count, learnerRate } = this.#swarm;
    const ids = this.#hosts.map(({ id }) => id);
    const voters = ids.slice(0, count);
    const isDrawn = () => this.#context.random.next() < learnerRate;
    const target = { voters, learners: ids.slice(count).filter(isDrawn) };
    const isDone = () => {
      const status = first?.awake?.runner.status.get();
      return status?.isSettled === true && status.voters.length === voters.length;
    };
    const isLeading = () => first?.isLeader === true && this.#hosts.every(({ awake }) => awake);
    const leadsAfter = await this.until(startMs, isLeading, 20);
    await this.passUntil(this.queue.now + 2 * electionMsOf(this.#swarm.timing));
    this.#nemesis.change(target);
    const tookMs = await this.until(startMs, isDone, 20);
    if (leadsAfter === undefined || tookMs === undefined) throw new Error("nothing begins");
  }

  /** Everybody hears how far the others are, as far as it is not cut off. */
  #gossip(): void {
    this.queue.after(gossipMs, () => {
      const { links } = this.#context;
      for (const { id, awake } of this.#hosts) {
        const heads = this.#hosts
          .filter((other) => other.awake !== undefined && !links.isCut(other.id, id))
          .map((other) => other.awake?.runner.status.get().appliedIndex ?? 0);
        awake?.machine.act(() => awake.knownHead.set(Math.max(0, ...heads)));
      }
      this.#gossip();
    });
  }

  async #recover(): Promise<number> {
    const fromMs = this.queue.now;
    const limitMs = healMs + healElections * electionMsOf(this.#swarm.timing);
    let fresh: ReturnType<Clients["askAll"]> | undefined;
    const problem = () => this.#clients.unanswered ?? this.#unequal();
    await this.#mustHold(limitMs, problem);
    fresh = this.#clients.askAll();
    await this.#mustHold(limitMs, () => fresh?.missing() ?? problem());
    const wrong = this.#clients.problem();
    if (wrong !== undefined) throw new Error(wrong);
    return this.queue.now - fromMs;
  }

  async #mustHold(limitMs: number, problem: () => string | undefined): Promise<void> {
    const isWell = () => {
      this.#nemesis.startAll();
      return problem() === undefined;
    };
    const tookMs = await this.until(limitMs, isWell);
    if (tookMs === undefined) throw new Error(`${limitMs} ms after healing ${problem()}`);
  }

  /** In what the nodes differ, or what they have not done; undefined when all is as it should be. */
  #unequal(): string | undefined {
    const leaders = this.#hosts.filter(({ isLeader }) => isLeader);
    const [leader] = leaders;
    const head = leader?.awake;
    if (head === undefined || leaders.length > 1) return `${leaders.length} nodes lead`;
    const status = head.runner.status.get();
    if (!status.isSettled) return "a change of members does not end";
    for (const { id, awake } of this.#hosts) {
      if (awake === undefined) return `${id} is not there`;
      const { appliedIndex, term } = awake.runner.status.get();
      if (appliedIndex !== status.commitIndex) {
        return `${id} has applied ${appliedIndex} of ${status.commitIndex}`;
      }
      // One outside may have stood for election before it was left out: it disturbs nobody.
      const isMember = [...status.voters, ...status.learners].includes(id);
      if (isMember && term !== status.term) return `${id} is in term ${term}, not ${status.term}`;
      const { count, digest } = awake.state;
      if (count !== head.state.count || digest !== head.state.digest) {
        return `${id} has another state than ${leader?.id}`;
      }
      const { everyEntries } = this.#swarm.snapshots;
      const snapshotIndex = awake.storage.snapshotMeta()?.index ?? 0;
      if (appliedIndex - snapshotIndex >= everyEntries) {
        return `${id} has no snapshot since ${snapshotIndex}, at ${appliedIndex}`;
      }
    }
    return undefined;
  }
}
