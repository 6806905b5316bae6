import type { Clock, Wakeup } from "../kernel/index.ts";
import type { ExecRequest } from "./container-console.ts";
import type { Container, ContainerRequest, LogLine, RuntimeInfo } from "./container-runtime.ts";
import { RuntimeError } from "./errors.ts";
import { type MemoryCommand, MemoryConsole } from "./memory-console.ts";

/** Lines kept of each container. */
const maxLogLines = 10_000;

/** What an image's program can do and learn; see {@link MemoryMachineOptions.program}. */
export type MemoryProcess = {
  readonly containerId: string;
  readonly request: ContainerRequest;
  print(stream: LogLine["stream"], text: string): void;
  exit(exitCode: number): void;
  /** By default a signal ends the container with 128 + 15. SIGKILL is never asked about. */
  onSignal(handler: (signal: string) => void): void;
};

export type MemoryExecResult = { readonly exitCode: number; readonly output: string };

export type MemoryMachineOptions = {
  readonly clock: Clock;
  readonly info?: Partial<RuntimeInfo>;
  /** From the creation to running; default: at once. */
  readonly startDelayMs?: number | ((request: ContainerRequest) => number);
  /** Endpoints and dynamic host ports count up from here. */
  readonly firstPort?: number;
  /** Called when a container starts, in place of what its image would do; default: it only runs. */
  readonly program?: (running: MemoryProcess) => void;
  /** Answers health checks; default: exit status 0. */
  readonly exec?: (request: ContainerRequest, argv: readonly string[]) => MemoryExecResult;
  /** What a command with streams does; default: it prints its input and ends with it. */
  readonly command?: (command: MemoryCommand) => void;
};

export type MemoryContainer = {
  readonly id: string;
  readonly request: ContainerRequest;
  readonly lines: LogLine[];
  /** Counts lines that were dropped from the front. */
  droppedLines: number;
  readonly changed: Set<Wakeup>;
  readonly consoles: Set<MemoryConsole>;
  state: Container["state"];
  endpoints: Container["endpoints"];
  hostPorts: Container["hostPorts"];
  onSignal: ((signal: string) => void) | undefined;
};

const defaultInfo: RuntimeInfo = {
  kind: "memory",
  version: "1",
  os: "linux",
  arch: "amd64",
  cpuMillis: 4_000,
  memoryBytes: 8 * 2 ** 30,
};

/**
 * A machine without a machine: what it runs outlives the runtimes that are opened on it,
 * as real containers outlive the daemon. Tests and the simulator make things go wrong here.
 */
export class MemoryMachine {
  readonly clock: Clock;
  readonly info: RuntimeInfo;
  /** Images that no registry delivers. */
  readonly missingImages = new Set<string>();
  /** Host ports that somebody else has taken. */
  readonly takenPorts = new Set<number>();
  /** While false every call fails with `engine_unreachable`; what runs goes on running. */
  isReachable = true;
  readonly #options: MemoryMachineOptions;
  readonly #containers = new Map<string, MemoryContainer>();
  readonly #listeners = new Set<() => void>();
  #created = 0;
  #nextPort: number;

  constructor(options: MemoryMachineOptions) {
    this.clock = options.clock;
    this.info = { ...defaultInfo, ...options.info };
    this.#options = options;
    this.#nextPort = options.firstPort ?? 20_000;
  }

