import { readFile } from "node:fs/promises";
import type { Exec } from "dockerode";
import type { DockerEngine } from "./docker-engine.ts";
import { readFrames } from "./docker-logs.ts";

const maxExecOutputBytes = 4 * 1024;

/** Runs a command in a container; whatever it prints beyond the limit is read and dropped. */
export async function execInDocker(
  engine: DockerEngine,
  containerId: string,
  argv: readonly string[],
  { signal }: { readonly signal: AbortSignal },
): Promise<{ readonly exitCode: number; readonly output: string }> {
  const what = `The command ${argv[0] ?? ""} cannot be run in the container`;
  const exec = await engine.call(
    what,
    (abortSignal) =>
      engine.docker
        .getContainer(containerId)
        .exec({ Cmd: [...argv], AttachStdout: true, AttachStderr: true, abortSignal }),
    { signal },
  );
  const inspect = (abortSignal: AbortSignal) => exec.inspect({ abortSignal });
  try {
    const stream = await engine.stream(
      what,
      (abortSignal) => exec.start({ Detach: false, Tty: false, abortSignal }),
      { signal },
    );
    const kept: Buffer[] = [];
    let room = maxExecOutputBytes;
    for await (const { payload } of readFrames(stream)) {
      if (room === 0) continue;
      const part = Buffer.from(payload.subarray(0, room));
      kept.push(part);
      room -= part.length;
    }
    signal.throwIfAborted();
    const { ExitCode } = await engine.call(what, inspect, { signal });
    return { exitCode: ExitCode ?? -1, output: Buffer.concat(kept).toString("utf8") };
  } catch (error) {
    if (signal.aborted) await signalExec(engine, containerId, exec, "SIGKILL");
    signal.throwIfAborted(); // Rather than what the abort did to the stream.
    throw error;
  }
}

/**
 * Signals a command with its children; false when nothing runs there any more, or nothing can
 * be done. The engine cannot end an exec, so the process is signalled from outside, and only
 * when its control group proves that it belongs to the container: under another process
 * namespace the number would mean somebody else.
 */
export async function signalExec(
  engine: DockerEngine,
  containerId: string,
  exec: Exec,
  name: NodeJS.Signals,
): Promise<boolean> {
  try {
    const signal = engine.closedSignal;
    const { Running, Pid } = await engine.call(
      "The command cannot be looked up",
      (abortSignal) => exec.inspect({ abortSignal }),
      { signal },
    );
    if (!Running || !Pid) return false;
    const groups = await readFile(`/proc/${Pid}/cgroup`, "utf8");
    if (!groups.includes(containerId)) return false;
    process.kill((await leadsItsGroup(Pid)) ? -Pid : Pid, name);
    return true;
  } catch {
    // It has ended by itself, or we may not: either way nothing else can be done.
    return false;
  }
}

async function leadsItsGroup(processId: number): Promise<boolean> {
  const status = await readFile(`/proc/${processId}/stat`, "utf8");
  // After the name, which is in brackets and may hold anything: state, parent, group.
  const group = status.slice(status.lastIndexOf(")") + 2).split(" ")[2];
  return group === String(processId);
}
