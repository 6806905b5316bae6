import { spawn } from "node:child_process";
import { codeOf, messageOf } from "../../kernel/index.ts";

const maxOutputBytes = 4 * 1024;
/** As shells say that a command does not exist. */
const notFoundExitCode = 127;
const signalExitCode = 128 + 9;

/** Runs a command beside a container's program, in its folder and environment. */
export async function execBeside(
  argv: readonly string[],
  of: { readonly workingDirectory: string; readonly environment: Readonly<Record<string, string>> },
  { signal }: { readonly signal: AbortSignal },
): Promise<{ readonly exitCode: number; readonly output: string }> {
  signal.throwIfAborted();
  const [command = "", ...rest] = argv;
  const { promise, resolve, reject } = Promise.withResolvers<{
    exitCode: number;
    output: string;
  }>();
  const child = spawn(command, rest, {
    cwd: of.workingDirectory,
    env: of.environment,
    detached: true, // A group of its own: a check that hangs is killed with its children.
    stdio: ["ignore", "pipe", "pipe"],
  });
  const kept: Buffer[] = [];
  let room = maxOutputBytes;
  const keep = (chunk: Buffer) => {
    kept.push(chunk.subarray(0, room));
    room -= Math.min(room, chunk.length);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.once("error", (error) => {
    // The command's own fault, like an exit code; anything else is the machine's.
    const isCommand = codeOf(error) === "ENOENT" || codeOf(error) === "EACCES";
    if (isCommand) resolve({ exitCode: notFoundExitCode, output: messageOf(error) });
    else reject(error);
  });
  child.once("close", (exitCode) => {
    resolve({
      exitCode: exitCode ?? signalExitCode,
      output: Buffer.concat(kept).toString("utf8"),
    });
  });
  const abort = () => {
    if (child.pid !== undefined && child.exitCode === null) killGroup(child.pid, "SIGKILL");
    reject(signal.reason);
  };
  signal.addEventListener("abort", abort, { once: true });
  return await promise.finally(() => signal.removeEventListener("abort", abort));
}

/** Signals a process that leads a group, with its children. */
export function killGroup(processId: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-processId, signal);
  } catch {
    // It has ended in this moment.
  }
}