  get containers(): readonly MemoryContainer[] {
    return [...this.#containers.values()];
  }

  find(containerId: string): MemoryContainer | undefined {
    return this.#containers.get(containerId);
  }

  /** The container ends by itself. */
  crash(containerId: string, exitCode: number, how: { readonly isOomKilled?: boolean } = {}): void {
    const container = this.#require(containerId);
    if (container.state.kind !== "running") return;
    this.#end(container, exitCode, how.isOomKilled ?? false);
    this.#changed(container);
  }

  /** The machine loses its power and comes back: everything stands still, nothing is forgotten. */
  reboot(): void {
    for (const { id } of this.containers) this.crash(id, 255);
  }

  print(containerId: string, stream: LogLine["stream"], text: string): void {
    const container = this.#require(containerId);
    container.lines.push({ stream, timeMs: this.clock.now(), text });
    if (container.lines.length > maxLogLines) {
      container.lines.shift();
      container.droppedLines += 1;
    }
    for (const wakeup of container.changed) wakeup.wake();
  }

  /** Removes a container as somebody with the engine's own tools would. */
  remove(containerId: string): void {
    const container = this.#containers.get(containerId);
    if (container === undefined) return;
    this.#end(container, 137, false);
    this.#containers.delete(containerId);
    this.#changed(container);
  }

  /** The first half of a start; the second is {@link start}. */
  create(request: ContainerRequest): MemoryContainer {
    if (this.missingImages.has(request.template.image)) throw missingImage(request.template.image);
    if (this.containers.some((container) => container.request.name === request.name)) {
      throw new RuntimeError("invalid_request", `The name ${request.name} is taken.`);
    }
    this.#checkOthers(request);
    this.#created += 1;
    const container: MemoryContainer = {
      id: `memory-${this.#created.toString().padStart(6, "0")}`,
      request,
      lines: [],
      droppedLines: 0,
      changed: new Set(),
      consoles: new Set(),
      state: { kind: "created" },
      endpoints: [],
      hostPorts: [],
      onSignal: undefined,
    };
    this.#containers.set(container.id, container);
    this.#changed(container);
    return container;
  }

  startDelayMs(request: ContainerRequest): number {
    const { startDelayMs = 0 } = this.#options;
    return typeof startDelayMs === "number" ? startDelayMs : startDelayMs(request);
  }

  start(container: MemoryContainer): void {
    const { id, request } = container;
    this.#require(id); // Somebody may have removed it during the start.
    // Ports belong to the network, and so to the container whose network it is.
    if (request.networkOf === undefined) {
      container.hostPorts = this.#bindHostPorts(request);
      container.endpoints = request.template.exposedPorts.map((target) => {
        this.#nextPort += 1;
        return { target, address: "127.0.0.1", port: this.#nextPort };
      });
    }
    container.state = { kind: "running", startedAtMs: this.clock.now() };
    this.#changed(container);
    this.#options.program?.({
      containerId: id,
      request,
      print: (stream, text) => this.print(id, stream, text),
      exit: (exitCode) => this.crash(id, exitCode),
      onSignal: (handler) => {
        container.onSignal = handler;
      },
    });
  }

  signal(container: MemoryContainer, signal: string): void {
    if (signal === "SIGKILL") this.crash(container.id, 137);
    else if (container.onSignal === undefined) this.crash(container.id, 143);
    else container.onSignal(signal);
  }

  exec(container: MemoryContainer, argv: readonly string[]): MemoryExecResult {
    return this.#options.exec?.(container.request, argv) ?? { exitCode: 0, output: "" };
  }

  openExec(container: MemoryContainer, request: ExecRequest, signal: AbortSignal): MemoryConsole {
    const opened = new MemoryConsole(request, this.#options.command ?? repeatInput, signal);
    container.consoles.add(opened);
    return opened;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #end(container: MemoryContainer, exitCode: number, isOomKilled: boolean): void {
    if (container.state.kind === "exited") return;
    const finishedAtMs = this.clock.now();
    container.state = { kind: "exited", exitCode, finishedAtMs, isOomKilled, error: "" };
    container.endpoints = [];
    container.hostPorts = [];
    for (const each of container.consoles) each.endWithContainer();
    container.consoles.clear();
  }

  #bindHostPorts({ template, name }: ContainerRequest): Container["hostPorts"] {
    const taken = new Set(
      this.containers.flatMap(({ hostPorts }) => hostPorts.map(({ hostPort }) => hostPort)),
    );
    return template.hostPorts.map(({ target, published, protocol }) => {
      if (published === undefined) {
        this.#nextPort += 1;
        return { target, hostPort: this.#nextPort, protocol };
      }
      if (taken.has(published) || this.takenPorts.has(published)) {
        throw new RuntimeError(
          "port_in_use",
          `The port ${published} of this machine is taken, so the container ${name} cannot start.`,
        );
      }
      return { target, hostPort: published, protocol };
    });
  }

  /** Those whose network or mounts it is to share. */
  #checkOthers({ name, networkOf, volumesFrom = [] }: ContainerRequest): void {
    if (networkOf !== undefined && this.find(networkOf)?.state.kind !== "running") {
      const what = `The container ${name} cannot share the network of ${networkOf}, which does not run.`;
      throw new RuntimeError("invalid_request", what);
    }
    const missing = volumesFrom.find(({ containerId }) => this.find(containerId) === undefined);
    if (missing === undefined) return;
    const what = `The container ${name} cannot have the mounts of ${missing.containerId}, which does not exist.`;
    throw new RuntimeError("invalid_request", what);
  }

  #require(containerId: string): MemoryContainer {
    const container = this.#containers.get(containerId);
    if (container !== undefined) return container;
    throw new RuntimeError("not_found", `There is no container ${containerId} on this node.`);
  }

  #changed(container: MemoryContainer): void {
    for (const wakeup of container.changed) wakeup.wake();
    for (const listener of [...this.#listeners]) listener();
  }
}

function repeatInput({ print, exit, onInput, onInputEnd }: MemoryCommand): void {
  onInput((text) => print("stdout", text));
  onInputEnd(() => exit(0));
}

export function missingImage(image: string): RuntimeError {
  return new RuntimeError(
    "image_not_found",
    `The image ${image} is not on this machine and cannot be pulled.`,
  );
}
