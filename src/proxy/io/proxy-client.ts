import {
  Cell,
  type Clock,
  type Logger,
  messageOf,
  type TaskId,
  whenCell,
} from "../../kernel/index.ts";
import { controlProtocolVersion } from "../control-protocol.ts";
import { ProxyError } from "../errors.ts";
import type { PortProblem, ProxyConfiguration, ProxyStats, RoutePlan, TableAck } from "../index.ts";
import { ControlConnection } from "./control-connection.ts";
import { spawnProxy } from "./spawn-proxy.ts";

/** From starting the process until it answers, on a busy machine. */
const startTimeoutMs = 15_000;
const startPollMs = 50;
const stopTimeoutMs = 10_000;
/** Pause before a proxy that died is started again; doubled with each failure. */
const respawnMinMs = 100;
const respawnMaxMs = 5_000;

export type ProxyClientOptions = {
  /** The proxy's control socket. */
  readonly socketPath: string;
  /** Program and arguments that run `runProxyProcess` on that socket. */
  readonly command: readonly string[];
  /** Takes what the process prints. Default: beside the socket. */
  readonly logPath?: string;
  readonly configuration: ProxyConfiguration;
  readonly logger: Logger;
  readonly clock: Clock;
};

type Session = {
  readonly connection: ControlConnection;
  version: number;
  /** Ports of the configuration that could not be bound at once. */
  readonly problems: readonly PortProblem[];
};

/** A table that was sent, by its place in the order of `setTable` calls. */
type Acknowledged = { readonly sequence: number; readonly ack: TableAck };

/**
 * A daemon's hold on its proxy process: attaches to the one that runs or starts one, starts
 * it again when it dies, and tells it again what it has to know. Disposing lets go of it and
 * leaves it running.
 */
export class ProxyClient implements AsyncDisposable {
  readonly #options: ProxyClientOptions;
  readonly #stopping = new AbortController();
  readonly #session = new Cell<Session | undefined>(undefined);
  readonly #acknowledged = new Cell<Acknowledged | undefined>(undefined);
  #configuration: ProxyConfiguration;
  #wanted: { readonly sequence: number; readonly plan: RoutePlan } | undefined;
  #isSending = false;
  #hasStarted = false;
  #done: Promise<void> = Promise.resolve();

  /**
   * @throws ProxyError `proxy_unreachable` when it can neither be attached to nor started,
   *   `port_taken` when the cluster's port is another process's.
   */
  static async start(options: ProxyClientOptions): Promise<ProxyClient> {
    const client = new ProxyClient(options);
    const session = await client.#attachOrSpawn();
    const { edgePort } = options.configuration;
    const taken = session.problems.find(({ port }) => port === edgePort);
    if (taken !== undefined) {
      await stopProxy(session.connection, AbortSignal.timeout(stopTimeoutMs));
      throw new ProxyError("port_taken", taken.message);
    }
    client.#done = client.#keep(session);
    return client;
  }

  private constructor(options: ProxyClientOptions) {
    this.#options = options;
    this.#configuration = options.configuration;
  }

  /** Whether the process was started by this client, and not found running. */
  get hasStarted(): boolean {
    return this.#hasStarted;
  }

  /** Whether the process answers at the moment. */
  get isAttached(): boolean {
    return this.#session.get() !== undefined;
  }

