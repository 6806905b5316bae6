import { type NodeId, nodeId } from "../../src/kernel/index.ts";
import { Machine } from "../gossip/machine.ts";
import { MemoryDisk } from "../memory-disk.ts";
import type { RingContext } from "./context.ts";
import { clusterId, type Daemon, startDaemon } from "./daemon.ts";
import { noTrouble, SimEngine } from "./engine.ts";
import { SimProxy } from "./sim-proxy.ts";

export type HostOptions = {
  readonly name: string;
  readonly cpuMillis: number;
  readonly clockRate: number;
  /** Of tasks that drain, those that still answer a request. */
  readonly busyRate: number;
  readonly onDaemon: (host: Host, daemon: Daemon) => void;
};

/** A machine through all of its lives: its disk, its engine and its proxy outlive its daemon. */
export class Host {
  readonly id: NodeId;
  readonly disk: MemoryDisk;
  readonly engine: SimEngine;
  proxy: SimProxy;
  machine: Machine;
  daemon: Daemon | undefined;
  state: "running" | "crashed" | "dark" = "crashed";
  /** When something last happened to it that may keep it from doing its work. */
  disturbedAtMs = 0;
  /** The same, of what keeps it from ruling over its containers. */
  hinderedAtMs = 0;
  startedAtMs = 0;
  wallErrorMs = 0;
  readonly #context: RingContext;
  readonly #options: HostOptions;
  #onEnd: (() => void)[] = [];

  constructor(context: RingContext, options: HostOptions) {
    const { queue, random } = context;
    this.id = nodeId(options.name);
    this.#context = context;
    this.#options = options;
    this.disk = new MemoryDisk(random);
    this.machine = this.#newMachine();
    this.engine = new SimEngine({
      nodeId: this.id,
      clusterId,
      cpuMillis: options.cpuMillis,
      queue,
      random,
      host: this.#newMachine(),
    });
    this.proxy = this.#newProxy();
  }

  /** Whether the daemon runs and is not held up. */
  get isAwake(): boolean {
    return this.daemon !== undefined && !this.machine.isPaused;
  }

  start(how: { readonly isFirst: boolean; readonly seeds: readonly NodeId[] }): void {
    if (this.state === "running") return;
    const { note, queue } = this.#context;
    note(() => `${this.id} STARTS`);
    if (this.state === "dark") {
      this.engine.reboot(this.#newMachine());
      this.proxy = this.#newProxy();
    }
    this.machine = this.#newMachine();
    this.state = "running";
    this.startedAtMs = queue.now;
    this.hinder();
    const { machine } = this;
    this.#context.stir();
    startDaemon(this.#context, this, how).then(
      (daemon) => {
        if (this.machine !== machine || !machine.isUp) return;
        this.daemon = daemon;
        this.#options.onDaemon(this, daemon);
      },
      (error: unknown) => this.#context.violated(`${this.id} does not start: ${String(error)}`),
    );
  }

  /** The daemon ends without a word, or the whole machine does. */
  crash({ losesPower }: { readonly losesPower: boolean }): void {
    if (this.state !== "running") return;
    this.#context.note(() => `${this.id} CRASHES${losesPower ? " with its power" : ""}`);
    this.hinder();
    this.machine.isUp = false;
    this.#context.links.leave(this.machine, losesPower);
    for (const end of this.#onEnd.splice(0)) end();
    this.daemon = undefined;
    this.state = losesPower ? "dark" : "crashed";
    if (losesPower) {
      this.engine.host.isUp = false;
      // What ran is gone; the engine finds out when it is back.
      this.engine.memory.reboot();
    }
  }

  pause(): void {
    this.#context.note(() => `${this.id} PAUSES`);
    this.hinder();
    this.machine.isPaused = true;
  }

  goOn(): void {
    if (!this.machine.isPaused) return;
    this.#context.note(() => `${this.id} goes on`);
    this.hinder();
    this.machine.goOn();
  }

  jump(errorMs: number): void {
    this.wallErrorMs = errorMs;
    this.machine.wallErrorMs = errorMs;
    this.engine.host.wallErrorMs = errorMs;
  }

  disturb(): void {
    this.disturbedAtMs = this.#context.queue.now;
  }

  /** Something happens to its daemon or its engine, by which it rules over its containers. */
  hinder(): void {
    this.disturb();
    this.hinderedAtMs = this.disturbedAtMs;
  }

  /** How long daemon and engine have been well, whatever its network is like; 0 while they are not. */
  get unhinderedMs(): number {
    const { engine, isAwake } = this;
    if (!isAwake || !engine.memory.isReachable || engine.trouble !== noTrouble) return 0;
    return this.#context.queue.now - this.hinderedAtMs;
  }

  /** How long nothing has kept it from doing its work; 0 while something does. */
  get undisturbedMs(): number {
    const { engine, isAwake } = this;
    if (!isAwake || !engine.memory.isReachable) return 0;
    return this.#context.queue.now - this.disturbedAtMs;
  }

  /** Called when this life of the daemon ends. */
  onEnd(run: () => void): void {
    this.#onEnd.push(run);
  }

  #newMachine(): Machine {
    const { queue } = this.#context;
    const { clockRate } = this.#options;
    const onStir = () => this.#context.stir();
    const machine = new Machine(nodeId(this.#options.name), { queue, clockRate, onStir });
    machine.wallErrorMs = this.wallErrorMs;
    return machine;
  }

  #newProxy(): SimProxy {
    const { queue, random } = this.#context;
    return new SimProxy({ random, now: () => queue.now, busyRate: this.#options.busyRate });
  }
}
