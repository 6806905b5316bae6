import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../../kernel/index.ts";

/**
 * One small shell per container (about 1 MB; a Node would be 45) starts the program,
 * outlives the daemon, and writes the exit code into a file, where the next daemon finds it.
 *
 * - The program is in the foreground, because shells make background jobs ignore SIGINT
 *   and SIGQUIT, and it leads a session of its own, so that a signal to its group misses the
 *   shell that must record how it ended.
 * - It writes its own line of /proc before it becomes the program: process id and start
 *   time, which together are never given twice.
 * - Its output goes to files and not through a pipe: a pipe needs a reader, and there is
 *   none while the daemon is down. A shell cannot put times on lines, so the daemon does.
 * - What the program leaves behind in its group is killed, as a container's processes are.
 */
const supervisorScript = `
folder=$1; shift
read -r stat <"/proc/$$/stat" && printf '%s\\n' "$stat" >"$folder/supervisor" || exit 126
"$0" /bin/sh -c 'folder=$1; shift
read -r stat <"/proc/$$/stat" && printf "%s\\n" "$stat" >"$folder/program" || exit 126
exec "$@"' program "$folder" "$@" </dev/null >>"$folder/stdout" 2>>"$folder/stderr"
code=$?
read -r leader rest <"$folder/program" && kill -9 "-$leader"
printf '%s\\n' "$code" >"$folder/exit"
`;

/** A process that cannot be mistaken for a later one with the same number. */
export type ProcessIdentity = { readonly processId: number; readonly startTicks: number };

/** Starts the supervisor of a container; resolves when it is under way, not when the program is. */
export async function spawnSupervisor(of: {
  readonly setsidPath: string;
  readonly folder: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
}): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const argv = ["-c", supervisorScript, of.setsidPath, of.folder, ...of.argv];
  const child = spawn("/bin/sh", argv, {
    cwd: of.workingDirectory,
    env: of.environment,
    detached: true,
    stdio: "ignore",
  });
  child.once("error", reject).once("spawn", () => {
    child.unref();
    resolve();
  });
  await promise;
}

/** Absent while the file is not written, or when its process has never come that far. */
export async function readIdentity(
  folder: string,
  file: "supervisor" | "program",
): Promise<ProcessIdentity | undefined> {
  return parseStat(await readIfPresent(join(folder, file)))?.identity;
}

/** Whether exactly this process still exists and has not ended (a zombie has). */
export async function isAlive({ processId, startTicks }: ProcessIdentity): Promise<boolean> {
  const stat = parseStat(await readIfPresent(`/proc/${processId}/stat`));
  return stat?.identity.startTicks === startTicks && stat.state !== "Z" && stat.state !== "X";
}

/** Signals the program and its group. False when it has ended already. */
export async function signalGroup(leader: ProcessIdentity, signal: string): Promise<boolean> {
  if (!(await isAlive(leader))) return false;
  try {
    process.kill(-leader.processId, signal);
    return true;
  } catch (error) {
    if (codeOf(error) === "ESRCH") return false;
    throw error;
  }
}

export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ESRCH" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** Field 3 and 22 of proc(5)'s stat; the name before them may contain anything. */
function parseStat(
  line: string | undefined,
): { readonly identity: ProcessIdentity; readonly state: string } | undefined {
  if (line === undefined) return undefined;
  const processId = Number.parseInt(line, 10);
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const startTicks = Number(fields[19]);
  if (!Number.isInteger(processId) || processId <= 1 || !Number.isInteger(startTicks)) {
    return undefined;
  }
  return { identity: { processId, startTicks }, state: fields[0] ?? "" };
}
