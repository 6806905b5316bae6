import type { ContainerInfo, Container as DockerContainer } from "dockerode";
import type { Clock, Logger, NodeId, TaskId } from "../../kernel/index.ts";
import { AttachDesk } from "../attach-desk.ts";
import type { ContainerConsole, ExecRequest } from "../container-console.ts";
import { containerLabels } from "../container-labels.ts";
import type {
  Container,
  ContainerRequest,
  ContainerRuntime,
  LogLine,
  LogOptions,
  RuntimeInfo,
} from "../container-runtime.ts";
import { RuntimeError } from "../errors.ts";
import { attachToDocker, startWithClient } from "./docker-attach.ts";
import { openDockerExec } from "./docker-console.ts";
import { createdContainerOf } from "./docker-container.ts";
import { createOptionsOf, type DockerPlacement } from "./docker-create.ts";
import { DockerEngine, engineSocketPath, engineStatusOf } from "./docker-engine.ts";
import { followEvents } from "./docker-events.ts";
import { execInDocker } from "./docker-exec.ts";
import { explainRunFailure } from "./docker-failures.ts";
import { ensureDockerImage } from "./docker-images.ts";
import { InspectionCache } from "./docker-inspections.ts";
import { OwnDockerContainers } from "./docker-lifecycle.ts";
import { openLogStream, readFrames, readLogLines } from "./docker-logs.ts";
import { pinDockerImage } from "./docker-pins.ts";

/** Inspections under way at a time while listing. */
const maxParallelInspections = 8;

export type DockerRuntimeOptions = {
  readonly nodeId: NodeId;
  readonly clusterId: string;
  /** Default: from `DOCKER_HOST`, else `/var/run/docker.sock`. */
  readonly socketPath?: string;
  /** The engine's network that tasks attach to; default: the engine's default bridge. */
  readonly network?: string;
  /** The machine's address on which ports of mode `host` are bound; default: all. */
  readonly hostAddress?: string;
  readonly logger: Logger;
  readonly clock: Clock;
};

/**
 * Runs containers with this machine's Docker engine (or Podman behind the same socket).
 *
 * It opens whether the engine answers or not: calls fail with `engine_unreachable` until
 * it does, and the subscribers are told when it does.
 */
export async function openDockerRuntime(options: DockerRuntimeOptions): Promise<ContainerRuntime> {
  const socketPath = options.socketPath ?? engineSocketPath(process.env["DOCKER_HOST"]);
  return new DockerRuntime(await DockerEngine.open(socketPath), options);
}

class DockerRuntime implements ContainerRuntime {
  readonly #engine: DockerEngine;
  readonly #containers: OwnDockerContainers;
  readonly #desk = new AttachDesk();
  readonly #inspections = new InspectionCache();
  readonly #placement: DockerPlacement;
  readonly #ownLabels: readonly string[];
  readonly #listeners = new Set<() => void>();
  readonly #closing = new AbortController();
  readonly #following: Promise<void>;