  /**
   * Resolves when the proxy acts by this table or by a newer one. Tables that were overtaken
   * by a newer one are never sent. Waits through a restart of the proxy.
   */
  async setTable(plan: RoutePlan, { signal }: { readonly signal: AbortSignal }): Promise<TableAck> {
    const sequence = (this.#wanted?.sequence ?? 0) + 1;
    this.#wanted = { sequence, plan };
    this.#send();
    const either = AbortSignal.any([signal, this.#stopping.signal]);
    const isReached = (value: Acknowledged | undefined) =>
      value !== undefined && value.sequence >= sequence;
    const acknowledged = await whenCell(this.#acknowledged, isReached, { signal: either });
    return acknowledged?.ack ?? { version: 0, problems: [] };
  }

  /** Replaces certificates or ports in place. */
  async configure(
    configuration: ProxyConfiguration,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    this.#configuration = configuration;
    const { connection } = this.#attached();
    await connection.request({ kind: "configure", configuration }, { signal });
  }

  /** How many requests, relays and tunnels are under way at each of these local tasks. */
  async inUse(
    taskIds: readonly TaskId[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<ReadonlyMap<TaskId, number>> {
    const { connection } = this.#attached();
    const request = { kind: "inUse" as const, taskIds };
    const { counts } = await connection.request(request, { signal });
    return new Map(taskIds.map((task) => [task, counts[task] ?? 0]));
  }

  async stats({ signal }: { readonly signal: AbortSignal }): Promise<ProxyStats> {
    const { kind: _, ...stats } = await this.#attached().connection.request(
      { kind: "stats" },
      { signal },
    );
    return stats;
  }

  /** Ports that cannot be served at the moment; the proxy tries them again by itself. */
  async problems(options: { readonly signal: AbortSignal }): Promise<readonly PortProblem[]> {
    return (await this.stats(options)).problems ?? [];
  }

  /** Lets go of the proxy, which goes on with what it knows. */
  async detach(): Promise<void> {
    this.#stopping.abort(new ProxyError("proxy_unreachable", "This daemon let go of its proxy."));
    this.#session.get()?.connection[Symbol.dispose]();
    await this.#done;
  }

  /** Ends the proxy process, and with it all traffic through this node. */
  async stop(): Promise<void> {
    // First let go, so that its end is not mistaken for a death.
    await this.detach();
    await stopProxyAt(this.#options.socketPath);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.detach();
  }

  /** Holds on to the proxy until this client is told to let go. Never rejects. */
  async #keep(first: Session): Promise<void> {
    const { logger, clock } = this.#options;
    const { signal } = this.#stopping;
    let session: Session | undefined = first;
    let failures = 0;
    while (!signal.aborted) {
      if (session !== undefined) {
        this.#session.set(session);
        this.#send();
        await session.connection.closed;
        this.#session.set(undefined);
        if (signal.aborted) return;
        logger.warn({}, "proxy gone");
        session = undefined;
      }
      const pauseMs = Math.min(respawnMinMs * 2 ** failures, respawnMaxMs);
      await clock.sleep(pauseMs, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        session = await this.#attachOrSpawn();
        failures = 0;
      } catch (error) {
        failures += 1;
        if (!signal.aborted) logger.error({ error: messageOf(error) }, "proxy does not start");
      }
    }
    session?.connection[Symbol.dispose]();
  }

  async #attachOrSpawn(): Promise<Session> {
    const { socketPath, command, logPath, logger } = this.#options;
    const running = await this.#attach().catch(unlessUnreachable);
    if (running !== undefined) return running;
    logger.info({ socketPath }, "starting the proxy");
    await spawnProxy(command, logPath ?? `${socketPath}.log`).catch((cause: unknown) => {
      const program = command[0] ?? "";
      const message = `The proxy cannot be started with ${program}: ${messageOf(cause)}.`;
      throw new ProxyError("proxy_unreachable", message, { cause });
    });
    this.#hasStarted = true;
    return await this.#awaitStart();
  }

  async #awaitStart(): Promise<Session> {
    const { clock, socketPath, logPath } = this.#options;
    const giveUpAtMs = clock.monotonic() + startTimeoutMs;
    for (;;) {
      const session = await this.#attach().catch(unlessUnreachable);
      if (session !== undefined) return session;
      if (clock.monotonic() > giveUpAtMs) {
        const log = logPath ?? `${socketPath}.log`;
        const message = `The proxy did not answer at ${socketPath} within ${startTimeoutMs} ms. Its log is ${log}.`;
        throw new ProxyError("proxy_unreachable", message);
      }
      await clock.sleep(startPollMs, { signal: this.#stopping.signal });
    }
  }

  /** A session with a proxy that runs, speaks this protocol and has the configuration. */
  async #attach(): Promise<Session | undefined> {
    const { signal } = this.#stopping;
    const { socketPath, logger } = this.#options;
    const connection = await ControlConnection.open(socketPath);
    try {
      const hello = await connection.request({ kind: "hello" }, { signal });
      if (hello.protocol !== controlProtocolVersion) {
        logger.info(
          { theirs: hello.protocol, ours: controlProtocolVersion },
          "replacing the proxy",
        );
        await stopProxy(connection, signal);
        return undefined;
      }
      const configuration = this.#configuration;
      const { problems } = await connection.request(
        { kind: "configure", configuration },
        { signal },
      );
      if (problems.length > 0) logger.warn({ problems }, "some ports cannot be served");
      logger.info({ pid: hello.pid, tableVersion: hello.tableVersion }, "proxy attached");
      return { connection, version: hello.tableVersion, problems };
    } catch (error) {
      connection[Symbol.dispose]();
      throw error;
    }
  }

  #attached(): Session {
    const session = this.#session.get();
    if (session !== undefined) return session;
    throw new ProxyError("proxy_unreachable", "The proxy process is being started.");
  }

  /** Sends the newest table, one at a time. */
  #send(): void {
    const session = this.#session.get();
    if (this.#isSending || session === undefined || this.#wanted === undefined) return;
    this.#isSending = true;
    void this.#sendNewest(session).finally(() => {
      this.#isSending = false;
      // The session ended while a table was on its way: the next one sends it again.
      if (this.#session.get() !== session) this.#send();
    });
  }

  async #sendNewest(session: Session): Promise<void> {
    let sent = 0;
    try {
      while (this.#wanted !== undefined && this.#wanted.sequence !== sent) {
        const { sequence, plan } = this.#wanted;
        const table = { ...plan, version: session.version + 1 };
        const { version, problems } = await session.connection.request(
          { kind: "table", table },
          { signal: this.#stopping.signal },
        );
        session.version = version;
        sent = sequence;
        this.#acknowledged.set({ sequence, ack: { version, problems } });
      }
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#options.logger.warn({ error: messageOf(error) }, "routes not delivered");
      // A session on which a table fails is not trusted any more; the next one starts afresh.
      session.connection[Symbol.dispose]();
    }
  }
}

/** Asks a proxy to end and waits until it has let go of its connection. */
/** Ends the proxy process of a control socket, where one answers: with it all of its traffic. */
export async function stopProxyAt(socketPath: string): Promise<void> {
  const connection = await ControlConnection.open(socketPath).catch(unlessUnreachable);
  if (connection === undefined) return;
  await stopProxy(connection, AbortSignal.timeout(stopTimeoutMs)).catch(unlessUnreachable);
}

async function stopProxy(connection: ControlConnection, signal: AbortSignal): Promise<void> {
  await connection.request({ kind: "stop" }, { signal });
  await connection.closed;
}

function unlessUnreachable(error: unknown): undefined {
  if (error instanceof ProxyError && error.code === "proxy_unreachable") return undefined;
  throw error;
}

/** Attaches to the node's proxy process, or starts it. */
export function startProxy(options: ProxyClientOptions): Promise<ProxyClient> {
  return ProxyClient.start(options);
}
