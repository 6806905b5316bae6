import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Exec } from "dockerode";
import type {
  ConsoleOutcome,
  ConsoleOutput,
  ContainerConsole,
  ExecRequest,
  TerminalSize,
} from "../container-console.ts";
import { RuntimeError } from "../errors.ts";
import type { DockerEngine } from "./docker-engine.ts";
import { signalExec } from "./docker-exec.ts";
import { readFrames } from "./docker-logs.ts";

/** The engine knows no size of a command that it has not quite started yet. */
const resizeAttempts = 10;
const resizePauseMs = 50;
/** From the end of the streams to the engine's word that the command has ended. */
const endPollFirstMs = 10;
const endPollMaxMs = 1_000;
/** What a command whose client has gone gets to end by itself. */
const killAfterMs = 2_000;
/**
 * The engine leaves a terminal at the keys ctrl-p ctrl-q unless it is given others, and holds
 * the first of them back. A command that is left runs on unseen, so these are keys that nobody presses.
 */
const neverDetach = "ctrl-^,ctrl-@,ctrl-^,ctrl-@,ctrl-^";

/** Runs a command in a container, with its streams. */
export async function openDockerExec(
  engine: DockerEngine,
  containerId: string,
  request: ExecRequest,
  { signal }: { readonly signal: AbortSignal },
): Promise<ContainerConsole> {
  const { argv, environment, workingDirectory, user, tty, stdin } = request;
  const what = `The command ${argv[0] ?? ""} cannot be run in the container`;
  const exec = await engine.call(
    what,
    (abortSignal) =>
      engine.docker.getContainer(containerId).exec({
        Cmd: [...argv],
        Env: Object.entries(environment).map(([name, value]) => `${name}=${value}`),
        ...(workingDirectory === undefined ? {} : { WorkingDir: workingDirectory }),
        ...(user === undefined ? {} : { User: user }),
        Tty: tty,
        AttachStdin: stdin,
        AttachStdout: true,
        AttachStderr: true,
        DetachKeys: neverDetach,
        abortSignal,
      }),
    { signal },
  );
  const stream = await engine.duplex(
    what,
    (abortSignal) => exec.start({ hijack: true, stdin, Tty: tty, Detach: false, abortSignal }),
    { signal },
  );
  const process = new ExecProcess(engine, containerId, exec, tty);
  return new DockerConsole(stream, { tty, process, signal });
}

/** What a console's process is to the engine. */
export interface DockerProcess {
  resize(size: TerminalSize): Promise<void>;
  outcome(options: { readonly signal: AbortSignal }): Promise<ConsoleOutcome>;
  signal?(name: string): Promise<void>;
  /** The client has gone before the process ended. */
  abandon(): Promise<void>;
}

class ExecProcess implements DockerProcess {
  readonly #engine: DockerEngine;
  readonly #containerId: string;
  readonly #exec: Exec;
  readonly #tty: boolean;

  constructor(engine: DockerEngine, containerId: string, exec: Exec, tty: boolean) {
    this.#engine = engine;
    this.#containerId = containerId;
    this.#exec = exec;
    this.#tty = tty;
  }

  async resize({ columns, rows }: TerminalSize): Promise<void> {
    await this.#engine.call(
      "The terminal cannot be given another size",
      (abortSignal) => this.#exec.resize({ w: columns, h: rows, abortSignal }),
      { signal: this.#engine.closedSignal },
    );
  }

  async outcome({ signal }: { readonly signal: AbortSignal }): Promise<ConsoleOutcome> {
    for (let pauseMs = endPollFirstMs; ; pauseMs = Math.min(pauseMs * 2, endPollMaxMs)) {
      const { Running, ExitCode } = await this.#engine.call(
        "The command cannot be looked up",
        (abortSignal) => this.#exec.inspect({ abortSignal }),
        { signal },
      );
      if (!Running) return { kind: "exited", exitCode: ExitCode ?? -1 };
      await sleep(pauseMs, undefined, { signal });
    }
  }

  async abandon(): Promise<void> {
    const send = (signal: NodeJS.Signals) =>
      signalExec(this.#engine, this.#containerId, this.#exec, signal);
    // As when a terminal is closed, or a service is asked to stop.
    if (!(await send(this.#tty ? "SIGHUP" : "SIGTERM"))) return;
    await sleep(killAfterMs, undefined, { signal: this.#engine.closedSignal }).catch(
      () => undefined,
    );
    await send("SIGKILL");
  }
}

/** A process's streams on a connection that the engine has given up to us. */
export class DockerConsole implements ContainerConsole {
  readonly #stream: Duplex;
  readonly #tty: boolean;
  readonly #process: DockerProcess;
  readonly #signal: AbortSignal;
  #hasEnded = false;

  constructor(
    stream: Duplex,
    of: {
      readonly tty: boolean;
      readonly process: DockerProcess;
      readonly signal: AbortSignal;
    },
  ) {
    this.#stream = stream;
    this.#tty = of.tty;
    this.#process = of.process;
    this.#signal = of.signal;
  }

  async *output(): AsyncIterable<ConsoleOutput> {
    try {
      if (this.#tty) {
        for await (const chunk of this.#stream) yield { stream: "stdout", bytes: chunk as Buffer };
      } else {
        for await (const { stream, payload } of readFrames(this.#stream)) {
          yield { stream, bytes: payload };
        }
      }
    } catch (error) {
      this.#signal.throwIfAborted();
      const message = "The container engine broke off the streams of the command.";
      throw new RuntimeError("engine_unreachable", message, { cause: error });
    }
    this.#signal.throwIfAborted();
  }

  async write(bytes: Uint8Array): Promise<void> {
    const stream = this.#stream;
    if (!stream.writable || stream.write(bytes)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const goOn = () => resolve();
    stream.once("drain", goOn);
    stream.once("close", goOn);
    await promise.finally(() => {
      stream.off("drain", goOn);
      stream.off("close", goOn);
    });
  }

  endInput(): void {
    this.#stream.end();
  }

  async resize(size: TerminalSize): Promise<void> {
    if (!this.#tty) return;
    for (let attempt = 1; attempt <= resizeAttempts && !this.#signal.aborted; attempt += 1) {
      try {
        await this.#process.resize(size);
        return;
      } catch {
        // Not started yet, or ended already: neither is worth an error.
        await sleep(resizePauseMs);
      }
    }
  }

  async signal(name: string): Promise<void> {
    await this.#process.signal?.(name);
  }

  async outcome(): Promise<ConsoleOutcome> {
    const outcome = await this.#process.outcome({ signal: this.#signal });
    this.#hasEnded = true;
    return outcome;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stream.destroy();
    if (!this.#hasEnded) await this.#process.abandon();
  }
}
