import type { TaskId } from "../kernel/index.ts";
import type { TaskTemplate } from "../spec/index.ts";
import type { ContainerConsole, ExecRequest } from "./container-console.ts";

/** What a container is made of. Everything needed to adopt it again later goes into its labels. */
export type ContainerRequest = {
  readonly taskId: TaskId;
  /** Unique on the node while the container exists, e.g. `default-web-3-k3j9x2ab`. */
  readonly name: string;
  readonly template: TaskTemplate;
  /** `skein.*` labels; see `container-labels.ts`. */
  readonly labels: Readonly<Record<string, string>>;
  /**
   * A running container of this node whose network this one shares, so that both reach each
   * other on `localhost`. The ports of both are those of that one. Absent: a network of its own.
   */
  readonly networkOf?: string;
  /** Containers of this node, running or not, whose mounts it has besides its own. */
  readonly volumesFrom?: readonly { readonly containerId: string; readonly readOnly: boolean }[];
};

/** A container as the engine sees it now. */
export type Container = {
  /** The engine's own id. */
  readonly id: string;
  readonly taskId: TaskId;
  readonly labels: Readonly<Record<string, string>>;
  readonly state:
    | { readonly kind: "created" }
    | { readonly kind: "running"; readonly startedAtMs: number }
    | {
        readonly kind: "exited";
        readonly exitCode: number;
        readonly finishedAtMs: number;
        readonly isOomKilled: boolean;
        /** The engine's own words, e.g. that the command was not found. */
        readonly error: string;
      };
  /** Where its exposed ports are reached from this machine; empty unless it runs. */
  readonly endpoints: readonly {
    readonly target: number;
    readonly address: string;
    readonly port: number;
  }[];
  readonly hostPorts: readonly {
    readonly target: number;
    readonly hostPort: number;
    readonly protocol: "tcp" | "udp";
  }[];
};

export type RuntimeInfo = {
  readonly kind: "docker" | "process" | "memory";
  readonly version: string;
  readonly os: string;
  /** As container platforms name it: `amd64`, `arm64`. */
  readonly arch: string;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
};

/** One line (without its end) that a container printed. */
export type LogLine = {
  readonly stream: "stdout" | "stderr";
  /** Wall clock, ms. */
  readonly timeMs: number;
  readonly text: string;
};

export type LogOptions = {
  readonly follow: boolean;
  /** How many of the last lines; absent means all. */
  readonly tail?: number;
  readonly signal: AbortSignal;
};

/**
 * What runs containers on this machine. It sees only containers that it made for this node
 * (by label), never others. Every method may be repeated after a crash: removing what is
 * gone and stopping what stands still succeed.
 *
 * Failures are {@link RuntimeError}s; `engine_unreachable` means that nothing is known.
 */
export interface ContainerRuntime extends AsyncDisposable {
  info(options: { readonly signal: AbortSignal }): Promise<RuntimeInfo>;
  /** All of this node's containers, running or not. */
  list(options: { readonly signal: AbortSignal }): Promise<readonly Container[]>;
  /** Makes the image available: at once when it is present, else by pulling it. */
  ensureImage(image: string, options: { readonly signal: AbortSignal }): Promise<void>;
  /**
   * The image with the digest that the name stands for now, so that it means the same for ever
   * and everywhere: of the copy that is present, else what its registry says. Undefined where
   * nobody can tell. Absent in runtimes whose images have no digests.
   */
  pinImage?(image: string, options: { readonly signal: AbortSignal }): Promise<string | undefined>;
  /** Creates and starts; resolves with the engine's id. Leaves nothing behind when it fails. */
  run(request: ContainerRequest, options: { readonly signal: AbortSignal }): Promise<string>;
  /** Sends the stop signal, waits for `graceMs`, then kills. */
  stop(
    containerId: string,
    options: {
      readonly graceMs: number;
      readonly stopSignal?: string;
      readonly signal: AbortSignal;
    },
  ): Promise<void>;
  /** Kills it where it still runs and removes it with its anonymous volumes. */
  remove(containerId: string, options: { readonly signal: AbortSignal }): Promise<void>;
  /** Runs a command inside for a health check; resolves with its exit code and output (≤ 4 KiB). */
  exec(
    containerId: string,
    argv: readonly string[],
    options: { readonly signal: AbortSignal },
  ): Promise<{ readonly exitCode: number; readonly output: string }>;
  /** Runs a command inside with its streams; it lives until its console is disposed of. */
  openExec(
    containerId: string,
    request: ExecRequest,
    options: { readonly signal: AbortSignal },
  ): Promise<ContainerConsole>;
  /**
   * Joins with the process of a task's container. Where its template says `startsAttached` the
   * container need not be there yet: this resolves when it starts, which it does not do before.
   */
  attach(taskId: TaskId, options: { readonly signal: AbortSignal }): Promise<ContainerConsole>;
  /** Ends at the container's end, or when it is removed, or at the abort. */
  logs(containerId: string, options: LogOptions): AsyncIterable<LogLine>;
  /**
   * Calls `listener` whenever a container may have changed (start, end, removal, by
   * anybody). From the engine's events, not from polling. Returns the undo.
   */
  subscribe(listener: () => void): () => void;
}
