import { type NodeId, Wakeup } from "../kernel/index.ts";
import type { ContainerConsole, ExecRequest } from "./container-console.ts";
import { containerLabels, mergeContainerLabels } from "./container-labels.ts";
import type {
  Container,
  ContainerRequest,
  ContainerRuntime,
  LogLine,
  LogOptions,
  RuntimeInfo,
} from "./container-runtime.ts";
import { RuntimeError } from "./errors.ts";
import { type MemoryContainer, type MemoryMachine, missingImage } from "./memory-machine.ts";

/** How long a wait goes on without looking again; every change wakes it anyway. */
const resyncMs = 60_000;

export type MemoryRuntimeOptions = {
  readonly machine: MemoryMachine;
  readonly nodeId: NodeId;
  readonly clusterId: string;
};

/** The runtime of tests and of the simulator, on a {@link MemoryMachine}. */
export class MemoryRuntime implements ContainerRuntime {
  readonly #machine: MemoryMachine;
  readonly #owner: Readonly<Record<string, string>>;
  readonly #undo = new Set<() => void>();
  #isClosed = false;

  constructor({ machine, nodeId, clusterId }: MemoryRuntimeOptions) {
    this.#machine = machine;
    this.#owner = { [containerLabels.nodeId]: nodeId, [containerLabels.clusterId]: clusterId };
  }

  async info({ signal }: { readonly signal: AbortSignal }): Promise<RuntimeInfo> {
    this.#enter(signal);
    return this.#machine.info;
  }

  async list({ signal }: { readonly signal: AbortSignal }): Promise<readonly Container[]> {
    this.#enter(signal);
    return this.#machine.containers.filter((each) => this.#isOurs(each)).map(asContainer);
  }

  async ensureImage(image: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#enter(signal);
    if (this.#machine.missingImages.has(image)) throw missingImage(image);
  }

  async run(
    request: ContainerRequest,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<string> {
    this.#enter(signal);
    const labels = mergeContainerLabels(request.template.labels, {
      ...request.labels,
      ...this.#owner,
    });
    const container = this.#machine.create({ ...request, labels });
    try {
      const delayMs = this.#machine.startDelayMs(request);
      if (delayMs > 0) await this.#machine.clock.sleep(delayMs, { signal });
      this.#enter(signal);
      this.#machine.start(container);
      return container.id;
    } catch (error) {
      this.#machine.remove(container.id);
      throw error;
    }
  }

  async stop(
    containerId: string,
    options: {
      readonly graceMs: number;
      readonly stopSignal?: string;
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    const { signal, graceMs } = options;
    this.#enter(signal);
    const container = this.#find(containerId);
    if (container?.state.kind !== "running") return;
    this.#machine.signal(
      container,
      options.stopSignal ?? container.request.template.stopSignal ?? "SIGTERM",
    );
    const { clock } = this.#machine;
    const deadline = clock.monotonic() + graceMs;
    await this.#watch(container, async (wakeup) => {
      while (container.state.kind === "running" && clock.monotonic() < deadline) {
        wakeup.reset();
        await wakeup.wait(clock, { atMostMs: deadline - clock.monotonic(), signal });
        signal.throwIfAborted();
      }
    });
    if (container.state.kind === "running") this.#machine.signal(container, "SIGKILL");
  }

  async remove(containerId: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#enter(signal);
    if (this.#find(containerId) !== undefined) this.#machine.remove(containerId);
  }

  async exec(
    containerId: string,
    argv: readonly string[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<{ readonly exitCode: number; readonly output: string }> {
    this.#enter(signal);
    const container = this.#require(containerId);
    if (container.state.kind === "running") return this.#machine.exec(container, argv);
    throw new RuntimeError("invalid_request", `The container ${containerId} does not run.`);
  }

  async openExec(
    containerId: string,
    request: ExecRequest,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<ContainerConsole> {
    this.#enter(signal);
    const container = this.#require(containerId);
    if (container.state.kind === "running")
      return this.#machine.openExec(container, request, signal);
    throw new RuntimeError("invalid_request", `The container ${containerId} does not run.`);
  }

  attach(): Promise<never> {
    return Promise.reject(new RuntimeError("invalid_request", "Nothing is attached to in memory."));
  }

  async *logs(containerId: string, options: LogOptions): AsyncGenerator<LogLine> {
    const { follow, tail, signal } = options;
    if (signal.aborted) return;
    this.#enter(signal);
    const container = this.#require(containerId);
    const { lines } = container;
    let next = container.droppedLines + Math.max(0, lines.length - (tail ?? lines.length));
    const wakeup = new Wakeup();
    container.changed.add(wakeup);
    try {
      while (!signal.aborted) {
        wakeup.reset(); // Before the look: what is printed during it must not be missed.
        const line = lines[Math.max(0, next - container.droppedLines)];
        if (line !== undefined) {
          next = Math.max(next, container.droppedLines) + 1;
          yield line;
        } else if (follow && container.state.kind !== "exited") {
          await wakeup.wait(this.#machine.clock, { atMostMs: resyncMs, signal });
        } else {
          return;
        }
      }
    } finally {
      container.changed.delete(wakeup);
    }
  }

  subscribe(listener: () => void): () => void {
    const undo = this.#machine.subscribe(listener);
    this.#undo.add(undo);
    return () => {
      this.#undo.delete(undo);
      undo();
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const undo of this.#undo) undo();
    this.#undo.clear();
  }

  async #watch(container: MemoryContainer, work: (wakeup: Wakeup) => Promise<void>): Promise<void> {
    const wakeup = new Wakeup();
    container.changed.add(wakeup);
    try {
      await work(wakeup);
    } finally {
      container.changed.delete(wakeup);
    }
  }

  #enter(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.#machine.isReachable && !this.#isClosed) return;
    throw new RuntimeError("engine_unreachable", "The container engine does not answer.");
  }

  #find(containerId: string): MemoryContainer | undefined {
    const container = this.#machine.find(containerId);
    return container !== undefined && this.#isOurs(container) ? container : undefined;
  }

  #require(containerId: string): MemoryContainer {
    const container = this.#find(containerId);
    if (container !== undefined) return container;
    throw new RuntimeError("not_found", `There is no container ${containerId} on this node.`);
  }

  #isOurs({ request }: MemoryContainer): boolean {
    return Object.entries(this.#owner).every(([name, value]) => request.labels[name] === value);
  }
}

function asContainer({ id, request, state, endpoints, hostPorts }: MemoryContainer): Container {
  return { id, taskId: request.taskId, labels: request.labels, state, endpoints, hostPorts };
}
