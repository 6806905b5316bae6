import { type Clock, type Logger, messageOf, type NodeId } from "../../kernel/index.ts";
import type { ContainerRuntime } from "../container-runtime.ts";

const answerTimeoutMs = 2_000;

export type RuntimeChoice = "docker" | "process" | "auto";

export type ChooseRuntimeOptions = {
  readonly nodeId: NodeId;
  readonly clusterId: string;
  readonly dataDir: string;
  /** Where the process runtime's programs listen; default: 127.0.0.1. */
  readonly address?: string;
  /** The machine's address on which ports of mode `host` are bound; default: all. */
  readonly hostAddress?: string;
  /** Of the container engine; default: from `DOCKER_HOST`, else `/var/run/docker.sock`. */
  readonly socketPath?: string;
  /** The engine's network that tasks attach to. */
  readonly network?: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly signal: AbortSignal;
};

/** A running runtime, and a sentence for people about why it is this one. */
export type ChosenRuntime = {
  readonly runtime: ContainerRuntime;
  readonly kind: "docker" | "process";
  readonly reason: string;
};

/**
 * Opens the runtime that is asked for. `auto` takes an engine when one answers, and also when one
 * is there and says nothing within 2 s: after a boot it may be busy with what it ran before.
 */
export async function chooseRuntime(
  choice: RuntimeChoice,
  options: ChooseRuntimeOptions,
): Promise<ChosenRuntime> {
  if (choice === "process") {
    return await openProcess(options, "The process runtime was asked for.");
  }
  // Loaded when needed: the client of the engine takes some 35 MB.
  const { openDockerRuntime } = await import("./docker-runtime.ts");
  if (choice === "docker") {
    const runtime = await openDockerRuntime(options);
    return { runtime, kind: "docker", reason: "The container engine was asked for." };
  }
  let runtime: ContainerRuntime | undefined;
  const timeout = AbortSignal.timeout(answerTimeoutMs);
  try {
    runtime = await openDockerRuntime(options);
    const info = await runtime.info({ signal: AbortSignal.any([options.signal, timeout]) });
    return { runtime, kind: "docker", reason: `A container engine answers (${info.version}).` };
  } catch (error) {
    if (runtime !== undefined && timeout.aborted && !options.signal.aborted) {
      return { runtime, kind: "docker", reason: "A container engine is there, and is busy." };
    }
    await runtime?.[Symbol.asyncDispose]();
    options.signal.throwIfAborted();
    return await openProcess(options, `No container engine answers. ${messageOf(error)}`);
  }
}

async function openProcess(options: ChooseRuntimeOptions, reason: string): Promise<ChosenRuntime> {
  const { openProcessRuntime } = await import("./process-runtime.ts");
  return { runtime: await openProcessRuntime(options), kind: "process", reason };
}
