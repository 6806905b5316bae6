import { codeOf, messageOf, type NodeId, randomBelow } from "../../src/kernel/index.ts";
import { isSameSet, type TargetConfiguration } from "../../src/raft/configuration.ts";
import type { RunnerContext } from "./context.ts";
import type { Host, Life } from "./host.ts";
import type { Happening } from "./swarm.ts";

/** Makes things go wrong, and asks the leader for changes, until it is told to mend everything. */
export class Nemesis {
  happened = 0;
  readonly #context: RunnerContext;
  readonly #hosts: readonly Host[];
  #isOver = false;

  constructor(context: RunnerContext, hosts: readonly Host[]) {
    this.#context = context;
    this.#hosts = hosts;
  }

  begin(): void {
    const { happenings, gapMs } = this.#context.swarm;
    if (happenings.length === 0) return;
    this.#later(2 * gapMs, () => {
      const happening = this.#one(happenings);
      if (happening !== undefined) this.#strike(happening);
      this.begin();
    });
  }

  /** From here on everybody must recover. */
  end(): void {
    this.#isOver = true;
    this.#context.note(() => "the world HEALS");
    const { links, swarm } = this.#context;
    links.healAll();
    links.weather = { ...links.weather, lossRate: 0 };
    links.disorder = undefined;
    for (const host of this.#hosts) {
      host.slowDown(swarm.maxWriteMs);
      host.goOn();
    }
    this.startAll();
  }

  startAll(): void {
    for (const host of this.#hosts) host.start({ isFirst: false });
  }

  /** Asks whoever leads for these members. */
  change(target: TargetConfiguration): void {
    const leader = this.#leader;
    const life = leader?.awake;
    if (leader === undefined || life === undefined) return;
    const names = (nodes: readonly NodeId[]) => nodes.join(",");
    const what = `change by ${leader.id} to voters ${names(target.voters)} learners ${names(target.learners)}`;
    this.#ask(life, what, async (signal) => {
      await life.runner.changeConfiguration(target, { signal });
      const { voters, learners, isSettled } = life.runner.status.get();
      const isDone = isSameSet(voters, target.voters) && isSameSet(learners, target.learners);
      if (isDone && isSettled) return "done";
      this.#context.violated(`the ${what} is called done, with voters ${names(voters)}`);
      return "not done";
    });
  }

  #strike(happening: Happening): void {
    this.happened += 1;
    const host = this.#victim();
    if (host === undefined) return;
    switch (happening) {
      case "crash":
      case "power_loss":
        this.#crashForAWhile(host, happening === "power_loss");
        break;
      case "stop":
        host.stop();
        this.#startLater(host);
        break;
      case "mass_restart":
        for (const each of this.#hosts) {
          if (this.#chance(0.7)) this.#crashForAWhile(each, this.#chance(0.5));
        }
        break;
      case "pause":
        this.#pause(host);
        break;
      case "cut":
      case "one_way_cut":
        this.#cut([host], this.#some(), happening === "cut");
        break;
      case "partition":
        this.#partition();
        break;
      case "slow_disk":
        this.#slowDown(host);
        break;
      case "change_members":
        this.#changeAnything();
        break;
      case "transfer":
        this.#transfer();
        break;
    }
  }

  #crashForAWhile(host: Host, losesPower: boolean): void {
    host.crash({ losesPower });
    this.#startLater(host);
  }

  #startLater(host: Host): void {
    this.#later(this.#context.swarm.maxDownMs, () => {
      host.start({ isFirst: false });
      if (!host.isDown) return;
      this.#startLater(host);
    });
  }

  #pause(host: Host): void {
    if (host.awake === undefined) return;
    const { machine } = host;
    host.pause();
    this.#later(this.#context.swarm.maxPauseMs, () => {
      if (host.machine === machine) host.goOn();
    });
  }

  #partition(): void {
    const left = this.#some();
    const right = this.#hosts.filter((host) => !left.includes(host));
    this.#cut(left, right, this.#chance(0.7));
  }

  #cut(left: readonly Host[], right: readonly Host[], isBothWays: boolean): void {
    const { links, note, swarm } = this.#context;
    const names = (hosts: readonly Host[]) => hosts.map(({ id }) => id).join(",");
    note(() =>
      isBothWays
        ? `CUT ${names(left)} from ${names(right)}`
        : `CUT ${names(right)} hear nothing of ${names(left)}`,
    );
    const each = (change: (from: NodeId, to: NodeId) => void) => {
      for (const from of left) {
        for (const to of right) {
          if (from === to) continue;
          change(from.id, to.id);
          if (isBothWays) change(to.id, from.id);
        }
      }
    };
    each((from, to) => links.cut(from, to));
    this.#later(swarm.maxCutMs, () => {
      note(() => `HEALED ${names(left)} and ${names(right)}`);
      each((from, to) => links.heal(from, to));
    });
  }

  #slowDown(host: Host): void {
    const { note, swarm } = this.#context;
    note(() => `${host.id} has a slow disk`);
    host.slowDown(swarm.slowWriteMs);
    this.#later(swarm.maxSlowMs, () => host.slowDown());
  }

  #changeAnything(): void {
    const { random } = this.#context;
    const shuffled = this.#hosts
      .map(({ id }) => ({ id, key: random.next() }))
      .sort((left, right) => left.key - right.key)
      .map(({ id }) => id);
    const count = Math.min(shuffled.length, this.#one([1, 2, 3, 3, 5]) ?? 1);
    const learners = shuffled.slice(count).filter(() => this.#chance(0.4));
    this.change({ voters: shuffled.slice(0, count), learners });
  }

  #transfer(): void {
    const leader = this.#leader;
    const life = leader?.awake;
    if (leader === undefined || life === undefined) return;
    this.#ask(life, `hand-over of ${leader.id}`, async (signal) => {
      const to = await life.runner.transferLeadership({ signal });
      return `to ${to ?? "nobody"}`;
    });
  }

  #ask(life: Life, what: string, act: (signal: AbortSignal) => Promise<string>): void {
    const { note } = this.#context;
    const asked = `${what} (${this.happened})`;
    life.asked.add(asked);
    note(() => `asked: ${what}`);
    life.machine.act(() => {
      act(new AbortController().signal)
        .finally(() => life.asked.delete(asked))
        .then(
          (result) => note(() => `asked: ${what}: ${result}`),
          (error: unknown) =>
            note(() => `asked: ${what} fails: ${codeOf(error) ?? messageOf(error)}`),
        );
    });
  }

  #victim(): Host | undefined {
    const aimed = this.#chance(this.#context.swarm.aimRate) ? this.#leader : undefined;
    return aimed ?? this.#one(this.#hosts);
  }

  get #leader(): Host | undefined {
    return this.#one(this.#hosts.filter(({ isLeader }) => isLeader));
  }

  #some(): readonly Host[] {
    const share = this.#one([0.2, 0.5]) ?? 0.5;
    return this.#hosts.filter(() => this.#chance(share));
  }

  #chance(rate: number): boolean {
    return this.#context.random.next() < rate;
  }

  #one<Value>(values: readonly Value[]): Value | undefined {
    return values[randomBelow(this.#context.random, values.length)];
  }

  /** At some fraction of a time, so that nothing else happens at the very same moment. */
  #later(maxMs: number, run: () => void): void {
    this.#context.queue.after(this.#context.random.next() * maxMs, () => {
      if (!this.#isOver) run();
    });
  }
}
