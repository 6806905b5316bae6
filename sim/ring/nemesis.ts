import { type Random, randomBelow } from "../../src/kernel/index.ts";
import type { Checker } from "./checker.ts";
import { noTrouble, taskOf } from "./engine.ts";
import type { Host } from "./host.ts";
import type { Ring } from "./ring.ts";
import type { Fault, Swarm } from "./swarm.ts";

/** Makes things go wrong, until it is told to stop and mend everything. */
export class Nemesis {
  happened = 0;
  readonly #ring: Ring;
  readonly #checker: Checker;
  readonly #swarm: Swarm;
  readonly #random: Random;
  readonly #note: (text: () => string) => void;
  #isOver = false;

  constructor(options: {
    readonly ring: Ring;
    readonly checker: Checker;
    readonly swarm: Swarm;
    readonly random: Random;
    readonly note: (text: () => string) => void;
  }) {
    this.#ring = options.ring;
    this.#checker = options.checker;
    this.#swarm = options.swarm;
    this.#random = options.random;
    this.#note = options.note;
  }

  begin(): void {
    const { faults, faultGapMs } = this.#swarm;
    if (faults.length === 0) return;
    this.#later(2 * this.#random.next() * faultGapMs, () => {
      const fault = this.#one(faults);
      if (fault !== undefined) this.#strike(fault);
      this.begin();
    });
  }

  /** From here on everybody must recover. */
  end(): void {
    this.#isOver = true;
    this.#note(() => "the world HEALS");
    const { links, hosts } = this.#ring;
    links.healAll();
    links.weather = { ...links.weather, lossRate: 0 };
    const gone = this.#mayStayGone();
    for (const host of hosts) {
      host.hinder();
      host.goOn();
      host.engine.trouble = noTrouble;
      host.engine.memory.isReachable = true;
      host.disk.maxWriteMs = 3;
      host.proxy.maxDelayMs = 20;
      if (host === gone) this.#note(() => `${host.id} STAYS GONE`);
      else if (host.state !== "running") this.#start(host);
    }
  }

  /** One machine that loses its power for good, where the others have a majority without it. */
  #mayStayGone(): Host | undefined {
    if (this.#random.next() >= this.#swarm.goneRate) return undefined;
    const voters = this.#ring.leader?.daemon?.raft.status.get().voters ?? [];
    if (voters.length < 3) return undefined;
    const { hosts } = this.#ring;
    const gone =
      hosts.find(({ state }) => state === "dark") ??
      this.#one(hosts.filter((each) => each.state === "running"));
    gone?.crash({ losesPower: true });
    return gone;
  }

  #strike(fault: Fault): void {
    this.happened += 1;
    const host = this.#one(this.#ring.hosts);
    if (host === undefined) return;
    switch (fault) {
      case "crash":
      case "power_loss":
        this.#crashForAWhile(host, fault === "power_loss");
        break;
      case "mass_restart":
        for (const each of this.#ring.hosts) {
          if (this.#random.next() < 0.7) this.#crashForAWhile(each, this.#random.next() < 0.3);
        }
        break;
      case "pause":
        this.#pause(host);
        break;
      case "cut":
      case "one_way_cut":
        this.#cut([host], this.#some(), fault === "cut");
        break;
      case "partition":
        this.#partition();
        break;
      case "wall_clock_jump":
        this.#jump(host);
        break;
      case "loss":
        this.#lose();
        break;
      case "engine_unreachable":
      case "engine_restart":
      case "engine_trouble":
      case "slow_engine":
        this.#troubleEngine(host, fault);
        break;
      case "slow_disk":
        this.#slowDown(host, "disk");
        break;
      case "slow_proxy":
        this.#slowDown(host, "proxy");
        break;
      case "container_dies":
      case "container_vanishes":
      case "container_sick":
        this.#harm(host, fault);
        break;
    }
  }

  #crashForAWhile(host: Host, losesPower: boolean): void {
    if (host.state !== "running") return;
    host.crash({ losesPower });
    this.#later(this.#random.next() * this.#swarm.maxDownMs, () => this.#start(host));
  }

  #pause(host: Host): void {
    if (!host.isAwake) return;
    const { machine } = host;
    host.pause();
    this.#later(this.#random.next() * this.#swarm.maxPauseMs, () => {
      if (host.machine === machine) host.goOn();
    });
  }

  #partition(): void {
    const left = this.#some();
    const right = this.#ring.hosts.filter((host) => !left.includes(host));
    this.#cut(left, right, this.#random.next() < 0.8);
  }

  #cut(left: readonly Host[], right: readonly Host[], isBothWays: boolean): void {
    const { links } = this.#ring;
    const names = (hosts: readonly Host[]) => hosts.map(({ id }) => id).join(",");
    this.#note(() =>
      isBothWays
        ? `CUT ${names(left)} from ${names(right)}`
        : `CUT ${names(right)} hear nothing of ${names(left)}`,
    );
    const each = (change: (from: Host, to: Host) => void) => {
      for (const from of left) {
        for (const to of right) {
          if (from === to) continue;
          change(from, to);
          if (isBothWays) change(to, from);
          from.disturb();
          to.disturb();
        }
      }
    };
    each((from, to) => links.cut(from.id, to.id));
    this.#later(this.#random.next() * this.#swarm.maxCutMs, () => {
      this.#note(() => `HEALED ${names(left)} and ${names(right)}`);
      each((from, to) => links.heal(from.id, to.id));
    });
  }

  #jump(host: Host): void {
    const errorMs = (this.#one([-86_400_000, -30_000, 5_000, 90_000]) ?? 0) * this.#random.next();
    this.#note(() => `${host.id} has a clock that is wrong by ${errorMs.toFixed(0)} ms`);
    this.#checker.agreed.hasJumped = true;
    host.jump(Math.round(errorMs));
  }

  #lose(): void {
    const { links, hosts } = this.#ring;
    const lossRate = this.#random.next() * 0.25;
    this.#note(() => `${(lossRate * 100).toFixed(0)} % of all messages are LOST`);
    links.weather = { ...links.weather, lossRate };
    this.#later(this.#random.next() * this.#swarm.maxCutMs, () => {
      links.weather = { ...links.weather, lossRate: 0 };
      this.#note(() => "no message is lost any more");
      for (const host of hosts) host.disturb();
    });
  }

  #troubleEngine(host: Host, fault: Fault): void {
    const { engine } = host;
    if (host.state === "dark") return;
    const ms = this.#random.next() * this.#swarm.maxTroubleMs;
    this.#note(() => `${host.id} has ${fault} for ${ms.toFixed(0)} ms`);
    host.hinder();
    if (fault === "engine_unreachable") engine.beUnreachable(ms);
    else if (fault === "engine_restart") engine.restart(ms);
    else {
      const rate = () => this.#random.next() * 0.4;
      engine.trouble =
        fault === "slow_engine"
          ? { ...noTrouble, hangRate: 0.3, hangMs: 10_000, maxStartMs: 4_000 }
          : { ...noTrouble, failRate: rate(), lostAnswerRate: rate(), halfRate: rate() };
    }
    this.#later(ms, () => {
      host.hinder();
      engine.trouble = noTrouble;
    });
  }

  #slowDown(host: Host, what: "disk" | "proxy"): void {
    this.#note(() => `${host.id} has a slow ${what}`);
    host.disturb();
    const { proxy } = host;
    if (what === "disk") host.disk.maxWriteMs = 600;
    else proxy.maxDelayMs = 3_000;
    this.#later(this.#random.next() * this.#swarm.maxTroubleMs, () => {
      host.disturb();
      if (what === "disk") host.disk.maxWriteMs = 3;
      else proxy.maxDelayMs = 20;
    });
  }

  #harm(host: Host, fault: "container_dies" | "container_vanishes" | "container_sick"): void {
    const { engine } = host;
    const container = this.#one(engine.running());
    if (container === undefined) return;
    const name = engine.nameOf(container.id);
    this.#note(() => `${name} on ${host.id}: ${fault}`);
    this.#checker.sightings.hurt(taskOf(container));
    if (fault === "container_dies") {
      engine.memory.crash(container.id, this.#one([0, 1, 137]) ?? 1);
    } else if (fault === "container_vanishes") engine.memory.remove(container.id);
    else engine.makeSick(name, this.#random.next() * 15_000);
  }

  #start(host: Host): void {
    const { hosts } = this.#ring;
    const seeds = hosts.filter((each) => each !== host).map(({ id }) => id);
    host.start({ isFirst: false, seeds });
  }

  #some(): readonly Host[] {
    const share = this.#one([0.2, 0.5]) ?? 0.5;
    return this.#ring.hosts.filter(() => this.#random.next() < share);
  }

  #one<Value>(values: readonly Value[]): Value | undefined {
    return values[randomBelow(this.#random, values.length)];
  }

  #later(ms: number, run: () => void): void {
    this.#ring.queue.after(Math.round(ms), () => {
      if (!this.#isOver) run();
    });
  }
}
