import { spawn } from "node:child_process";
import { closeSync, fstatSync, ftruncateSync, openSync } from "node:fs";

/** A log that has grown beyond this is begun anew with the next proxy. */
const logMaxBytes = 16 * 1024 * 1024;

/**
 * Starts a proxy process in a session of its own, so that neither the daemon's end nor a
 * signal to its terminal reaches it. What it prints is appended to the log file.
 */
export async function spawnProxy(command: readonly string[], logPath: string): Promise<void> {
  const [program, ...args] = command;
  if (program === undefined) throw new Error("The command that starts the proxy is empty.");
  const log = openSync(logPath, "a", 0o600);
  try {
    if (fstatSync(log).size > logMaxBytes) ftruncateSync(log);
    const child = spawn(program, args, { detached: true, stdio: ["ignore", log, log] });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.once("spawn", resolve);
    child.once("error", reject);
    await promise;
    child.unref();
  } finally {
    closeSync(log);
  }
}
