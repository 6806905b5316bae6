import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { accessSync, closeSync, constants, openSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../../src/kernel/index.ts";
import { UnableToRun } from "./errors.ts";

const startTimeoutMs = 20_000;
const stopTimeoutMs = 5_000;
const pollMs = 50;

/** A program, and the Debian package that brings it. */
export type Needed = { readonly program: string; readonly package: string };

/** Absolute paths of the programs. @throws UnableToRun that says what to install. */
export function findPrograms(needed: readonly Needed[]): ReadonlyMap<string, string> {
  const found = new Map(needed.map(({ program }) => [program, findProgram(program)]));
  const missing = needed.filter(({ program }) => found.get(program) === undefined);
  if (missing.length > 0) {
    const programs = missing.map(({ program }) => program).join(", ");
    const packages = missing.map((need) => need.package).join(" ");
    throw new UnableToRun(
      `This benchmark needs ${programs}; on Debian: apt-get install --no-install-recommends ${packages}`,
    );
  }
  return new Map([...found].map(([program, path]) => [program, path ?? program]));
}

function findProgram(program: string): string | undefined {
  const directories = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories
    .filter((directory) => directory !== "")
    .map((directory) => join(directory, program))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export type Running = AsyncDisposable & {
  readonly pid: number;
  /** By SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
};

/** Starts a process whose output goes to a file; disposing ends it, by its pid, and waits for that. */
export async function startProcess(options: {
  readonly command: readonly string[];
  readonly logPath: string;
  /** To wait for. */
  readonly port?: number;
  /** Whether to have a channel of messages to it. */
  readonly hasChannel?: boolean;
  /** Variables beside this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}): Promise<Running> {
  const { signal } = options;
  const [program = "", ...args] = options.command;
  const log = openSync(options.logPath, "a");
  const stdio = ["ignore" as const, log, log];
  // Detached: Ctrl-C in a terminal is for the benchmark, which ends them in order.
  const child = spawn(program, args, {
    detached: true,
    env: { ...process.env, ...options.environment },
    stdio: options.hasChannel === true ? [...stdio, "ipc"] : stdio,
  });
  closeSync(log);
  const failed = new Promise<void>((resolve) => child.once("error", () => resolve()));
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let isStopping = false;
  const logEnd = () => readFileSync(options.logPath, "utf8").slice(-2_000);
  child.once("exit", (code, killedBy) => {
    if (!isStopping) console.error(`${program} ended (${killedBy ?? code}):\n${logEnd()}`);
  });
  const running: Running = {
    pid: child.pid ?? 0,
    kill: async () => {
      isStopping = true;
      child.kill("SIGKILL");
      await exited;
    },
    [Symbol.asyncDispose]: () => {
      isStopping = true;
      return endProcess(child, exited);
    },
  };
  if (child.pid === undefined) {
    await failed;
    throw new UnableToRun(`${program} cannot be started.`);
  }
  try {
    if (options.port !== undefined) await untilListening(options.port, child, signal);
  } catch (error) {
    await running[Symbol.asyncDispose]();
    signal.throwIfAborted();
    throw new UnableToRun(`${program} does not start: ${messageOf(error)}.`);
  }
  return running;
}

async function endProcess(child: ChildProcess, exited: Promise<void>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const impatient = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
  await exited;
  clearTimeout(impatient);
}

async function untilListening(
  port: number,
  child: ChildProcess,
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  while (!(await isListening(port))) {
    signal.throwIfAborted();
    if (child.exitCode !== null) throw new Error(`it ended with status ${child.exitCode}`);
    if (performance.now() > deadline) throw new Error(`nothing listens on port ${port}`);
    await sleep(pollMs);
  }
}

async function isListening(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host: "127.0.0.1", port });
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  const answer = await promise;
  socket.destroy();
  return answer;
}

/** Ports of the loopback address that nobody has at the moment, all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address !== null && typeof address !== "string") ports.push(address.port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

/** Clock ticks a second, in which Linux counts the time of processes. */
const ticksPerSecond = 100;

/** What a process has used so far, all its threads together. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name before may hold blanks and brackets.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Whether there is a core for what is measured and another for what measures. */
export const hasSpareCore: boolean = availableParallelism() > 1;

/** A command that stays on one core, where there is one to spare. */
export function onCore(core: number, command: readonly string[]): readonly string[] {
  return hasSpareCore ? ["taskset", "-c", String(core), ...command] : command;
}

/** The same for a process that runs, with all of its threads. */
export function moveToCore(core: number, pid: number): void {
  if (!hasSpareCore) return;
  const { status } = spawnSync("taskset", ["-acp", String(core), String(pid)], { stdio: "ignore" });
  if (status !== 0) throw new UnableToRun(`The process ${pid} cannot be put on core ${core}.`);
}
