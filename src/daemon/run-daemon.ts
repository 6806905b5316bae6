import { flushCompileCache } from "node:module";
import { CodedError, codeOf, messageOf } from "../kernel/index.ts";
import { makeLogger } from "./log-output.ts";
import type { Settings } from "./settings.ts";
import { startDaemon } from "./start-daemon.ts";

/** Stopping must not hang a machine's shutdown: past this the process just ends. */
const stopTimeoutMs = 4_500;

/**
 * Runs the daemon until SIGTERM or SIGINT and resolves with the exit status. SIGTERM leaves
 * containers and the proxy running, for a restart or an upgrade; SIGINT stops the proxy too.
 */
export async function runDaemon(
  settings: Settings,
  { version, mainPath }: { readonly version: string; readonly mainPath: string },
): Promise<number> {
  const logger = makeLogger({
    level: settings.logLevel,
    node: settings.name,
    isTerminal: process.stderr.isTTY === true,
  });
  const stopping = new AbortController();
  let signalled: NodeJS.Signals | undefined;
  const stop = (signal: NodeJS.Signals) => {
    // A second signal means that the person does not want to wait.
    if (signalled !== undefined) process.exit(1);
    signalled = signal;
    stopping.abort(new Error(`stopped by ${signal}`));
    setTimeout(() => process.exit(0), stopTimeoutMs).unref();
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  const fatal = Promise.withResolvers<never>();
  fatal.promise.catch(() => undefined);
  let hasStarted = false;
  try {
    await using daemon = await startDaemon({
      settings,
      version,
      mainPath,
      logger,
      onFatal: fatal.reject,
      print: (text) => process.stdout.write(text),
      isTerminal: process.stdout.isTTY === true,
      signal: stopping.signal,
    });
    hasStarted = true;
    // Else compiled code is kept only by a process that ends in good order.
    flushCompileCache();
    await Promise.race([aborted(stopping.signal), fatal.promise]);
    logger.info({ signal: signalled }, "stopping");
    await daemon.stop({ keepProxy: signalled !== "SIGINT" });
    return 0;
  } catch (error) {
    if (stopping.signal.aborted) return 0;
    // Whoever starts it reads the plain message; a supervisor reads the log.
    if (hasStarted) {
      logger.error({ code: codeOf(error), error: messageOf(error) }, "the daemon ends");
    }
    throw hasStarted ? error : inWords(error, settings);
  }
}

/** A full or read-only disk may name no file: then at least where the daemon keeps its own. */
function inWords(error: unknown, { dataDirectory }: Settings): unknown {
  const isOfFiles = error instanceof Error && messageOf(error) !== error.message;
  if (!isOfFiles) return error;
  const text = `The daemon cannot start with its data in ${dataDirectory}: ${messageOf(error)}.`;
  return new CodedError("storage_failed", text, { cause: error });
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
}
