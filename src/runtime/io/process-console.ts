import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, messageOf } from "../../kernel/index.ts";
import type {
  ConsoleOutcome,
  ConsoleOutput,
  ContainerConsole,
  ExecRequest,
} from "../container-console.ts";
import { RuntimeError } from "../errors.ts";
import { OutputQueue } from "../output-queue.ts";
import { refuseUnsupported } from "./process-command.ts";
import { killGroup } from "./process-exec.ts";

const killAfterMs = 2_000;
/** As shells say that a command is not there, and that it cannot be run. */
const notFoundExitCode = 127;
const notExecutableExitCode = 126;

/** Runs a command beside a container's program, in its folder and environment, with its streams. */
export async function openProcessExec(
  request: ExecRequest,
  of: { readonly workingDirectory: string; readonly environment: Readonly<Record<string, string>> },
  { signal }: { readonly signal: AbortSignal },
): Promise<ContainerConsole> {
  signal.throwIfAborted();
  if (request.tty) {
    throw new RuntimeError(
      "invalid_request",
      "The process runtime has no terminals: leave -t out, or run a container engine.",
    );
  }
  const { user } = request;
  refuseUnsupported({ mounts: [], ...(user === undefined ? {} : { user }) });
  const [command = "", ...rest] = request.argv;
  const child = spawn(command, rest, {
    cwd: resolve(of.workingDirectory, request.workingDirectory ?? ""),
    env: { ...of.environment, ...request.environment },
    detached: true, // A group of its own, so that its children end with it.
    stdio: [request.stdin ? "pipe" : "ignore", "pipe", "pipe"],
  });
  return new ProcessConsole(child, signal);
}

class ProcessConsole implements ContainerConsole {
  readonly #child: ChildProcess;
  readonly #queue = new OutputQueue();
  readonly #ended: Promise<ConsoleOutcome>;

  constructor(child: ChildProcess, signal: AbortSignal) {
    this.#child = child;
    child.stdin?.on("error", () => undefined); // It may end without reading its input.
    const abort = () => this.#queue.fail(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    const { promise, resolve } = Promise.withResolvers<ConsoleOutcome>();
    this.#ended = promise.finally(() => signal.removeEventListener("abort", abort));
    const pumps = Promise.all([
      this.#pump(child.stdout, "stdout"),
      this.#pump(child.stderr, "stderr"),
    ]);
    child.once("error", (error) => {
      const exitCode = codeOf(error) === "EACCES" ? notExecutableExitCode : notFoundExitCode;
      void this.#queue.push({ stream: "stderr", bytes: Buffer.from(`${messageOf(error)}\n`) });
      this.#queue.end();
      resolve({ kind: "exited", exitCode });
    });
    child.once("close", (code, by) => {
      const exitCode = code ?? 128 + (by === "SIGKILL" ? 9 : 15);
      void pumps.then(() => {
        this.#queue.end();
        resolve({ kind: "exited", exitCode });
      });
    });
  }

  output(): AsyncIterable<ConsoleOutput> {
    return this.#queue.read();
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { stdin } = this.#child;
    if (stdin === null || !stdin.writable || stdin.write(bytes)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const goOn = () => resolve();
    stdin.once("drain", goOn);
    stdin.once("close", goOn);
    await promise.finally(() => {
      stdin.off("drain", goOn);
      stdin.off("close", goOn);
    });
  }

  endInput(): void {
    this.#child.stdin?.end();
  }

  async resize(): Promise<void> {
    // There is no terminal.
  }

  async outcome(): Promise<ConsoleOutcome> {
    return await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#queue.fail(new Error("The console was closed."));
    const { pid } = this.#child;
    if (pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null)
      return;
    killGroup(pid, "SIGTERM");
    await Promise.race([this.#ended, sleep(killAfterMs)]);
    killGroup(pid, "SIGKILL");
  }

  async #pump(from: Readable | null, stream: ConsoleOutput["stream"]): Promise<void> {
    if (from === null) return;
    try {
      for await (const bytes of from) await this.#queue.push({ stream, bytes: bytes as Buffer });
    } catch {
      // It was never started: the child's error says why.
    }
  }
}
