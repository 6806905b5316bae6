import {
  type NodeId,
  nodeId,
  type Random,
  randomBelow,
  seededRandom,
} from "../../src/kernel/index.ts";
import { encodeConfiguration, simpleConfiguration } from "../../src/raft/configuration.ts";
import { MemoryLogStorage } from "../../src/raft/memory-log-storage.ts";
import type { Outgoing } from "../../src/raft/message.ts";
import { Raft } from "../../src/raft/raft.ts";
import type { Persist, Ready } from "../../src/raft/ready.ts";
import { EventQueue } from "../event-queue.ts";
import { Checker, Violation } from "./checker.ts";
import { type PlantedBug, rulesWith } from "./planted-bugs.ts";
import { drawSwarm, type Swarm } from "./swarm.ts";

/** Virtual ticks with faults, then healed ones within which the world must recover. */
const faultyTicks = 1_500;
const healedTicks = 700;
const maxEvents = 6_000;
const timing = { tickMs: 1, heartbeatTicks: 2, electionTicks: 10 };

export type RunResult = {
  readonly steps: number;
  readonly committed: number;
  readonly reads: number;
};

/** One run: everything follows from the seed. @throws when a property does not hold. */
export function runRaftWorld(seed: number, bug?: PlantedBug): RunResult {
  const world = new World(seed, bug);
  return world.run();
}

type Machine = {
  readonly id: NodeId;
  readonly storage: MemoryLogStorage;
  raft: Raft;
  isUp: boolean;
  /** Stopped for a while, as by SIGSTOP: then it goes on as if nothing had been. */
  isPaused: boolean;
  /** Counts up with each crash: what was planned before it does not happen. */
  life: number;
  write: Persist | undefined;
  digest: number;
  reads: Map<number, { readonly term: number; readonly began: number }>;
};

class World {
  readonly #random: Random;
  readonly #swarm: Swarm;
  readonly #bug: PlantedBug | undefined;
  readonly #queue = new EventQueue();
  readonly #checker = new Checker();
  readonly #machines = new Map<NodeId, Machine>();
  #cut = new Set<string>();
  #isFaulty = true;
  #steps = 0;
  #proposals = 0;
  #reads = 0;

