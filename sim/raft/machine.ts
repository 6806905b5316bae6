import type { NodeId } from "../../src/kernel/index.ts";
import type { SaveBatch } from "../../src/raft/memory-log-storage.ts";
import type { Outgoing } from "../../src/raft/message.ts";
import type { Context } from "./context.ts";
import { FileStore } from "./file-store.ts";
import { type AfterDelay, MemoryStore } from "./memory-store.ts";
import { Process } from "./process.ts";
import type { SimStore } from "./store.ts";

export type MachineOptions = {
  readonly id: NodeId;
  readonly number: number;
  readonly context: Context;
  readonly send: (from: Machine, outgoing: Outgoing) => void;
  /** Where the cluster begins with this node: its first entry. */
  readonly first: SaveBatch | undefined;
  readonly isDiskSlow: boolean;
};

/** One machine: a disk, a clock of its own, and at most one process, that dies and comes back. */
export class Machine {
  readonly id: NodeId;
  readonly number: number;
  readonly #options: MachineOptions;
  readonly #context: Context;
  readonly #store: SimStore;
  readonly #tickLength: number;
  #process: Process | undefined;
  #isPowered = false;
  #isPaused = false;
  #life = 0;
  #heldUp: (() => void)[] = [];
  downSince = 0;

  constructor(options: MachineOptions) {
    const { id, number, context } = options;
    const { swarm, random } = context;
    this.id = id;
    this.number = number;
    this.#options = options;
    this.#context = context;
    const afterDelay: AfterDelay = (run) => this.#afterDisk(run);
    this.#store =
      swarm.store === "file" || context.bug?.disk !== undefined
        ? new FileStore(context, afterDelay)
        : new MemoryStore(context, afterDelay);
    this.#tickLength = 1 + swarm.clockSkew * (2 * random.next() - 1);
    this.#keepTicking();
  }

  /** Whether the process runs and is not held up. */
  get isRunning(): boolean {
    return this.#process !== undefined && !this.#isPaused;
  }

  /** Whether there is a process that messages reach, be it later. */
  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  get process(): Process | undefined {
    return this.#process;
  }

  get isLeader(): boolean {
    return this.isRunning && this.#process?.raft.role === "leader";
  }

  start(): void {
    if (this.#isPowered) return;
    this.#isPowered = true;
    const { id, send, first } = this.#options;
    const life = this.#life;
    const context = this.#context;
    const store = this.#store;
    store.open(first, (opened) => {
      if (life !== this.#life) return;
      const sendOne = (outgoing: Outgoing) => send(this, outgoing);
      const options = { self: id, context, store, opened, send: sendOne };
      this.#process = new Process(options);
      context.trace.line(() => `${id} starts`);
      this.#process.drain();
    });
  }

  crash({ losesPower }: { readonly losesPower: boolean }): void {
    if (!this.#isPowered) return;
    this.#context.trace.line(() => `${this.id} CRASHES${losesPower ? " with its power" : ""}`);
    this.#process?.end();
    this.#process = undefined;
    this.#isPowered = false;
    this.#life += 1;
    this.downSince = this.#context.queue.now;
    this.#store.crash({ losesPower });
  }

  /** As by SIGSTOP: what happens meanwhile happens to it afterwards, all at once. */
  pause(): void {
    this.#isPaused = true;
    this.#context.trace.line(() => `${this.id} PAUSES`);
  }

  /** Goes on; `first` is what it meets before anything that came meanwhile. */
  resume(first: () => void = () => undefined): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#context.trace.line(() => `${this.id} goes on`);
    first();
    const heldUp = this.#heldUp;
    this.#heldUp = [];
    for (const run of heldUp) run();
  }

  whenRunning(run: () => void): void {
    if (this.#isPaused) this.#heldUp.push(run);
    else run();
  }

  #afterDisk(run: () => void): void {
    const { isFaulty, swarm, queue } = this.#context;
    const slowness = this.#options.isDiskSlow ? swarm.slowDiskFactor : 1;
    const maxDelay = isFaulty ? swarm.maxDiskDelay * slowness : 1;
    queue.after(1 + this.#context.below(maxDelay), () => this.whenRunning(run));
  }

  #keepTicking(): void {
    const { isFaulty, swarm, queue } = this.#context;
    const late = isFaulty && this.#context.chance(swarm.lateTickRate) ? 2 : 0;
    queue.after(this.#tickLength + late, () => {
      if (this.isRunning) this.#process?.tick();
      this.#keepTicking();
    });
  }
}
