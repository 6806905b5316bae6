import { type ChildProcess, spawn } from "node:child_process";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The top of the checkout. */
export const root: string = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a command with its output shown; resolves with its exit status (128 for a signal). */
export async function run(
  command: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>> } = {},
): Promise<number> {
  const child = spawn(command, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...options.env },
  });
  return await statusOf(child, command);
}

/** Runs a command and hands each line of its output to `onLine`; resolves with its exit status. */
export async function runLines(
  command: string,
  args: readonly string[],
  onLine: (line: string) => void,
): Promise<number> {
  const child = spawn(command, args, { cwd: root, stdio: ["inherit", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const closed = new Promise((resolve) => lines.once("close", resolve));
  lines.on("line", onLine);
  const status = await statusOf(child, command);
  await closed;
  return status;
}

async function statusOf(child: ChildProcess, command: string): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  child.on("error", (error) => {
    console.error(`${command}: ${error.message}`);
    resolve(127);
  });
  child.on("exit", (code) => resolve(code ?? 128));
  return await promise;
}