  constructor(seed: number, bug: PlantedBug | undefined) {
    this.#random = seededRandom(Math.imul(seed, 2_654_435_761) + 17);
    this.#bug = bug;
    this.#swarm = drawSwarm(this.#random);
    const ids = Array.from({ length: this.#swarm.nodes }, (_, number) => nodeId(`n${number}`));
    const voters = ids.slice(0, this.#swarm.initialVoters);
    const data = encodeConfiguration(simpleConfiguration({ voters, learners: [] }));
    for (const id of ids) {
      const storage = new MemoryLogStorage();
      if (voters.includes(id)) {
        const hardState = { term: 1, vote: undefined, commitIndex: 1 };
        storage.saveNow({
          hardState,
          entries: [{ index: 1, term: 1, kind: "configuration", data }],
        });
      }
      const raft = this.#boot(id, storage);
      const machine = {
        id,
        storage,
        raft,
        isUp: true,
        isPaused: false,
        life: 0,
        write: undefined,
        digest: 0,
        reads: new Map(),
      };
      this.#machines.set(id, machine);
      this.#drain(machine);
      this.#keepTicking(machine, this.#random.next() * this.#swarm.maxClockLag);
    }
  }

  run(): RunResult {
    for (const act of [this.#propose, this.#propose, this.#read]) this.#repeat(3, 15, act);
    this.#repeat(1, 1, this.#nemesis);
    this.#runUntil(faultyTicks);
    this.#heal();
    this.#runUntil(faultyTicks + 300);
    const before = this.#checker.highestCommit;
    for (const leader of this.#leaders()) this.#proposeTo(leader);
    this.#runUntil(faultyTicks + healedTicks);
    this.#checkLiveness(before);
    return { steps: this.#steps, committed: this.#checker.highestCommit, reads: this.#reads };
  }

  #runUntil(time: number): void {
    while (this.#queue.now < time) {
      if (this.#queue.size > maxEvents) throw new Violation("message storm");
      this.#queue.runUntil(this.#queue.now + 1);
    }
  }

  #boot(self: NodeId, storage: MemoryLogStorage): Raft {
    return new Raft({
      self,
      storage,
      random: this.#random,
      timing,
      appliedIndex: storage.snapshotMeta()?.index ?? 0,
      limits: this.#swarm.limits,
      rules: rulesWith(this.#bug),
    });
  }

  #keepTicking(machine: Machine, lag: number): void {
    const late = this.#isFaulty && this.#random.next() < lag ? 2 : 0;
    this.#queue.after(1 + late, () => {
      if (machine.isUp && !machine.isPaused) {
        machine.raft.tick();
        this.#drain(machine);
      }
      this.#keepTicking(machine, lag);
    });
  }

  /** What happens to a machine that is paused happens when it goes on. */
  #afterFor(machine: Machine, delay: number, run: () => void): void {
    this.#queue.after(delay, () => {
      if (machine.isPaused) this.#afterFor(machine, 1, run);
      else run();
    });
  }

  #repeat(least: number, spread: number, act: () => void): void {
    this.#queue.after(least + randomBelow(this.#random, spread), () => {
      act.call(this);
      this.#repeat(least, spread, act);
    });
  }

  /** Does what the core wants until it wants nothing more. */
  #drain(machine: Machine): void {
    this.#steps += 1;
    this.#checker.checkNode(machine.id, machine.raft);
    for (let ready = machine.raft.takeReady(); ready; ready = machine.raft.takeReady()) {
      this.#perform(machine, ready);
      this.#checker.checkNode(machine.id, machine.raft);
    }
  }

  #perform(machine: Machine, ready: Ready): void {
    const { raft, id } = machine;
    this.#send(id, ready.send);
    if (ready.persist !== undefined) this.#write(machine, ready.persist, ready.sendAfterPersist);
    for (const { to, term } of ready.sendSnapshots) {
      this.#sendSnapshot(machine, to, term);
    }
    for (const entry of ready.apply) {
      machine.digest = this.#checker.checkApplied(id, entry, machine.digest);
      raft.applied(entry.index);
    }
    for (const { context, index } of ready.reads) {
      const read = machine.reads.get(context);
      if (read === undefined || read.term !== raft.term) continue;
      machine.reads.delete(context);
      this.#reads += 1;
      this.#checker.checkRead(id, { index, began: read.began });
    }
  }

  #write(machine: Machine, persist: Persist, afterwards: readonly Outgoing[]): void {
    const { life } = machine;
    machine.write = persist;
    const isEarly = this.#bug?.driver === "sends_before_sync";
    if (isEarly) this.#send(machine.id, afterwards);
    const delay = this.#isFaulty ? this.#swarm.maxDiskDelay : 1;
    this.#afterFor(machine, 1 + randomBelow(this.#random, delay), () => {
      if (!machine.isUp || machine.life !== life) return;
      machine.write = undefined;
      this.#writeNow(machine, persist, 2);
      if (persist.snapshot !== undefined) this.#restore(machine);
      machine.raft.persisted();
      if (!isEarly) this.#send(machine.id, afterwards);
      this.#drain(machine);
    });
  }

  /** A write is two steps on disk, of which a crash keeps 0, 1 or 2. */
  #writeNow({ storage }: Machine, persist: Persist, steps: number): void {
    const { snapshot, hardState, entries } = persist;
    if (snapshot !== undefined && steps >= 1) {
      storage.saveSnapshotNow(snapshot.meta, snapshot.data);
    }
    if (steps < 2) return;
    if (hardState === undefined) storage.saveNow({ entries });
    else if (this.#bug?.driver === "forgets_vote") {
      storage.saveNow({ hardState: { ...hardState, vote: undefined }, entries });
    } else storage.saveNow({ hardState, entries });
  }

  #restore(machine: Machine): void {
    const snapshot = machine.storage.snapshotNow();
    if (snapshot === undefined) {
      machine.digest = 0;
      return;
    }
    machine.digest = Buffer.from(snapshot.data).readUInt32LE(0);
    this.#checker.checkRestored(machine.id, snapshot.meta.index, machine.digest);
  }

  #sendSnapshot(machine: Machine, to: NodeId, term: number): void {
    const snapshot = machine.storage.snapshotNow();
    if (snapshot === undefined) return;
    this.#send(machine.id, [{ to, message: { kind: "snapshot_request", term, ...snapshot } }]);
  }

  #send(from: NodeId, outgoing: readonly Outgoing[]): void {
    const { dropRate, duplicateRate, maxDelay } = this.#swarm;
    for (const { to, message } of outgoing) {
      this.#checker.checkMessage(from, to, message);
      const copies = this.#isFaulty && this.#random.next() < duplicateRate ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        if (this.#isFaulty && this.#random.next() < dropRate) continue;
        const delay = 1 + randomBelow(this.#random, this.#isFaulty ? maxDelay : 1);
        const target = this.#machines.get(to);
        if (target === undefined) continue;
        this.#afterFor(target, delay, () => {
          if (!target.isUp || this.#cut.has(`${from} ${to}`)) return;
          target.raft.step(from, message);
          this.#drain(target);
        });
      }
    }
  }

  #leaders(): readonly Machine[] {
    return [...this.#machines.values()].filter(
      ({ isUp, isPaused, raft }) => isUp && !isPaused && raft.role === "leader",
    );
  }

  #pick<Item>(items: readonly Item[]): Item | undefined {
    return items[randomBelow(this.#random, items.length)];
  }

  #propose(): void {
    // Once healed, clients leave room for members that get one entry a round trip to catch up.
    const isResting = !this.#isFaulty && this.#random.next() < 0.9;
    const leader = this.#pick(this.#leaders());
    if (leader !== undefined && !isResting) this.#proposeTo(leader);
  }

  #proposeTo(leader: Machine): void {
    this.#proposals += 1;
    const data = Buffer.alloc(4);
    data.writeUInt32LE(this.#proposals);
    leader.raft.propose([Uint8Array.from(data)]);
    this.#drain(leader);
  }

  #read(): void {
    const leader = this.#pick(this.#leaders());
    if (leader !== undefined) this.#readFrom(leader);
  }

  #readFrom(leader: Machine): void {
    const began = this.#checker.highestCommit;
    const context = leader.raft.readIndex();
    if (context !== undefined) leader.reads.set(context, { term: leader.raft.term, began });
    this.#drain(leader);
  }

  #nemesis(): void {
    if (!this.#isFaulty) return;
    const happens = (rate: number) => this.#random.next() < rate;
    const swarm = this.#swarm;
    if (happens(swarm.crashRate)) this.#crashOne();
    if (happens(swarm.partitionRate)) this.#partition();
    if (happens(swarm.pauseRate)) this.#pauseOne();
    if (happens(swarm.configurationRate)) this.#changeMembers();
    if (happens(swarm.transferRate)) {
      const leader = this.#pick(this.#leaders());
      const to = this.#pick([...this.#machines.keys()]);
      if (leader !== undefined && to !== undefined) {
        leader.raft.transferLeadership(to);
        this.#drain(leader);
      }
    }
    if (happens(swarm.snapshotRate)) this.#takeSnapshot();
  }

  #changeMembers(): void {
    const leader = this.#pick(this.#leaders());
    if (leader === undefined) return;
    const shuffled = [...this.#machines.keys()]
      .map((id) => ({ id, key: this.#random.next() }))
      .sort((left, right) => left.key - right.key)
      .map(({ id }) => id);
    const voterCount = 1 + randomBelow(this.#random, shuffled.length);
    const learnerCount = randomBelow(this.#random, shuffled.length - voterCount + 1);
    leader.raft.proposeConfiguration({
      voters: shuffled.slice(0, voterCount),
      learners: shuffled.slice(voterCount, voterCount + learnerCount),
    });
    this.#drain(leader);
  }

  #takeSnapshot(): void {
    const machine = this.#pick([...this.#machines.values()]);
    if (machine?.isUp !== true || machine.write !== undefined) return;
    const { raft, storage } = machine;
    const index = raft.appliedIndex;
    const term = raft.termAt(index);
    if (term === undefined || index <= (storage.snapshotMeta()?.index ?? 0)) return;
    const data = Buffer.alloc(4);
    data.writeUInt32LE(machine.digest);
    const configuration = raft.configurationAt(index);
    storage.saveSnapshotNow({ index, term, configuration }, Uint8Array.from(data));
    storage.compactNow(index - randomBelow(this.#random, 4));
  }

  #crashOne(): void {
    const leader = this.#pick(this.#leaders());
    const target = this.#swarm.aimsAtLeader && leader !== undefined ? leader : undefined;
    const machine = target ?? this.#pick([...this.#machines.values()]);
    if (machine?.isUp !== true) return;
    machine.isUp = false;
    machine.life += 1;
    const { write } = machine;
    if (write !== undefined) this.#writeNow(machine, write, randomBelow(this.#random, 3));
    machine.write = undefined;
    this.#queue.after(1 + randomBelow(this.#random, this.#swarm.maxDown), () =>
      this.#restart(machine),
    );
  }

  #pauseOne(): void {
    const machine = this.#pick(this.#leaders()) ?? this.#pick([...this.#machines.values()]);
    if (machine === undefined || machine.isPaused) return;
    machine.isPaused = true;
    this.#queue.after(5 + randomBelow(this.#random, 60), () => {
      machine.isPaused = false;
      // It does not know yet that time has passed, and a client may ask before it does.
      if (machine.isUp && machine.raft.role === "leader") this.#readFrom(machine);
    });
  }

  #restart(machine: Machine): void {
    if (machine.isUp) return;
    machine.isUp = true;
    machine.reads = new Map();
    this.#restore(machine);
    machine.raft = this.#boot(machine.id, machine.storage);
    this.#checker.restarted(machine.id);
    this.#drain(machine);
  }

  #partition(): void {
    const ids = [...this.#machines.keys()];
    const leader = this.#pick(this.#leaders());
    const companion = this.#random.next() < 0.5 ? this.#pick(ids) : undefined;
    const isLeft = new Map<NodeId, boolean>();
    for (const id of ids) {
      const isWithLeader = id === leader?.id || id === companion;
      isLeft.set(id, this.#swarm.isolatesLeader ? isWithLeader : this.#random.next() < 0.5);
    }
    const isOneWay = this.#random.next() < 0.3;
    this.#cut = new Set();
    for (const from of ids) {
      for (const to of ids) {
        const isAcross = isLeft.get(from) !== isLeft.get(to);
        if (isAcross && !(isOneWay && isLeft.get(from))) this.#cut.add(`${from} ${to}`);
      }
    }
    const { maxPartition } = this.#swarm;
    this.#queue.after(5 + randomBelow(this.#random, maxPartition), () => {
      this.#cut = new Set();
    });
  }

  #heal(): void {
    this.#isFaulty = false;
    this.#cut = new Set();
    for (const machine of this.#machines.values()) {
      machine.isPaused = false;
      this.#restart(machine);
    }
  }

  /** With all faults gone, there is one leader, commits go on and every member follows. */
  #checkLiveness(before: number): void {
    const { highestCommit } = this.#checker;
    if (highestCommit <= before) {
      throw new Violation(`liveness: nothing was committed after healing\n${this.#describe()}`);
    }
    const leader = this.#leaders()[0];
    if (leader === undefined) throw new Violation("liveness: no leader after healing");
    const { voters, votersOutgoing, learners } = leader.raft.configuration;
    if (votersOutgoing.length > 0) throw new Violation("liveness: stuck in a joint configuration");
    for (const id of [...voters, ...learners]) {
      const lag = highestCommit - (this.#machines.get(id)?.raft.appliedIndex ?? 0);
      if (lag > 20)
        throw new Violation(
          `liveness: ${id} is ${lag} entries behind after healing\n${this.#describe()}`,
        );
    }
  }

  /** One line a node, for whoever reads a failure. */
  #describe(): string {
    const lines = [...this.#machines.values()].map(({ id, raft }) => {
      const { role, term, leader, commitIndex, lastIndex, configuration } = raft;
      const { voters, votersOutgoing } = configuration;
      return (
        `  ${id} ${role} term ${term} leader ${leader ?? "-"} commit ${commitIndex} of ${lastIndex} ` +
        `voters ${voters.join(",")} outgoing ${votersOutgoing.join(",")}`
      );
    });
    return lines.join("\n");
  }
}
