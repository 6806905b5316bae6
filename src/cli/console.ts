import { spawnSync } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { ReadStream, WriteStream } from "node:tty";
import {
  type ApiClient,
  type ConsoleEnd,
  ConsoleLink,
  type ConsoleRequest,
  type ConsoleSize,
  consoleChunks,
} from "../api/index.ts";
import { codeOf, messageOf } from "../kernel/index.ts";
import { systemClock } from "../kernel/io/system.ts";
import { CliError } from "./cli-error.ts";
import type { Session } from "./session.ts";

/** As `docker` says that the command never ran, or that nobody knows how it ended. */
export const ownFailureExitCode = 125;

/** So many signals are handed on to a process; with the last of them this client goes. */
const patience = 3;

/** Where a person sits, or a script. */
export type Terminal = {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
};

/** @throws CliError `usage` when there is no terminal that a process could be given. */
export function requireTerminal({ stdin }: Terminal): void {
  if (stdin instanceof ReadStream && stdin.isTTY) return;
  throw new CliError("usage", "There is no terminal here to pass on: leave -t out.");
}

/** Joins this terminal with a process in a container until one of them ends. */
export async function runConsole(
  client: ApiClient,
  request: ConsoleRequest,
  {
    terminal,
    tty,
    signals = [],
    signal,
  }: {
    readonly terminal: Terminal;
    readonly tty: boolean;
    /** What this command hands on to the process instead of obeying it. */
    readonly signals?: readonly NodeJS.Signals[];
    readonly signal: AbortSignal;
  },
): Promise<ConsoleEnd> {
  const { stdin, stdout } = terminal;
  const link = new ConsoleLink(await client.openConsole({ signal }), systemClock);
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const abort = () => link.abort(new CliError("interrupted", "Interrupted."));
  const failInput = (error: Error) =>
    link.abort(new CliError("failed", `The input cannot be read (${error.message}).`));
  signal.addEventListener("abort", abort, { once: true });
  const onResize = () => {
    const size = sizeOf(stdout);
    if (size !== undefined)
      link.send({ kind: "resize", size }, { signal: either }).catch(() => undefined);
  };
  const size = tty ? sizeOf(stdout) : undefined;
  const restore = tty && request.stdin ? makeRaw(stdin) : () => undefined;
  let hasStarted = false;
  let handedOn = 0;
  const handOn = (name: NodeJS.Signals) => {
    handedOn += 1;
    // Nobody is there yet who could obey, or somebody does not want to.
    if (!hasStarted || handedOn >= patience) abort();
    link.send({ kind: "signal", name }, { signal: either }).catch(() => undefined);
  };
  for (const name of signals) process.on(name, handOn);
  try {
    await link.send(
      { kind: "request", request: { ...request, ...(size === undefined ? {} : { size }) } },
      { signal: either },
    );
    if (tty) stdout.on("resize", onResize);
    if (request.stdin) {
      stdin.once("error", failInput);
      // What cannot be read is told above; who no longer listens has said why in the output.
      void sendInput(stdin, link, either).catch(() => undefined);
    }
    return await showOutput(link, terminal, () => {
      hasStarted = true;
    });
  } finally {
    restore();
    over.abort();
    for (const name of signals) process.off(name, handOn);
    stdout.off("resize", onResize);
    // A read of it that is under way would keep this command from ending.
    if (request.stdin) stdin.destroy();
    await link.close();
    signal.removeEventListener("abort", abort);
  }
}

async function showOutput(
  link: ConsoleLink,
  { stdout, stderr }: Terminal,
  onReady: () => void,
): Promise<ConsoleEnd> {
  for (let frame = await link.next(); frame !== undefined; frame = await link.next()) {
    switch (frame.kind) {
      case "output":
        await write(frame.stream === "stdout" ? stdout : stderr, frame.bytes);
        break;
      case "exited":
      case "detached":
      case "error":
        return frame;
      case "ready":
        onReady();
        break;
      default:
        throw new CliError("failed", `The daemon sent a frame of the kind ${frame.kind}.`);
    }
  }
  const message = "The daemon ended the console. What became of the command is not known.";
  return { kind: "error", code: "unreachable", message };
}

async function sendInput(stdin: Readable, link: ConsoleLink, signal: AbortSignal): Promise<void> {
  for await (const chunk of stdin) {
    for (const bytes of consoleChunks(chunk as Buffer)) {
      await link.send({ kind: "input", bytes }, { signal });
    }
  }
  await link.send({ kind: "input_end" }, { signal });
}

async function write(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (stream.write(bytes)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const goOn = () => resolve();
  stream.once("drain", goOn);
  stream.once("close", goOn);
  await promise.finally(() => {
    stream.off("drain", goOn);
    stream.off("close", goOn);
  });
}

function sizeOf(stdout: Writable): ConsoleSize | undefined {
  if (!(stdout instanceof WriteStream) || stdout.columns < 1 || stdout.rows < 1) return undefined;
  return { columns: stdout.columns, rows: stdout.rows };
}

/** Every key goes to the process, Ctrl-C too; the undo gives the keys back. */
function makeRaw(stdin: Readable): () => void {
  if (!(stdin instanceof ReadStream)) return () => undefined;
  stdin.setRawMode(true);
  // Node leaves a line feed to be made into two characters, which draws screens askew.
  spawnSync("stty", ["-opost"], { stdio: [stdin, "ignore", "ignore"] });
  return () => stdin.setRawMode(false);
}

/** Ends with the exit code of the process, and with 125 where there is none. */
export async function passExitCode(
  session: Session,
  work: () => Promise<ConsoleEnd>,
): Promise<void> {
  const end = await work().catch((error: unknown): ConsoleEnd => {
    if (session.signal.aborted || codeOf(error) === "usage") throw error;
    return { kind: "error", code: "internal", message: messageOf(error) };
  });
  switch (end.kind) {
    case "exited":
      session.setExitCode(end.exitCode & 0xff);
      break;
    case "error":
      session.note(`skein: ${end.message}\n`);
      session.setExitCode(end.exitCode ?? ownFailureExitCode);
      break;
    case "detached":
      break;
  }
}
