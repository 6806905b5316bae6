import { type Random, randomBelow, type TaskId } from "../../kernel/index.ts";
import { Balancer } from "../balancer.ts";
import type { PortProblem, ProxyConfiguration, ProxyStats } from "../control-protocol.ts";
import { HostRouter } from "../host-router.ts";
import {
  type Backend,
  emptyRouteTable,
  type PublishedPort,
  type RouteTable,
} from "../route-table.ts";
import type { Counters, ProxyContext } from "./context.ts";
import { tlsIdentity } from "./data-path.ts";
import { Dialer } from "./dialer.ts";
import { Edge } from "./edge.ts";
import type { LiveBackend } from "./find-endpoint.ts";
import { clientConnectionsMax, rebindIntervalMs, sweepIntervalMs } from "./limits.ts";
import { ListenerSet, type WantedListener } from "./listener-set.ts";
import { LocalUsage } from "./local-usage.ts";
import { serveHttp, UndecidedConnection } from "./published-port.ts";
import { ConnectionLimit, type ServeSocket } from "./tcp-listener.ts";
import { RelayedConnection } from "./tcp-relay.ts";
import { endpointKey, UpstreamEndpoint } from "./upstream-endpoint.ts";

/** Divided by the number of endpoints when it is used. */
const cursorRange = 1 << 20;

export type ProxyEngineOptions = {
  readonly random: Random;
  /** Whether a daemon is there to take connections to it. */
  readonly isDaemonAttached: () => boolean;
};

/**
 * Everything that the proxy process does with traffic. It is given a configuration and route
 * tables, and changes its ports and routes in place: connections that are open stay open.
 */
export class ProxyEngine implements AsyncDisposable {
  readonly #options: ProxyEngineOptions;
  readonly #counters: Counters = { requests: 0, retries: 0, refusals: 0 };
  readonly #usage = new LocalUsage();
  readonly #dialer = new Dialer();
  readonly #limit = new ConnectionLimit(clientConnectionsMax);
  readonly #listeners = new ListenerSet(this.#limit);
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #context: ProxyContext;
  #configuration: ProxyConfiguration | undefined;
  #edge: Edge | undefined;
  #table: RouteTable = emptyRouteTable;
  #endpoints = new Map<string, UpstreamEndpoint>();
  /** Those that left the table while something was still using them. */
  readonly #retired = new Set<UpstreamEndpoint>();
  #backends = new Map<string, LiveBackend>();
  #hosts = new HostRouter<LiveBackend>([]);
  #local = new Map<string, RouteTable["local"][number]>();

  constructor(options: ProxyEngineOptions) {
    this.#options = options;
    this.#context = {
      nowMs: () => performance.now(),
      dialer: this.#dialer,
      usage: this.#usage,
      counters: this.#counters,
    };
    const rebind = () => {
      if (this.#listeners.problems.length > 0) void this.#listeners.retry();
    };
    this.#timers = [
      setInterval(() => this.#sweep(), sweepIntervalMs),
      setInterval(rebind, rebindIntervalMs),
    ];
  }

  get tableVersion(): number {
    return this.#table.version;
  }

  get problems(): readonly PortProblem[] {
    return this.#listeners.problems;
  }

