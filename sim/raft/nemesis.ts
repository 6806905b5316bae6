import type { Clients } from "./clients.ts";
import type { Context } from "./context.ts";
import type { Machine } from "./machine.ts";
import type { Network } from "./network.ts";

/** Crashes, pauses, cuts and unwanted transfers, at the rates that the seed drew. */
export class Nemesis {
  readonly #context: Context;
  readonly #network: Network;
  readonly #machines: readonly Machine[];
  readonly #clients: Clients;
  /** What each machine was last seen to lead: a term, and whether a change of members. */
  readonly #moments = new Map<Machine, number>();
  #partitions = 0;

  constructor(parts: {
    readonly context: Context;
    readonly network: Network;
    readonly machines: readonly Machine[];
    readonly clients: Clients;
  }) {
    this.#context = parts.context;
    this.#network = parts.network;
    this.#machines = parts.machines;
    this.#clients = parts.clients;
    const { crashRate, partitionRate, pauseRate, transferRate } = this.#context.swarm;
    this.#repeat(crashRate, () => this.#crash());
    this.#repeat(partitionRate, () => this.#partition());
    this.#repeat(pauseRate, () => this.#pause());
    this.#repeat(transferRate, () => this.#transfer());
    if (this.#context.swarm.ambushRate > 0) this.#lieInWait();
  }

  /** At random moments, so many a tick, until the world is healed. */
  #repeat(rate: number, act: () => void): void {
    if (rate === 0) return;
    const delay = -Math.log(1 - this.#context.random.next()) / rate;
    this.#context.queue.after(delay, () => {
      if (!this.#context.isFaulty) return;
      act();
      this.#repeat(rate, act);
    });
  }

  get #leader(): Machine | undefined {
    return this.#context.pick(this.#machines.filter(({ isLeader }) => isLeader));
  }

  #crash(): void {
    const aimed = this.#context.swarm.aimsAtLeader ? this.#leader : undefined;
    this.#crashOne(aimed ?? this.#context.pick(this.#machines));
  }

  #crashOne(machine: Machine | undefined): void {
    const { swarm, queue } = this.#context;
    if (machine?.isUp !== true) return;
    const losesPower = this.#context.chance(swarm.powerLossRate);
    machine.crash({ losesPower });
    // A process that ends takes its connections with it; without power a machine falls silent.
    if (!losesPower) this.#disconnect(machine);
    queue.after(1 + this.#context.below(swarm.maxDown), () => machine.start());
  }

  #disconnect(machine: Machine): void {
    for (const other of this.#machines) {
      if (!other.isUp) continue;
      other.whenRunning(() => other.process?.disconnected(machine.id));
    }
  }

  /** Waits for a new leader, or one that has begun to change the members. */
  #lieInWait(): void {
    const { swarm, queue } = this.#context;
    queue.after(2, () => {
      if (!this.#context.isFaulty) return;
      for (const machine of this.#machines) {
        if (!machine.isLeader || machine.process === undefined) continue;
        const { term, configuration } = machine.process.raft;
        const moment = 2 * term + (configuration.votersOutgoing.length > 0 ? 1 : 0);
        if (this.#moments.get(machine) === moment) continue;
        this.#moments.set(machine, moment);
        if (this.#context.chance(swarm.ambushRate)) this.#ambush(machine);
      }
      this.#lieInWait();
    });
  }

  #ambush(machine: Machine): void {
    const { swarm, queue } = this.#context;
    const isCrash = this.#context.chance(swarm.ambushCrashRate);
    // At once, before anybody heard of it, or when it has begun to do something.
    const maxDelay = this.#context.chance(0.5) ? 4 : 2 * swarm.timing.electionTicks;
    queue.after(this.#context.below(maxDelay), () => {
      if (!this.#context.isFaulty || !machine.isRunning) return;
      if (isCrash) this.#crashOne(machine);
      else this.#isolate(this.#withCompanion(machine));
    });
  }

  #pause(): void {
    const machine = this.#leader ?? this.#context.pick(this.#machines);
    if (machine?.isRunning !== true) return;
    machine.pause();
    this.#context.queue.after(5 + this.#context.below(this.#context.swarm.maxPause), () => {
      // A client may ask before it has noticed that time has passed.
      machine.resume(() => {
        if (machine.isLeader) this.#clients.readFrom(machine);
      });
    });
  }

  #transfer(): void {
    const leader = this.#leader;
    const to = this.#context.pick(this.#machines);
    if (leader?.process === undefined || to === undefined) return;
    const isBegun = leader.process.raft.transferLeadership(to.id);
    this.#context.trace.line(() => `transfer from ${leader.id} to ${to.id}: ${isBegun}`);
    leader.process.drain();
  }

  #partition(): void {
    const { swarm } = this.#context;
    const leader = this.#leader;
    if (swarm.isolatesLeader && leader !== undefined) this.#isolate(this.#withCompanion(leader));
    else this.#isolate(this.#machines.filter(() => this.#context.chance(0.5)));
  }

  #withCompanion(machine: Machine): readonly Machine[] {
    const companion = this.#context.chance(0.5) ? this.#context.pick(this.#machines) : undefined;
    return companion === undefined ? [machine] : [machine, companion];
  }

  /** Cuts some machines off from the rest, one way or both, for a while. */
  #isolate(left: readonly Machine[]): void {
    const { swarm, trace, queue } = this.#context;
    const right = this.#machines.filter((machine) => !left.includes(machine));
    const isOneWay = this.#context.chance(swarm.oneWayRate);
    this.#network.mend();
    for (const from of left) {
      for (const to of right) {
        this.#network.cut(to, from);
        if (!isOneWay) this.#network.cut(from, to);
      }
    }
    const name = (machines: readonly Machine[]) => machines.map(({ id }) => id).join(",");
    trace.line(() => `CUT ${name(left)} ${isOneWay ? "hear nothing of" : "from"} ${name(right)}`);
    this.#partitions += 1;
    const partition = this.#partitions;
    queue.after(5 + this.#context.below(swarm.maxPartition), () => {
      if (partition !== this.#partitions || !this.#context.isFaulty) return;
      trace.line(() => "links are mended");
      this.#network.mend();
    });
  }
}
