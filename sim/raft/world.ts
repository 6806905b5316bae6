import { type NodeId, nodeId, seededRandom } from "../../src/kernel/index.ts";
import { encodeConfiguration, simpleConfiguration } from "../../src/raft/configuration.ts";
import type { Entry } from "../../src/raft/log-storage.ts";
import type { SaveBatch } from "../../src/raft/memory-log-storage.ts";
import type { Outgoing } from "../../src/raft/message.ts";
import { Violation } from "./checker.ts";
import { Clients } from "./clients.ts";
import { Context } from "./context.ts";
import { Followers } from "./followers.ts";
import { Machine } from "./machine.ts";
import { Membership } from "./membership.ts";
import { Nemesis } from "./nemesis.ts";
import { Network } from "./network.ts";
import type { PlantedBug } from "./planted-bugs.ts";
import { drawSwarm } from "./swarm.ts";
import { describeMessage } from "./trace.ts";

/** With faults; then they end. */
const faultyTicks = 800;
/** Within so many election timeouts, and the time to send what has piled up, all must be well. */
const healingElections = 100;
const catchUpTicks = 3_000;
/** More at once are a storm of messages that feeds itself. */
const maxEvents = 6_000;

export type RunOptions = {
  readonly seed: number;
  readonly bug?: PlantedBug | undefined;
  /** Takes the story of the run, line by line. */
  readonly print?: (line: string) => void;
};

export type RunResult = {
  readonly steps: number;
  readonly committed: number;
  readonly acknowledged: number;
  readonly reads: number;
  /** Registers whose history was too long to decide. */
  readonly undecided: number;
  readonly store: "memory" | "file";
};

/** One run: everything follows from the seed. @throws when a property does not hold. */
export async function runRaftWorld(options: RunOptions): Promise<RunResult> {
  return await new World(options).run();
}

class World {
  readonly #context: Context;
  readonly #network: Network;
  readonly #machines: readonly Machine[];
  readonly #byId: ReadonlyMap<NodeId, Machine>;
  readonly #clients: Clients;
  readonly #membership: Membership;

