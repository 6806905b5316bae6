import { type Random, randomBelow } from "../../src/kernel/index.ts";
import type { Checker } from "./checker.ts";
import type { GossipCluster, SimNode } from "./cluster.ts";
import type { Happening, Swarm } from "./swarm.ts";

const maxNodes = 220;

/** Makes things happen to a cluster, until it is told to stop and mend everything. */
export class Nemesis {
  happened = 0;
  readonly #cluster: GossipCluster;
  readonly #checker: Checker;
  readonly #swarm: Swarm;
  readonly #random: Random;
  readonly #note: (text: () => string) => void;
  #isOver = false;
  #names: number;
  /** In a calm run only one link is cut at a time. */
  #cuts = 0;
  /** Lives that are paused, or were a short while ago. */
  readonly #paused = new WeakSet<object>();

  constructor(options: {
    readonly cluster: GossipCluster;
    readonly checker: Checker;
    readonly swarm: Swarm;
    readonly random: Random;
    readonly note: (text: () => string) => void;
  }) {
    this.#cluster = options.cluster;
    this.#checker = options.checker;
    this.#swarm = options.swarm;
    this.#random = options.random;
    this.#note = options.note;
    this.#names = options.swarm.nodes;
  }

  begin(): void {
    this.#later(2 * this.#random.next() * this.#swarm.gapMs, () => {
      const kind = this.#one(this.#swarm.happenings);
      if (kind !== undefined) this.#strike(kind);
      this.begin();
    });
  }

  /** From here on everybody must recover. */
  end(): void {
    this.#isOver = true;
    this.#note(() => "the world HEALS");
    const { network, nodes, admitted } = this.#cluster;
    network.healAll();
    network.weather = { ...network.weather, lossRate: 0 };
    for (const node of nodes.values()) {
      if (node.machine?.isPaused === true) this.#goOn(node);
      const isWanted = admitted.has(node.id) && node.state === "crashed";
      if (isWanted && this.#random.next() < 0.7) this.#start(node);
      if (!admitted.has(node.id) && this.#random.next() < 0.5) this.#crash(node, "crash");
    }
    this.#cluster.tellAll();
  }

  #strike(kind: Happening): void {
    this.happened += 1;
    switch (kind) {
      case "crash":
      case "power_loss":
        this.#crashForAWhile(this.#victim(), kind);
        break;
      case "mass_restart":
        this.#massRestart();
        break;
      case "pause":
        this.#pause();
        break;
      case "cut":
      case "one_way_cut":
        this.#cutLink(kind);
        break;
      case "partition":
        this.#partition();
        break;
      case "wall_clock_jump":
        this.#jump();
        break;
      case "join":
      case "leave":
      case "remove":
      case "readmit":
        this.#changeMembers(kind);
        break;
      case "lose_disk":
        this.#loseDisk();
        break;
      case "two_cuts":
        this.#cutTwoLinks();
        break;
      case "publish":
        this.#publish();
        break;
      case "forge":
        this.#forge();
        break;
    }
  }

  #crashForAWhile(victim: SimNode | undefined, kind: "crash" | "power_loss"): void {
    if (victim === undefined) return;
    this.#crash(victim, kind);
    if (this.#random.next() < this.#swarm.goneRate) return;
    this.#later(this.#random.next() * this.#swarm.maxDownMs, () => {
      if (victim.state === "crashed" && this.#cluster.admitted.has(victim.id)) this.#start(victim);
    });
  }

  #massRestart(): void {
    const share = this.#one([0.3, 0.7, 1]) ?? 1;
    for (const node of this.#cluster.running) {
      if (this.#random.next() > share) continue;
      this.#crash(node, "crash");
      this.#later(this.#random.next() * 2_000, () => {
        if (node.state === "crashed" && this.#cluster.admitted.has(node.id)) this.#start(node);
      });
    }
  }

  /** A third at once, at times. */
  #pause(): void {
    const share = this.#one([0, 0.33]) ?? 0;
    const chosen = this.#cluster.running.filter(() => this.#random.next() < share);
    const one = this.#victim();
    const pauseMs = this.#random.next() * this.#swarm.maxPauseMs;
    // The pauses of a calm run do not follow each other: that would be one long one.
    if (
      this.#swarm.mood !== "stormy" &&
      this.#cluster.running.some((node) => this.#isOrWasPaused(node))
    )
      return;
    for (const node of new Set([...chosen, ...(one === undefined ? [] : [one])])) {
      const { machine } = node;
      if (machine === undefined || machine.isPaused) continue;
      this.#note(() => `${node.id} PAUSES`);
      machine.isPaused = true;
      this.#paused.add(machine);
      this.#later(pauseMs, () => {
        if (node.machine === machine) this.#goOn(node);
      });
      this.#cluster.queue.after(3 * pauseMs + 10_000, () => this.#paused.delete(machine));
    }
  }

  #cutLink(kind: "cut" | "one_way_cut"): void {
    const [from, to] = [this.#victim(), this.#victim()];
    if (from === undefined || to === undefined || from === to) return;
    if (this.#swarm.mood === "one_link" && this.#cuts > 0) return;
    this.#cut([from], [to], kind === "cut");
  }

  /** Two cannot hear one that all others hear. */
  #cutTwoLinks(): void {
    const [target, ...others] = this.#shuffled(this.#cluster.running);
    const [first, second] = others;
    if (target === undefined || first === undefined || second === undefined) return;
    // In a smaller cluster there may be nobody left who hears it and can be asked.
    if (others.length < 4 || (this.#swarm.mood === "one_link" && this.#cuts > 0)) return;
    this.#cut([first, second], [target], true);
  }

  #partition(): void {
    const share = this.#one([0.2, 0.5]) ?? 0.5;
    const [left, right]: [SimNode[], SimNode[]] = [[], []];
    for (const node of this.#cluster.nodes.values()) {
      (this.#random.next() < share ? left : right).push(node);
    }
    this.#cut(left, right, this.#random.next() < 0.8);
  }

  #cut(left: readonly SimNode[], right: readonly SimNode[], isBothWays: boolean): void {
    const { network } = this.#cluster;
    const names = (nodes: readonly SimNode[]) => nodes.map(({ id }) => id).join(",");
    this.#note(() =>
      isBothWays
        ? `CUT ${names(left)} from ${names(right)}`
        : `CUT ${names(right)} hear nothing of ${names(left)}`,
    );
    this.#cuts += 1;
    const each = (change: (from: SimNode, to: SimNode) => void) => {
      for (const a of left) {
        for (const b of right) {
          change(a, b);
          if (isBothWays) change(b, a);
        }
      }
    };
    each((from, to) => network.cut(from.id, to.id));
    this.#later(this.#random.next() * this.#swarm.maxCutMs, () => {
      this.#note(() => `HEALED ${names(left)} and ${names(right)}`);
      each((from, to) => network.heal(from.id, to.id));
      // Whoever was nearly given up may hear of the next cut at once.
      this.#later(10_000, () => {
        this.#cuts -= 1;
      });
    });
  }

  #jump(): void {
    const victim = this.#victim();
    const errorMs = (this.#one([-86_400_000, -5_000, 5_000, 3_600_000]) ?? 0) * this.#random.next();
    if (victim?.machine === undefined) return;
    this.#note(() => `${victim.id} has a clock that is wrong by ${errorMs.toFixed(0)} ms`);
    victim.machine.wallErrorMs = errorMs;
  }

  #changeMembers(kind: "join" | "leave" | "remove" | "readmit"): void {
    const victim = this.#victim();
    const { admitted, nodes } = this.#cluster;
    if (kind === "join") {
      if (nodes.size >= Math.min(maxNodes, 2 * this.#swarm.nodes)) return;
      this.#names += 1;
      const node = this.#cluster.admit(`n${this.#names}`);
      this.#note(() => `${node.id} JOINS`);
      this.#start(node);
    } else if (kind === "readmit") {
      const gone = [...nodes.values()].filter(
        ({ id, state }) => !admitted.has(id) && state !== "running",
      );
      const node = this.#one(gone);
      if (node === undefined) return;
      // What it knew of the cluster went with its removal; its disk may have been kept.
      node.applied = 0;
      if (this.#random.next() < 0.5) this.#wipe(node);
      this.#cluster.admit(node.id);
      this.#note(() => `${node.id} JOINS again`);
      this.#start(node);
    } else if (kind === "leave" && victim !== undefined) {
      // Half of the others may not hear the goodbye, and find out by themselves.
      if (this.#swarm.mood === "stormy" && this.#random.next() < 0.5) this.#partition();
      this.#note(() => `${victim.id} LEAVES`);
      this.#cluster.leave(victim);
      if (this.#random.next() < 0.5) return;
      this.#later(500 + this.#random.next() * this.#swarm.maxDownMs, () => {
        if (victim.state !== "running" && admitted.has(victim.id)) this.#start(victim);
      });
    } else if (kind === "remove" && admitted.size > 3) {
      const ghost = this.#one([...nodes.values()].filter(({ id }) => admitted.has(id)));
      if (ghost === undefined) return;
      this.#note(() => `${ghost.id} is REMOVED`);
      this.#cluster.remove(ghost);
      // It may go on for a while and talk to whoever listens.
      this.#later(this.#random.next() * 15_000, () => {
        if (!this.#cluster.admitted.has(ghost.id)) this.#crash(ghost, "crash");
      });
    }
  }

  #loseDisk(): void {
    const down = [...this.#cluster.nodes.values()].filter(({ state }) => state !== "running");
    const node = this.#one(down);
    if (node !== undefined) this.#wipe(node);
  }

  #wipe(node: SimNode): void {
    this.#note(() => `${node.id} LOSES its disk`);
    node.incarnation = 0;
    node.usedIncarnation = 0;
  }

  #publish(): void {
    const node = this.#victim();
    if (node === undefined) return;
    const times = this.#one([1, 1, 5]) ?? 1;
    for (let time = 0; time < times; time += 1) this.#cluster.publish(node);
    this.#checker.expectSpread(node);
  }

  /** A member hands on a record that another one never wrote. */
  #forge(): void {
    const [liar, victim, fool] = this.#shuffled(this.#cluster.running);
    if (liar === undefined || victim === undefined || fool === undefined) return;
    this.#note(() => `${liar.id} FORGES a record of ${victim.id} for ${fool.id}`);
    this.#cluster.forge(liar, { victim, fool });
  }

  #start(node: SimNode): void {
    this.#note(() => `${node.id} STARTS`);
    this.#cluster.start(node);
  }

  #crash(node: SimNode, kind: "crash" | "power_loss"): void {
    if (node.state !== "running") return;
    this.#note(() => `${node.id} CRASHES${kind === "power_loss" ? " with its power" : ""}`);
    this.#cluster.crash(node, { isDark: kind === "power_loss" });
    if (kind === "crash") this.#checker.expectKnownEnd(node);
  }

  #goOn(node: SimNode): void {
    this.#note(() => `${node.id} goes on`);
    node.machine?.goOn();
  }

  #isOrWasPaused({ machine }: SimNode): boolean {
    return machine !== undefined && this.#paused.has(machine);
  }

  #victim(): SimNode | undefined {
    const { running, admitted } = this.#cluster;
    return this.#one(running.filter(({ id }) => admitted.has(id)));
  }

  #shuffled<Value>(values: readonly Value[]): readonly Value[] {
    const left = [...values];
    const drawn: Value[] = [];
    while (left.length > 0) drawn.push(...left.splice(randomBelow(this.#random, left.length), 1));
    return drawn;
  }

  #one<Value>(values: readonly Value[]): Value | undefined {
    return values[randomBelow(this.#random, values.length)];
  }

  #later(ms: number, run: () => void): void {
    this.#cluster.queue.after(ms, () => {
      if (!this.#isOver) run();
    });
  }
}
