import {
  type Clock,
  type NodeId,
  type Random,
  randomBelow,
  type TaskId,
} from "../../src/kernel/index.ts";
import { RuntimeError } from "../../src/runtime/errors.ts";
import {
  type Container,
  type ContainerRequest,
  type ContainerRuntime,
  containerLabels,
  MemoryMachine,
  type MemoryProcess,
  MemoryRuntime,
} from "../../src/runtime/index.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Machine } from "../gossip/machine.ts";
import { behaviourOf } from "./services.ts";

/** How often calls of the engine go wrong, and how. All zero: it works. */
export type EngineTrouble = {
  readonly failRate: number;
  /** It did what it was asked for, but the answer was lost. */
  readonly lostAnswerRate: number;
  /** It dies between making a container and starting it. */
  readonly halfRate: number;
  readonly hangRate: number;
  readonly hangMs: number;
  readonly maxStartMs: number;
};

export const noTrouble: EngineTrouble = {
  failRate: 0,
  lostAnswerRate: 0,
  halfRate: 0,
  hangRate: 0,
  hangMs: 0,
  maxStartMs: 300,
};

/** Told of what a daemon asks the engine for, before it is done. */
export type EngineWatch = {
  onRun(request: ContainerRequest): void;
  onEnd(container: Container, how: "stop" | "remove"): void;
};

type Warmth = { readonly healthyAtMs: number; sickUntilMs: number };

/** The container engine of a machine: goes on without the daemon, ends with the power. */
export class SimEngine {
  readonly memory: MemoryMachine;
  /** Containers that were asked to stop. */
  readonly stopping = new Set<string>();
  trouble: EngineTrouble = noTrouble;
  watch: EngineWatch | undefined;
  readonly #queue: EventQueue;
  readonly #random: Random;
  readonly #runtime: MemoryRuntime;
  readonly #warmth = new Map<string, Warmth>();
  #host: Machine;

  constructor(options: {
    readonly nodeId: NodeId;
    readonly clusterId: string;
    readonly cpuMillis: number;
    readonly queue: EventQueue;
    readonly random: Random;
    readonly host: Machine;
  }) {
    this.#queue = options.queue;
    this.#random = options.random;
    this.#host = options.host;
    const clock: Clock = {
      now: () => this.#host.clock.now(),
      monotonic: () => this.#host.clock.monotonic(),
      sleep: (ms, wanted) => this.#host.clock.sleep(ms, wanted),
    };
    this.memory = new MemoryMachine({
      clock,
      info: { cpuMillis: options.cpuMillis, memoryBytes: 8 * 2 ** 30 },
      startDelayMs: () => 1 + randomBelow(this.#random, this.trouble.maxStartMs),
      program: (process) => this.#play(process),
      exec: ({ name }) => {
        const isHealthy = this.isHealthy(name);
        return { exitCode: isHealthy ? 0 : 1, output: isHealthy ? "" : "sick" };
      },
    });
    this.#runtime = new MemoryRuntime({ ...options, machine: this.memory });
  }

  get host(): Machine {
    return this.#host;
  }

  /** The power came back: nothing runs, nothing is forgotten. */
  reboot(host: Machine): void {
    this.#host = host;
    this.memory.isReachable = true;
    this.trouble = noTrouble;
    this.memory.reboot();
  }

  /** The engine itself starts anew, and takes its containers with it. */
  restart(downMs: number): void {
    this.memory.reboot();
    this.beUnreachable(downMs);
  }

  beUnreachable(ms: number): void {
    this.memory.isReachable = false;
    const host = this.#host;
    this.#queue.after(ms, () => {
      if (this.#host === host) this.memory.isReachable = true;
    });
  }

  running(): readonly Container[] {
    return this.memory.containers
      .filter(({ state }) => state.kind === "running")
      .map((each) => ({ ...each, taskId: each.request.taskId, labels: each.request.labels }));
  }

  /** How the newest container of a task is. */
  lastOf(id: TaskId): Container["state"] | undefined {
    return this.memory.containers.findLast(({ request }) => request.taskId === id)?.state;
  }

  nameOf(containerId: string): string {
    return this.memory.find(containerId)?.request.name ?? "";
  }

  /** As its health check would find it. */
  isHealthy(name: string): boolean {
    const warmth = this.#warmth.get(name);
    const nowMs = this.#queue.now;
    return warmth !== undefined && warmth.healthyAtMs <= nowMs && warmth.sickUntilMs <= nowMs;
  }

  /** Whether its health check would have passed for `ms` by now. */
  wasHealthyFor(name: string, ms: number): boolean {
    const warmth = this.#warmth.get(name);
    const sinceMs = this.#queue.now - ms;
    return warmth !== undefined && warmth.healthyAtMs <= sinceMs && warmth.sickUntilMs <= sinceMs;
  }

  makeSick(name: string, ms: number): void {
    const warmth = this.#warmth.get(name);
    if (warmth !== undefined) warmth.sickUntilMs = this.#queue.now + ms;
  }

