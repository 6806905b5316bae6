import { randomBytes } from "node:crypto";
import { mkdir, readFile, rm } from "node:fs/promises";
import { availableParallelism, release, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { type Clock, type Logger, type NodeId, taskId, Wakeup } from "../../kernel/index.ts";
import type { ContainerConsole, ExecRequest } from "../container-console.ts";
import type {
  Container,
  ContainerRequest,
  ContainerRuntime,
  LogLine,
  LogOptions,
  RuntimeInfo,
} from "../container-runtime.ts";
import { RuntimeError } from "../errors.ts";
import { findOnPath, resolveImage, shellSafe, whyNotAttached } from "./process-command.ts";
import { openProcessExec } from "./process-console.ts";
import { ProcessContainers } from "./process-containers.ts";
import { execBeside } from "./process-exec.ts";
import type { ProcessMonitor } from "./process-monitor.ts";
import { type AssignedPorts, PortBook } from "./process-ports.ts";
import { prepareContainer } from "./process-prepare.ts";
import { listContainerIds, type ProcessRecord, readRecord } from "./process-record.ts";
import { spawnSupervisor } from "./process-supervisor.ts";

const startTimeoutMs = 10_000;
const killWaitMs = 10_000;

export type ProcessRuntimeOptions = {
  readonly nodeId: NodeId;
  readonly clusterId: string;
  /** Containers live in `<dataDir>/containers/`. Only one runtime may use it at a time. */
  readonly dataDir: string;
  /** Where programs are told to listen, and where endpoints are; default: 127.0.0.1. */
  readonly address?: string;
  /** The machine's address on which ports of mode `host` are bound; default: all. */
  readonly hostAddress?: string;
  readonly logger: Logger;
  readonly clock: Clock;
};

/**
 * Runs programs of this machine as if they were containers, where no engine answers (Linux).
 *
 * `image` is the absolute path of a folder (whose executable `run` or `start` is the
 * program) or of a program, or a command on PATH; `command` is what follows it, `entrypoint`
 * replaces it. A program runs in a folder of its own, or in `workingDirectory` (relative to
 * the image's folder). For each exposed port it finds a free one in `SKEIN_PORT_<target>`
 * and must listen there, on `SKEIN_ADDRESS`; the first is in `PORT` as well.
 *
 * What it is not: there is no isolation of files, network, users, processes or memory.
 * Limits, reservations, capabilities, hostname, init and a read-only root are not enforced;
 * mounts and other users are refused. A program that leaves its session escapes a stop.
 *
 * Programs outlive the daemon and are found again by the next one with the same ids. A
 * service manager must therefore end the daemon alone (systemd: `KillMode=process`).
 */
export async function openProcessRuntime(
  options: ProcessRuntimeOptions,
): Promise<ContainerRuntime> {
  const setsidPath =
    process.platform === "linux"
      ? await findOnPath("setsid", process.env["PATH"] ?? "")
      : undefined;
  if (setsidPath === undefined) {
    throw new RuntimeError(
      "engine_unreachable",
      "The process runtime needs Linux and the command setsid (package util-linux): install it, or run a container engine.",
    );
  }
  const containersFolder = resolve(options.dataDir, "containers");
  await mkdir(containersFolder, { recursive: true, mode: 0o700 });
  const bootId = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  for (const id of await listContainerIds(containersFolder)) {
    // Half made or half removed when the daemon ended.
    const folder = join(containersFolder, id);
    if ((await readRecord(folder)) === undefined) await rm(folder, { recursive: true });
  }
  const runtime = new ProcessRuntime(options, { setsidPath, containersFolder, bootId });
  await runtime.list({ signal: new AbortController().signal });
  return runtime;
}

class ProcessRuntime implements ContainerRuntime {
  readonly #options: ProcessRuntimeOptions;
  readonly #setsidPath: string;
  readonly #ports: PortBook;
  readonly #containers: ProcessContainers;
  readonly #listeners = new Set<() => void>();

  constructor(
    options: ProcessRuntimeOptions,
    of: {
      readonly setsidPath: string;
      readonly containersFolder: string;
      readonly bootId: string;
    },
  ) {
    const { nodeId, clusterId, clock, logger } = options;
    const { address = "127.0.0.1", hostAddress = "0.0.0.0" } = options;
    this.#options = options;
    this.#setsidPath = of.setsidPath;
    this.#ports = new PortBook({ address, hostAddress });
    this.#containers = new ProcessContainers({
      folder: of.containersFolder,
      bootId: of.bootId,
      owner: { nodeId, clusterId },
      ports: this.#ports,
      clock,
      logger,
      onChange: () => {
        for (const listener of [...this.#listeners]) listener();
      },
    });
  }

  async info({ signal }: { readonly signal: AbortSignal }): Promise<RuntimeInfo> {
    signal.throwIfAborted();
    const constrained = process.constrainedMemory();
    return {
      kind: "process",
      version: release(),
      os: "linux",
      arch: process.arch === "x64" ? "amd64" : process.arch,
      cpuMillis: availableParallelism() * 1000,
      memoryBytes: constrained > 0 ? Math.min(constrained, totalmem()) : totalmem(),
    };
  }

  async list({ signal }: { readonly signal: AbortSignal }): Promise<readonly Container[]> {
    signal.throwIfAborted();
    await this.#containers.refresh();
    const { monitors } = this.#containers;
    const containers = await Promise.all(
      monitors.map(async (monitor) => containerOf(monitor.record, await monitor.check())),
    );
    return containers.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  async ensureImage(image: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    await resolveImage(image);
  }

  async run(
    request: ContainerRequest,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<string> {
    signal.throwIfAborted();
    this.#refuseTakenName(request.name);
    const sharedPorts = await this.#sharedPorts(request);
    const id = randomBytes(8).toString("hex");
    const folder = join(this.#containers.folder, id);
    try {
      const { nodeId, clusterId } = this.#options;
      const { bootId } = this.#containers;
      const of = { id, folder, bootId, nodeId, clusterId, ports: this.#ports, sharedPorts };
      const record = await prepareContainer(request, of);
      signal.throwIfAborted();
      const monitor = this.#containers.adopt(record); // Before the start, to miss no event.
      const safe = await shellSafe(record.argv, record.environment);
      const { workingDirectory } = record;
      await spawnSupervisor({ setsidPath: this.#setsidPath, folder, workingDirectory, ...safe });
      if (await monitor.whenStarted({ atMostMs: startTimeoutMs, signal })) return id;
      throw new RuntimeError(
        "engine_failed",
        `The container ${request.name} was not started within ${startTimeoutMs / 1000} s.`,
      );
    } catch (error) {
      await this.#discard(id);
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
    const { graceMs, signal } = options;
    signal.throwIfAborted();
    const monitor = this.#containers.find(containerId);
    if (monitor === undefined || (await monitor.check()).kind !== "running") return;
    const stopSignal = options.stopSignal ?? monitor.record.stopSignal ?? "SIGTERM";
    await monitor.signal(signalName(stopSignal));
    if (await monitor.whenEnded({ atMostMs: graceMs, signal })) return;
    await this.#kill(monitor, { signal });
  }

  async remove(containerId: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    const monitor = this.#containers.find(containerId);
    if (monitor === undefined) return;
    if ((await monitor.check()).kind === "running") await this.#kill(monitor, { signal });
    else await monitor.preventStart();
    await this.#containers.remove(containerId);
  }

  async exec(
    containerId: string,
    argv: readonly string[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<{ readonly exitCode: number; readonly output: string }> {
    const monitor = this.#require(containerId);
    if ((await monitor.check()).kind === "running") {
      return await execBeside(argv, monitor.record, { signal });
    }
    throw new RuntimeError("invalid_request", `The container ${containerId} does not run.`);
  }

  async openExec(
    containerId: string,
    request: ExecRequest,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<ContainerConsole> {
    const monitor = this.#require(containerId);
    if ((await monitor.check()).kind === "running") {
      return await openProcessExec(request, monitor.record, { signal });
    }
    throw new RuntimeError("invalid_request", `The container ${containerId} does not run.`);
  }

  attach(): Promise<never> {
    return Promise.reject(new RuntimeError("invalid_request", whyNotAttached));
  }

  async *logs(containerId: string, options: LogOptions): AsyncGenerator<LogLine> {
    const monitor = this.#require(containerId);
    const signal = AbortSignal.any([options.signal, this.#containers.closingSignal]);
    yield* monitor.log.read({ ...options, signal }, () => new Wakeup());
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear();
    await this.#containers[Symbol.asyncDispose]();
  }

  #refuseTakenName(name: string): void {
    const owner = this.#containers.monitors.find(({ record }) => record.name === name);
    if (owner === undefined) return;
    throw new RuntimeError(
      "invalid_request",
      `The name ${name} is taken by the container ${owner.record.id}.`,
    );
  }

  /** All programs share the machine's network; of another one it has to know the ports. */
  async #sharedPorts({ name, networkOf }: ContainerRequest): Promise<AssignedPorts | undefined> {
    if (networkOf === undefined) return undefined;
    const owner = this.#containers.find(networkOf);
    if (owner !== undefined && (await owner.check()).kind === "running") return owner.record;
    throw new RuntimeError(
      "invalid_request",
      `The container ${name} cannot share the network of ${networkOf}, which does not run.`,
    );
  }

  /** After a failed run; what failed is the better thing to report. */
  async #discard(containerId: string): Promise<void> {
    const signal = this.#containers.closingSignal;
    await this.remove(containerId, { signal }).catch(() => undefined);
    await this.#containers.remove(containerId).catch(() => undefined);
  }

  async #kill(
    monitor: ProcessMonitor,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    await monitor.signal("SIGKILL");
    if (await monitor.whenEnded({ atMostMs: killWaitMs, signal })) return;
    throw new RuntimeError(
      "engine_failed",
      `The container ${monitor.record.id} still runs ${killWaitMs / 1000} s after it was killed.`,
    );
  }

  #require(containerId: string): ProcessMonitor {
    const monitor = this.#containers.find(containerId);
    if (monitor !== undefined) return monitor;
    throw new RuntimeError("not_found", `There is no container ${containerId} on this node.`);
  }
}

function containerOf(record: ProcessRecord, state: Container["state"]): Container {
  const isRunning = state.kind === "running";
  return {
    id: record.id,
    taskId: taskId(record.taskId),
    labels: record.labels,
    state,
    endpoints: isRunning ? record.endpoints : [],
    hostPorts: isRunning ? record.hostPorts : [],
  };
}

/** Compose allows `TERM` for `SIGTERM`. */
function signalName(name: string): string {
  return name.startsWith("SIG") ? name : `SIG${name}`;
}