  constructor({ seed, bug, print }: RunOptions) {
    const random = seededRandom(Math.imul(seed, 2_654_435_761) + 17);
    const swarm = drawSwarm(random);
    const context = new Context({ random, swarm, bug, print });
    this.#context = context;
    context.trace.line(() => `seed ${seed}: ${JSON.stringify(swarm)}`);
    this.#network = new Network(context);
    this.#machines = this.#makeMachines();
    this.#byId = new Map(this.#machines.map((machine) => [machine.id, machine]));
    this.#clients = new Clients(context, this.#network, this.#machines);
    this.#membership = new Membership(context, this.#network, this.#machines);
    new Followers(context, this.#network, this.#machines);
    new Nemesis({
      context,
      network: this.#network,
      machines: this.#machines,
      clients: this.#clients,
    });
    for (const machine of this.#machines) machine.start();
  }

  async run(): Promise<RunResult> {
    const { checker, swarm, queue, trace } = this.#context;
    await this.#runUntil(faultyTicks);
    const broken = this.#heal();
    await this.#recover(broken);
    const undecided = this.#clients.checkHistory();
    const { size: acknowledged } = checker.acknowledged;
    trace.line(() => `all is well at ${queue.now.toFixed(0)}`);
    return {
      steps: this.#context.steps,
      committed: checker.highestCommit,
      acknowledged,
      reads: this.#clients.reads,
      undecided,
      store: swarm.store,
    };
  }

  #makeMachines(): readonly Machine[] {
    const context = this.#context;
    const { nodes, initialVoters } = context.swarm;
    const ids = Array.from({ length: nodes }, (_, number) => nodeId(`n${number}`));
    const voters = ids.slice(0, initialVoters);
    const first = firstBatch(voters);
    const slow = context.below(nodes);
    return ids.map(
      (id, number) =>
        new Machine({
          id,
          number,
          context,
          send: (from, outgoing) => this.#send(from, outgoing),
          first: voters.includes(id) ? first : undefined,
          isDiskSlow: number === slow,
        }),
    );
  }

  #send(from: Machine, { to, message }: Outgoing): void {
    const target = this.#byId.get(to);
    if (target === undefined) return;
    this.#network.send(from, target, {
      deliver: () => target.process?.receive(from.id, message),
      label: () => describeMessage(message),
    });
  }

  async #runUntil(time: number): Promise<void> {
    const context = this.#context;
    const { queue } = context;
    for (let at = queue.nextAt; at !== undefined && at <= time; at = queue.nextAt) {
      if (queue.size > maxEvents) throw new Violation("message storm");
      queue.runNext();
      if (context.isSettling) {
        context.isSettling = false;
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (context.failure !== undefined) throw context.failure.error;
    }
    queue.now = time;
  }

  /** Ends all faults, but perhaps leaves one machine broken. Gives that one. */
  #heal(): Machine | undefined {
    const { trace } = this.#context;
    this.#context.isFaulty = false;
    this.#network.mend();
    const broken = this.#chooseBroken();
    for (const machine of this.#machines) {
      machine.resume();
      if (machine !== broken) machine.start();
    }
    trace.line(() => `the world HEALS, but for ${broken?.id ?? "nobody"}`);
    return broken;
  }

  /**
   * One without which every majority that may count is still there: whatever configuration any
   * log names is settled, and has at least three voters.
   */
  #chooseBroken(): Machine | undefined {
    if (!this.#context.swarm.keepsOneBroken) return undefined;
    const mayBreak = this.#machines.every(({ process }) => {
      if (process === undefined) return false;
      const { voters } = process.raft.configuration;
      return process.raft.isConfigurationSettled && (voters.length === 0 || voters.length >= 3);
    });
    const machine = mayBreak ? this.#context.pick(this.#machines) : undefined;
    if (machine === undefined) return undefined;
    const isDead = this.#context.chance(0.5);
    const isDeaf = this.#context.chance(0.5);
    if (isDead) {
      machine.crash({ losesPower: true });
      return machine;
    }
    for (const other of this.#machines) {
      if (other === machine) continue;
      if (isDeaf) this.#network.cut(other, machine);
      else this.#network.cut(machine, other);
    }
    return machine;
  }

  /** With the faults gone, there is one leader, commits go on and every node follows. */
  async #recover(broken: Machine | undefined): Promise<void> {
    const { queue, swarm, checker } = this.#context;
    const { electionTicks } = swarm.timing;
    const deadline = queue.now + healingElections * electionTicks + catchUpTicks;
    const calls = this.#clients.begin();
    const healthy = this.#machines.filter((machine) => machine !== broken);
    let problem: string | undefined = "";
    while (problem !== undefined) {
      if (queue.now > deadline) throw new Violation(`liveness: ${problem}\n${this.#describe()}`);
      const goal = checker.highestCommit;
      await this.#runUntil(queue.now + electionTicks);
      problem = calls.isAnswered() ? this.#problemOf(healthy, goal) : "a call is not answered";
    }
    for (const { id, process } of healthy) {
      const applied = process?.raft.appliedIndex ?? 0;
      checker.checkAcknowledged(id, applied, (call) => process?.proposals.indexOf(call));
    }
  }

  /** Everybody must get where the cluster was a moment ago; it goes on meanwhile. */
  #problemOf(healthy: readonly Machine[], goal: number): string | undefined {
    const leaders = healthy.filter(({ isLeader }) => isLeader);
    const leader = leaders[0];
    if (leader?.process === undefined || leaders.length > 1) return `${leaders.length} leaders`;
    const { raft } = leader.process;
    if (!raft.isConfigurationSettled) return "a change of members does not end";
    if (raft.termAt(raft.commitIndex) !== raft.term) return "the leader commits nothing";
    if (!this.#membership.isAsPlanned(leader)) return "the voters are not as planned";
    for (const { id, process } of healthy) {
      const applied = process?.raft.appliedIndex ?? 0;
      if (applied < goal) return `${id} applied ${applied} of ${goal}`;
    }
    return undefined;
  }

  /** One line a node, for whoever reads a failure. */
  #describe(): string {
    const lines = this.#machines.map(({ id, process }) => {
      if (process === undefined) return `  ${id} is down`;
      const { role, term, leader, commitIndex, lastIndex, configuration } = process.raft;
      const { voters, votersOutgoing, learners } = configuration;
      return (
        `  ${id} ${role} term ${term} leader ${leader ?? "-"} commit ${commitIndex} of ${lastIndex} ` +
        `voters ${voters.join(",")} outgoing ${votersOutgoing.join(",")} learners ${learners.join(",")}`
      );
    });
    return lines.join("\n");
  }
}

function firstBatch(voters: readonly NodeId[]): SaveBatch {
  const data = encodeConfiguration(simpleConfiguration({ voters, learners: [] }));
  const entry: Entry = { index: 1, term: 1, kind: "configuration", data };
  return { hardState: { term: 1, vote: undefined, commitIndex: 1 }, entries: [entry] };
}
