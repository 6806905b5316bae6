import { spawn } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

/** The top of the checkout. */
export const root: string = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a command with its output shown; resolves with its exit status (128 + n for a signal). */
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
  const { promise, resolve } = Promise.withResolvers<number>();
  child.on("error", (error) => {
    console.error(`${command}: ${error.message}`);
    resolve(127);
  });
  child.on("exit", (code) => resolve(code ?? 128));
  return await promise;
}
