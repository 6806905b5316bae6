import { pino } from "pino";
import { type Logger, messageOf } from "../../kernel/index.ts";
import { logDestination } from "../../kernel/io/log-destination.ts";
import { systemRandom } from "../../kernel/io/system.ts";
import {
  type ControlAnswer,
  type ControlRequest,
  controlProtocolVersion,
} from "../control-protocol.ts";
import { ControlSocket } from "./control-socket.ts";
import { ProxyEngine } from "./proxy-engine.ts";

/** How often a proxy without a daemon looks whether one could still find it. */
const orphanCheckIntervalMs = 5_000;

export type ProxyProcessOptions = {
  readonly socketPath: string;
  /** Default: JSON lines on standard output, which the daemon sends to a file. */
  readonly logger?: Logger;
};

/**
 * The proxy as a process of its own. Resolves when it was told to stop, by its control socket
 * or by SIGTERM. It outlives daemons: it goes on with what the last one told it.
 */
export async function runProxyProcess({ socketPath, logger }: ProxyProcessOptions): Promise<void> {
  const log: Logger = logger ?? pino({ name: "proxy" }, logDestination(1));
  await using proxy = await startProxyServer({ socketPath, logger: log });
  process.on("SIGTERM", proxy.requestStop);
  process.on("SIGINT", proxy.requestStop);
  log.info({ socketPath, pid: process.pid }, "proxy started");
  await proxy.stopped;
  process.off("SIGTERM", proxy.requestStop);
  process.off("SIGINT", proxy.requestStop);
  log.info({}, "proxy stopped");
}

type ProxyServer = AsyncDisposable & {
  readonly requestStop: () => void;
  /** Resolves when a stop was requested; disposing does the stopping. */
  readonly stopped: Promise<void>;
};

/** Engine and control socket together. */
export async function startProxyServer({
  socketPath,
  logger,
}: Required<ProxyProcessOptions>): Promise<ProxyServer> {
  const { promise: stopped, resolve: requestStop } = Promise.withResolvers<void>();
  let attached = 0;
  const engine = new ProxyEngine({ random: systemRandom, isDaemonAttached: () => attached > 0 });
  const control = await ControlSocket.open({
    path: socketPath,
    answer: (request) => answer(engine, request, { requestStop, logger }),
    onAttached: (count) => {
      if (count === 0) logger.info({}, "no daemon attached, going on alone");
      attached = count;
    },
  }).catch(async (error: unknown) => {
    await engine[Symbol.asyncDispose]();
    throw error;
  });
  const orphanCheck = setInterval(() => {
    // Without its socket no daemon can ever find this process, but its ports would be taken.
    if (attached === 0 && !control.isReachable()) requestStop();
  }, orphanCheckIntervalMs);
  return {
    requestStop,
    stopped,
    [Symbol.asyncDispose]: async () => {
      clearInterval(orphanCheck);
      await engine[Symbol.asyncDispose]();
      await control[Symbol.asyncDispose]();
    },
  };
}

async function answer(
  engine: ProxyEngine,
  request: ControlRequest,
  { requestStop, logger }: { readonly requestStop: () => void; readonly logger: Logger },
): Promise<ControlAnswer> {
  switch (request.kind) {
    case "hello":
      return {
        kind: "hello",
        protocol: controlProtocolVersion,
        pid: process.pid,
        tableVersion: engine.tableVersion,
      };
    case "configure":
      try {
        await engine.configure(request.configuration);
      } catch (error) {
        logger.error({ error: messageOf(error) }, "configuration not usable");
        throw error;
      }
      return { kind: "configure", problems: engine.problems };
    case "table":
      await engine.apply(request.table);
      return { kind: "table", version: engine.tableVersion, problems: engine.problems };
    case "inUse":
      return {
        kind: "inUse",
        counts: Object.fromEntries(request.taskIds.map((task) => [task, engine.inUse(task)])),
      };
    case "stats":
      return { kind: "stats", ...engine.stats() };
    case "stop":
      // After the answer is on its way.
      setImmediate(requestStop);
      return { kind: "stop" };
  }
}