  /** The engine as one life of the daemon sees it. */
  clientFor(machine: Machine): ContainerRuntime {
    return new EngineClient(this, machine, { runtime: this.#runtime, random: this.#random });
  }

  #play({ containerId, request, exit, onSignal }: MemoryProcess): void {
    const behaviour = behaviourOf(request.template);
    const host = this.#host;
    const later = (ms: number, run: () => void) => {
      this.#queue.after(ms, () => {
        const isThere = this.memory.find(containerId)?.state.kind === "running";
        if (isThere && this.#host === host) host.act(run);
      });
    };
    const warmMs = behaviour.warmMs * (0.5 + this.#random.next());
    this.#warmth.set(request.name, { healthyAtMs: this.#queue.now + warmMs, sickUntilMs: 0 });
    const endsMs = behaviour.endsAfterMs * (0.5 + this.#random.next());
    const isFailing = this.#random.next() < behaviour.failRate;
    if (behaviour.endsAfterMs > 0) later(endsMs, () => exit(isFailing ? 1 : 0));
    if (behaviour.stopMs > 0) {
      onSignal(() => later(behaviour.stopMs * this.#random.next(), () => exit(0)));
    }
  }
}

/** Calls by one life of the daemon; their answers never reach another. */
class EngineClient implements ContainerRuntime {
  readonly #engine: SimEngine;
  readonly #machine: Machine;
  readonly #runtime: MemoryRuntime;
  readonly #random: Random;
  readonly #never = new AbortController().signal;
  readonly #undo = new Set<() => void>();

  constructor(
    engine: SimEngine,
    machine: Machine,
    { runtime, random }: { readonly runtime: MemoryRuntime; readonly random: Random },
  ) {
    this.#engine = engine;
    this.#machine = machine;
    this.#runtime = runtime;
    this.#random = random;
  }

  info({ signal }: { readonly signal: AbortSignal }) {
    return this.#runtime.info({ signal });
  }

  list({ signal }: { readonly signal: AbortSignal }) {
    return this.#runtime.list({ signal });
  }

  async ensureImage(image: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#misbehave(signal);
    await this.#runtime.ensureImage(image, { signal });
  }

  async run(
    request: ContainerRequest,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<string> {
    await this.#misbehave(signal);
    const { trouble, memory } = this.#engine;
    this.#engine.watch?.onRun(request);
    if (memory.isReachable && this.#random.next() < trouble.halfRate) {
      memory.create(request);
      throw noAnswer();
    }
    // What was asked for is done, whatever becomes of the one who asked.
    const id = await this.#answer(this.#runtime.run(request, { signal: this.#never }), signal);
    if (this.#random.next() < trouble.lostAnswerRate) throw noAnswer();
    return id;
  }

  async stop(
    containerId: string,
    options: {
      readonly graceMs: number;
      readonly stopSignal?: string;
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    await this.#misbehave(options.signal);
    this.#note(containerId, "stop");
    this.#engine.stopping.add(containerId);
    const stopping = this.#runtime.stop(containerId, { ...options, signal: this.#never });
    await this.#answer(stopping, options.signal);
    if (this.#random.next() < this.#engine.trouble.lostAnswerRate) throw noAnswer();
  }

  async remove(containerId: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#misbehave(signal);
    this.#note(containerId, "remove");
    await this.#runtime.remove(containerId, { signal });
  }

  exec(containerId: string, argv: readonly string[], options: { readonly signal: AbortSignal }) {
    return this.#runtime.exec(containerId, argv, options);
  }

  openExec(): Promise<never> {
    throw new Error("nobody opens consoles here");
  }

  attach(): Promise<never> {
    throw new Error("nobody opens consoles here");
  }

  logs(): AsyncIterable<never> {
    throw new Error("nobody reads logs here");
  }

  subscribe(listener: () => void): () => void {
    const undo = this.#engine.memory.subscribe(() => this.#machine.act(listener));
    this.#undo.add(undo);
    return undo;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const undo of this.#undo) undo();
  }

  #note(containerId: string, how: "stop" | "remove"): void {
    const { memory, watch } = this.#engine;
    const found = memory.find(containerId);
    if (!memory.isReachable || found?.state.kind !== "running") return;
    const { request } = found;
    watch?.onEnd({ ...found, taskId: request.taskId, labels: request.labels }, how);
  }

  /** Hangs or fails instead of doing anything, at times. */
  async #misbehave(signal: AbortSignal): Promise<void> {
    const { hangRate, hangMs, failRate } = this.#engine.trouble;
    if (this.#random.next() < hangRate) {
      await this.#machine.clock.sleep(hangMs * this.#random.next(), { signal });
    }
    if (this.#random.next() < failRate) {
      throw new RuntimeError("engine_failed", "The engine says that it cannot.");
    }
  }

  /** The engine's answer, as it reaches this life: later while it is paused, never when it ended. */
  #answer<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(
      (value) => this.#machine.act(() => resolve(value)),
      (error: unknown) => this.#machine.act(() => reject(error)),
    );
    return promise.finally(() => signal.removeEventListener("abort", abort));
  }
}

function noAnswer(): RuntimeError {
  return new RuntimeError("engine_unreachable", "The engine ended before it answered.");
}

export function restartsOf({ labels }: Pick<Container, "labels">): number {
  return Number(labels[containerLabels.restarts] ?? 0);
}

export function taskOf({ labels }: Pick<Container, "labels">): TaskId {
  return (labels[containerLabels.taskId] ?? "") as TaskId;
}