  constructor(engine: DockerEngine, options: DockerRuntimeOptions) {
    const { nodeId, clusterId, network = "bridge", hostAddress = "0.0.0.0" } = options;
    this.#engine = engine;
    this.#placement = { nodeId, clusterId, network, hostAddress };
    this.#containers = new OwnDockerContainers(engine, { nodeId, clusterId });
    this.#ownLabels = [
      `${containerLabels.nodeId}=${nodeId}`,
      `${containerLabels.clusterId}=${clusterId}`,
    ];
    this.#following = followEvents(engine, {
      labels: this.#ownLabels,
      listener: {
        onConnect: () => {
          this.#inspections.setHearing(true);
          this.#changed();
        },
        onEvent: (containerId) => {
          this.#inspections.hear(containerId);
          this.#changed();
        },
        onDisconnect: () => this.#inspections.setHearing(false),
      },
      clock: options.clock,
      logger: options.logger,
      signal: this.#closing.signal,
    });
  }

  async info({ signal }: { readonly signal: AbortSignal }): Promise<RuntimeInfo> {
    const info = await this.#engine.call(
      "The engine cannot be asked about itself",
      () => this.#engine.docker.info(),
      { signal },
    );
    return {
      kind: "docker",
      version: String(info.ServerVersion),
      os: String(info.OSType),
      arch: platformArchitecture(String(info.Architecture)),
      cpuMillis: Number(info.NCPU) * 1000,
      memoryBytes: Number(info.MemTotal),
    };
  }

  async list({ signal }: { readonly signal: AbortSignal }): Promise<readonly Container[]> {
    const found = await this.#engine.call(
      "The containers cannot be listed",
      (abortSignal) =>
        this.#engine.docker.listContainers({
          all: true,
          filters: { label: [...this.#ownLabels] },
          abortSignal,
        }),
      { signal },
    );
    this.#inspections.keepOnly(new Set(found.map(({ Id }) => Id)));
    const waiting = [...found];
    const containers: Container[] = [];
    const worker = async () => {
      for (let summary = waiting.pop(); summary !== undefined; summary = waiting.pop()) {
        const container = await this.#look(summary, { signal });
        if (container !== undefined) containers.push(container);
      }
    };
    await Promise.all(Array.from({ length: maxParallelInspections }, worker));
    return containers.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  async pinImage(
    image: string,
    options: { readonly signal: AbortSignal },
  ): Promise<string | undefined> {
    return await pinDockerImage(this.#engine, image, options);
  }

  async ensureImage(image: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await ensureDockerImage(this.#engine, image, { signal });
  }

  async run(
    request: ContainerRequest,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<string> {
    const what = `The container ${request.name} cannot be started`;
    let isNameTaken = false;
    try {
      const created = await this.#create(what, request).catch((error: unknown) => {
        isNameTaken = engineStatusOf(error) === 409;
        throw error;
      });
      const start = () =>
        this.#engine.call(what, (abortSignal) => created.start({ abortSignal }), { signal });
      if (request.template.startsAttached === undefined) await start();
      else {
        const of = { id: created.id, request, desk: this.#desk };
        await startWithClient(this.#engine, of, start, { signal });
      }
      return created.id;
    } catch (error) {
      if (!isNameTaken) await this.#removeFailed(request);
      throw explainRunFailure(request, error);
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
    await this.#containers.stop(containerId, options);
  }

  async remove(containerId: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    if ((await this.#containers.inspect(containerId, { signal })) === undefined) return;
    await this.#containers.forceRemove(containerId, { signal });
  }

  async exec(
    containerId: string,
    argv: readonly string[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<{ readonly exitCode: number; readonly output: string }> {
    await this.#containers.requireOwn(containerId, { signal });
    return await execInDocker(this.#engine, containerId, argv, { signal });
  }

  async openExec(
    containerId: string,
    request: ExecRequest,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<ContainerConsole> {
    await this.#containers.requireOwn(containerId, { signal });
    return await openDockerExec(this.#engine, containerId, request, { signal });
  }

  async attach(
    taskId: TaskId,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<ContainerConsole> {
    // Looked at first: one that waits for its client cannot start in between.
    const known = (await this.list({ signal })).find((each) => each.taskId === taskId);
    if (known === undefined || known.state.kind === "created") {
      return await this.#desk.join(taskId, { signal });
    }
    if (known.state.kind === "exited") {
      throw new RuntimeError("invalid_request", `The container of task ${taskId} has ended.`);
    }
    const inspected = await this.#containers.inspect(known.id, { signal });
    return await attachToDocker(this.#engine, known.id, { tty: inspected?.tty ?? false, signal });
  }

  async *logs(containerId: string, options: LogOptions): AsyncGenerator<LogLine> {
    const { signal } = options;
    try {
      await this.#containers.requireOwn(containerId, { signal });
      const stream = await openLogStream(this.#engine, containerId, options);
      try {
        yield* readLogLines(readFrames(stream));
      } finally {
        stream.destroy();
      }
    } catch (error) {
      if (signal.aborted || this.#closing.signal.aborted) return; // The end that was asked for.
      if (error instanceof RuntimeError) throw error;
      const message = `The logs of the container ${containerId} broke off before their end.`;
      throw new RuntimeError("engine_unreachable", message, { cause: error });
    }
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear();
    this.#closing.abort();
    this.#engine[Symbol.dispose]();
    await this.#following;
  }

  async #look(
    summary: ContainerInfo,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Container | undefined> {
    const known = this.#inspections.find(summary) ?? createdContainerOf(summary);
    if (known !== undefined) return known;
    const heardBefore = this.#inspections.heard;
    const inspected = await this.#containers.inspect(summary.Id, { signal });
    if (inspected === undefined) return undefined; // Removed in between.
    this.#inspections.remember(summary, inspected.container, { heardBefore });
    return inspected.container;
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /**
   * The caller's abort does not reach the creation: an engine that goes on creating after
   * the cleanup has looked would leave a container behind.
   */
  async #create(what: string, request: ContainerRequest): Promise<DockerContainer> {
    const body = createOptionsOf(request, this.#placement);
    return await this.#engine.call(
      what,
      (abortSignal) => {
        // Apart, because the client would repeat the whole body in the address.
        const options = { _query: { name: request.name }, _body: body, abortSignal };
        return this.#engine.docker.createContainer(options);
      },
      { signal: this.#engine.closedSignal },
    );
  }

  /**
   * By name, because no id is known when the answer to the creation was lost. A container
   * of another task that has the name (the reason for the failure) stays.
   */
  async #removeFailed({ name, taskId }: ContainerRequest): Promise<void> {
    const signal = this.#engine.closedSignal; // The caller's has perhaps aborted.
    try {
      const left = await this.#containers.inspect(name, { signal });
      if (left?.container.taskId !== taskId) return;
      await this.#containers.forceRemove(left.container.id, { signal });
    } catch {
      // What failed already is the better thing to report; the agent lists and cleans up.
    }
  }
}

function platformArchitecture(name: string): string {
  if (name === "x86_64") return "amd64";
  return name === "aarch64" ? "arm64" : name;
}
