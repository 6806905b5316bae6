import type { AttachDesk, WaitingClient } from "../attach-desk.ts";
import type { ConsoleOutcome, ContainerConsole, TerminalSize } from "../container-console.ts";
import type { ContainerRequest } from "../container-runtime.ts";
import { RuntimeError } from "../errors.ts";
import { DockerConsole, type DockerProcess } from "./docker-console.ts";
import { type DockerEngine, engineStatusOf } from "./docker-engine.ts";

/** How long a container that starts only with its client waits for it. */
const clientWaitMs = 30_000;
/** From the end of a container's streams to the engine's word that it has ended. */
const endWaitMs = 5_000;

/** Joins with a container's own process; it need not run yet. */
export async function attachToDocker(
  engine: DockerEngine,
  containerId: string,
  { tty, signal }: { readonly tty: boolean; readonly signal: AbortSignal },
): Promise<ContainerConsole> {
  const what = "The container cannot be attached to";
  const stream = await engine.duplex(
    what,
    (abortSignal) =>
      engine.docker.getContainer(containerId).attach({
        ...{ stream: true, stdin: true, stdout: true, stderr: true },
        ...{ hijack: true, abortSignal },
      }),
    { signal },
  );
  return new DockerConsole(stream, { tty, process: new MainProcess(engine, containerId), signal });
}

/** Starts a created container together with the client that it is for. */
export async function startWithClient(
  engine: DockerEngine,
  {
    id,
    request,
    desk,
  }: {
    readonly id: string;
    readonly request: ContainerRequest;
    readonly desk: AttachDesk;
  },
  start: () => Promise<void>,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const waited = AbortSignal.any([signal, AbortSignal.timeout(clientWaitMs)]);
  const client = await desk.clientOf(request.taskId, { signal: waited });
  signal.throwIfAborted();
  if (client === undefined) {
    const message = `The container ${request.name} starts only with somebody attached to it, and nobody came within ${clientWaitMs / 1_000} s.`;
    throw new RuntimeError("invalid_request", message);
  }
  await startFor(client, engine, { id, request }, start);
}

async function startFor(
  client: WaitingClient,
  engine: DockerEngine,
  { id, request }: { readonly id: string; readonly request: ContainerRequest },
  start: () => Promise<void>,
): Promise<void> {
  const tty = request.template.engine?.tty ?? false;
  let console: ContainerConsole | undefined;
  try {
    // Before the start, so that nothing that it prints is missed.
    console = await attachToDocker(engine, id, { tty, signal: client.signal });
    await start();
  } catch (error) {
    client.fail(error);
    await console?.[Symbol.asyncDispose]();
    throw error;
  }
  client.connect(console);
}

class MainProcess implements DockerProcess {
  readonly #engine: DockerEngine;
  readonly #containerId: string;

  constructor(engine: DockerEngine, containerId: string) {
    this.#engine = engine;
    this.#containerId = containerId;
  }

  async resize({ columns, rows }: TerminalSize): Promise<void> {
    await this.#engine.call(
      "The terminal cannot be given another size",
      (abortSignal) =>
        this.#engine.docker
          .getContainer(this.#containerId)
          .resize({ w: columns, h: rows, abortSignal }),
      { signal: this.#engine.closedSignal },
    );
  }

  async signal(name: string): Promise<void> {
    await this.#engine
      .call(
        "The container cannot be sent a signal",
        (abortSignal) =>
          this.#engine.docker.getContainer(this.#containerId).kill({ signal: name, abortSignal }),
        { signal: this.#engine.closedSignal },
      )
      .catch((error: unknown) => {
        // It has ended in this moment.
        if (engineStatusOf(error) === undefined) throw error;
      });
  }

  async outcome({ signal }: { readonly signal: AbortSignal }): Promise<ConsoleOutcome> {
    const over = AbortSignal.timeout(endWaitMs);
    try {
      const { StatusCode } = await this.#engine.call(
        "The end of the container cannot be awaited",
        (abortSignal) => this.#engine.docker.getContainer(this.#containerId).wait({ abortSignal }),
        { signal: AbortSignal.any([signal, over]) },
      );
      return { kind: "exited", exitCode: StatusCode };
    } catch (error) {
      signal.throwIfAborted();
      // The keys ctrl-p ctrl-q end the streams, and nothing else.
      if (over.aborted) return { kind: "detached" };
      throw error;
    }
  }

  async abandon(): Promise<void> {
    // As with `docker run`: the engine ends its input, and it goes on or not.
  }
}