  async configure(configuration: ProxyConfiguration): Promise<void> {
    // Throws when the key or a certificate is unusable, before anything has changed.
    this.#dialer.configure(tlsIdentity(configuration.tls), configuration.detourSocketPath);
    this.#configuration = configuration;
    if (this.#edge === undefined) {
      this.#edge = new Edge(configuration, {
        find: (task, target) => this.#local.get(`${task}:${target}`),
        usage: this.#usage,
        isDaemonAttached: this.#options.isDaemonAttached,
      });
      this.#edge.refuse(this.#table.removedNodes ?? []);
    } else {
      this.#edge.reconfigure(configuration);
    }
    await this.#listeners.apply(this.#wantedListeners());
  }

  /** Takes over a table; one that is not newer than the present one is ignored. */
  async apply(table: RouteTable): Promise<void> {
    if (table.version <= this.#table.version) return;
    this.#table = table;
    this.#local = new Map(table.local.map((each) => [`${each.taskId}:${each.target}`, each]));
    const before = this.#endpoints;
    const backendsBefore = this.#backends;
    this.#endpoints = new Map();
    this.#backends = new Map();
    for (const { port, backend } of table.publishedPorts) {
      this.#keepBackend(`${port}`, backend, { before, backendsBefore });
    }
    this.#hosts = new HostRouter(
      table.hostRoutes.map(({ host, path, backend }) => ({
        host,
        path,
        value: this.#keepBackend(`${host}${path}`, backend, { before, backendsBefore }),
      })),
    );
    this.#retireMissing(before);
    this.#edge?.refuse(table.removedNodes ?? []);
    await this.#listeners.apply(this.#wantedListeners());
  }

  inUse(task: TaskId): number {
    return this.#usage.count(task);
  }

  stats(): ProxyStats {
    const { tableVersion, problems } = this;
    return { tableVersion, connections: this.#limit.open, ...this.#counters, problems };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#listeners[Symbol.asyncDispose]();
    for (const endpoint of this.#endpoints.values()) endpoint.retire();
  }

  /** What was known of the backend and its endpoints (turn, health, connections) is kept. */
  #keepBackend(
    key: string,
    backend: Backend,
    {
      before,
      backendsBefore,
    }: {
      readonly before: ReadonlyMap<string, UpstreamEndpoint>;
      readonly backendsBefore: ReadonlyMap<string, LiveBackend>;
    },
  ): LiveBackend {
    const endpoints = backend.endpoints.map((endpoint) => {
      const name = endpointKey(endpoint);
      const known = this.#endpoints.get(name) ?? before.get(name);
      const kept = known ?? new UpstreamEndpoint(endpoint, this.#usage);
      this.#endpoints.set(name, kept);
      return kept;
    });
    const known = backendsBefore.get(key);
    // Over a wide range: a backend begins with one endpoint or none, and gets others later.
    const start = randomBelow(this.#options.random, cursorRange);
    const balancer = known?.balancer ?? new Balancer(endpoints, start);
    balancer.replace(endpoints);
    const live = { service: backend.service, balancer };
    this.#backends.set(key, live);
    return live;
  }

  #retireMissing(before: ReadonlyMap<string, UpstreamEndpoint>): void {
    for (const [key, endpoint] of before) {
      if (this.#endpoints.has(key)) continue;
      endpoint.retire();
      this.#retired.add(endpoint);
    }
    const silent = new Map(this.#table.silentNodes.map((each) => [each.nodeId, each]));
    for (const endpoint of this.#retired) {
      const { via } = endpoint.endpoint;
      const node = via.kind === "node" ? silent.get(via.nodeId) : undefined;
      if (node !== undefined) endpoint.nodeIsSilent(node);
    }
  }

  #wantedListeners(): readonly WantedListener[] {
    const configuration = this.#configuration;
    const edge = this.#edge;
    if (configuration === undefined || edge === undefined) return [];
    const { listenAddress: host, edgePort, httpPort } = configuration;
    const byHost: ServeSocket = (socket) =>
      serveHttp(socket, (name, target) => this.#hosts.find(name, target), this.#context);
    return [
      { host, port: edgePort, use: "the cluster", serve: edge.serve },
      { host, port: httpPort, use: "the HTTP routes", serve: byHost },
      ...this.#table.publishedPorts.map((published) => this.#publish(host, published)),
    ];
  }

  #publish(host: string, { port, appProtocol, backend }: PublishedPort): WantedListener {
    const current = () => this.#backends.get(`${port}`);
    const use = `service ${backend.service} (${appProtocol})`;
    return { host, port, use, serve: (socket) => this.#servePort(socket, appProtocol, current) };
  }

  #servePort(
    socket: Parameters<ServeSocket>[0],
    appProtocol: PublishedPort["appProtocol"],
    current: () => LiveBackend | undefined,
  ): ReturnType<ServeSocket> {
    switch (appProtocol) {
      case "http":
        return serveHttp(socket, current, this.#context);
      case "tcp":
        return new RelayedConnection(socket, current, { context: this.#context, first: undefined });
      case "auto":
        return new UndecidedConnection(socket, current, this.#context);
    }
  }

  #sweep(): void {
    const nowMs = performance.now();
    this.#listeners.checkDeadlines(nowMs);
    for (const endpoint of this.#endpoints.values()) endpoint.closeIdleSince(nowMs);
    for (const endpoint of this.#retired) if (!endpoint.isInUse) this.#retired.delete(endpoint);
  }
}
