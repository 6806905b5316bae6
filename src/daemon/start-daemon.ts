import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { startAgent } from "../agent/index.ts";
import { networkProbes } from "../agent/io/probes.ts";
import { makeHandlers } from "../api/index.ts";
import { startApiServer } from "../api/io/server.ts";
import { ClusterStore, type Command, type Observations, type Outcome } from "../cluster/index.ts";
import { type Gossip, gossipTimings, startGossip } from "../gossip/index.ts";
import { Cell, type Logger, type NodeId, nodeId, type ReadableCell } from "../kernel/index.ts";
import { systemClock as clock, systemRandom as random } from "../kernel/io/system.ts";
import { AdmissionDesk } from "../network/io/admission.ts";
import { type ClusterKey, dropClusterKey, saveClusterKey } from "../network/io/cluster-key.ts";
import {
  type Credentials,
  caFingerprint,
  saveCredentials,
  validityOf,
} from "../network/io/credentials.ts";
import { type Identity, loadOrCreateIdentity } from "../network/io/identity.ts";
import { type Libp2pNetwork, startLibp2pNetwork } from "../network/io/libp2p-network.ts";
import type { ProxyConfiguration } from "../proxy/index.ts";
import { ProxyClient } from "../proxy/io/proxy-client.ts";
import {
  createPeerTransport,
  type LogStorage,
  type RaftRunner,
  raftTimings,
  startRaft,
} from "../raft/index.ts";
import { openFileLogStorage } from "../raft/io/file-log-storage.ts";
import type { ContainerRuntime } from "../runtime/index.ts";
import { chooseRuntime } from "../runtime/io/choose-runtime.ts";
import { startSchedulerLoop } from "../scheduler/index.ts";
import { admitter } from "./admit.ts";
import { announceSelf } from "./announce-self.ts";
import { makeBackend, sentencesOf } from "./backend.ts";
import { startCertificateLoop } from "./certificate-loop.ts";
import { startClusterKeyLoop } from "./cluster-key-loop.ts";
import { startDetours } from "./detour.ts";
import { watchDigests } from "./digest-watch.ts";
import { diskWarnings } from "./disk-warning.ts";
import { Doctor } from "./doctor.ts";
import { startDrainWatch } from "./drain-watch.ts";
import { addressBook, type Entered, enterCluster } from "./enter-cluster.ts";
import { watchFactsKnown } from "./facts-known.ts";
import { fileIncarnation } from "./incarnation.ts";
import { noteLogHeld, refuseLostLog } from "./log-presence.ts";
import { machineMeter, watchUsage } from "./machine-usage.ts";
import { observe } from "./observe.ts";
import { type Paths, pathsOf } from "./paths.ts";
import { watchReachability } from "./reachability.ts";
import { Recovery } from "./recovery.ts";
import {
  markRemoved,
  onOwnRemoval,
  refuseRemoved,
  removeContainers,
  removedError,
} from "./removal.ts";
import { startReportLoop } from "./report-loop.ts";
import { startRouteLoop } from "./route-loop.ts";
import type { Settings } from "./settings.ts";
import { watchSettled } from "./settled.ts";
import { TaskLogs } from "./task-logs.ts";
import { isAdminBearer } from "./tokens.ts";
import { startVoterLoop } from "./voter-loop.ts";

export type DaemonOptions = {
  readonly settings: Settings;
  readonly version: string;
  readonly logger: Logger;
  /** Something broke that only a restart from disk can mend. */
  readonly onFatal: (error: unknown) => void;
  readonly print: (text: string) => void;
  /** Whether `print` goes to a terminal, where a secret may be shown. */
  readonly isTerminal: boolean;
  readonly signal: AbortSignal;
};

export type Daemon = AsyncDisposable & {
  /** Hands leadership over and stops. Containers run on; the proxy too, unless told otherwise. */
  stop(options: { readonly keepProxy: boolean }): Promise<void>;
};

/** What every part of the daemon is made of. */
type Base = DaemonOptions & {
  readonly paths: Paths;
  readonly identity: Identity;
  readonly self: NodeId;
  readonly entered: Entered;
  /** As they were at the start: the cluster's name, key and CA stay, certificates are renewed. */
  readonly credentials: Credentials;
  readonly store: ClusterStore;
  /** Set once it is known that this node was removed from the cluster: who says so. */
  readonly removedBy: Cell<string | undefined>;
};

/**
 * Starts the daemon's parts in the order in which they need each other. Whatever has been
 * started is stopped in the exact reverse, also when a later part fails to start.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  await using starting = new AsyncDisposableStack();
  const base = await enter(options);
  const storage = starting.use(
    await openFileLogStorage({ directory: base.paths.log, onFatal: options.onFatal }),
  );
  refuseLostLog(base.paths.data, storage);
  const network = starting.use(await startNetwork(base));
  const proxy = starting.use(await startProxy(base, network));
  starting.use(
    await startDetours({
      network,
      socketPath: base.paths.detourSocket,
      edge: ownEdge(options.settings),
      logger: base.logger.child({ part: "network" }),
    }),
  );
  const knownHead = new Cell(0);
  const raft = starting.use(await startLog(base, { storage, network, knownHead, starting }));
  starting.defer(noteLogHeld(base.paths.data, raft.status));
  const submit: Submit = (command, { signal }) => base.store.submit(raft, command, { signal });
  const { observations, gossip } = await startObserving(base, { network, starting });
  starting.defer(followHead(knownHead, observations));
  const digests = starting.use(
    watchDigests({ self: base.self, store: base.store, observations, logger: base.logger }),
  );
  const { runtime, kind } = await startRuntime(base, starting);
  endWhenRemoved(base, { proxy, runtime, starting });

  const trust = startTrust(base, { network, raft, proxy, submit, starting });
  const isLeader = followLeader(raft, base.self, starting);
  starting.use(
    startVoterLoop({
      self: base.self,
      raft,
      state: base.store.state,
      observations,
      mayVote: trust.mayVote,
      clock,
      logger: base.logger,
    }),
  );
  const scheduler = starting.use(
    await startSchedulerLoop({
      isLeader,
      state: base.store.state,
      observations,
      submit,
      clock,
      random,
      logger: base.logger.child({ part: "scheduler" }),
    }),
  );
  const isSettled = watchSettled({
    barrier: (wanted) => raft.barrier(wanted),
    clock,
    logger: base.logger,
    signal: options.signal,
  });
  const isReady = starting.use(
    watchFactsKnown({
      self: base.self,
      state: base.store.state,
      observations,
      isSettled,
      clock,
      signal: options.signal,
    }),
  );
  const routes = starting.use(
    startRouteLoop({
      self: base.self,
      state: base.store.state,
      observations,
      proxy,
      isReady,
      clock,
      logger: base.logger,
    }),
  );
  const agent = await startNodeAgent(base, {
    isSettled,
    observations,
    proxy,
    runtime,
    starting,
  });
  const pending = new Cell(sentencesOf(scheduler.explanations.get()));
  starting.defer(
    scheduler.explanations.subscribe(() => pending.set(sentencesOf(scheduler.explanations.get()))),
  );
  const info = await runtime.info({ signal: options.signal });
  const measuring = new AbortController();
  starting.defer(() => measuring.abort());
  starting.use(
    startReportLoop({
      self: base.self,
      fixed: {
        skeinVersion: options.version,
        runtime: kind,
        runtimeVersion: info.version,
        platform: { os: info.os, arch: info.arch },
        capacity: { cpuMillis: info.cpuMillis, memoryBytes: info.memoryBytes },
        httpPort: options.settings.httpPort,
      },
      state: base.store.state,
      statuses: agent.statuses,
      routesIndex: routes.routesIndex,
      log: raft.status,
      isDialOutOnly: watchReachability({
        self: base.self,
        network,
        state: base.store.state,
        clock,
        logger: base.logger,
        signal: measuring.signal,
      }),
      usage: watchUsage({
        meter: machineMeter(base.paths.data),
        capacity: info,
        clock,
        logger: base.logger,
        signal: measuring.signal,
      }),
      digest: () => base.store.digest,
      pending,
      publish: (body) => gossip.publish(body),
    }),
  );
  const doctor = new Doctor({
    self: base.self,
    version: options.version,
    network,
    runtime,
    state: base.store.state,
    dataDirectory: base.paths.data,
    clock,
  });
  const backend = makeBackend({
    self: base.self,
    version: options.version,
    state: base.store.state,
    observations,
    log: raft.status,
    pending,
    warnings: () => [
      ...digests.warnings(),
      ...trust.warnings(),
      ...diskWarnings(raft.status.get(), {
        timing: raftTimings[base.settings.timing],
        directory: base.paths.log,
      }),
    ],
    taskLogs: new TaskLogs({
      self: base.self,
      network,
      runtime,
      state: base.store.state,
      clock,
      logger: base.logger,
    }),
    pins: {
      clusterId: base.credentials.clusterId,
      clusterPublicKey: base.credentials.clusterPublicKey,
      caFingerprint: caFingerprint(base.credentials.caPem),
    },
    submit,
    catchUp: async (wanted) => {
      await raft.barrier(wanted);
    },
    recovery: new Recovery({ self: base.self, raft, state: base.store.state, clock }),
    doctor: (wanted) => doctor.view(wanted),
    certificateExpiresAtMs: trust.certificatesEndMs,
    clock,
  });
  await startApi(base, { handlers: makeHandlers(backend), starting });
  announceSelf({
    ...options,
    entered: base.entered,
    self: base.self,
    state: base.store.state,
    submit,
    createToken: backend.createToken,
    clock,
  }).catch((error: unknown) => {
    if (!options.signal.aborted) options.onFatal(error);
  });

  const running = starting.move();
  return {
    stop: async ({ keepProxy }) => {
      if (isLeader.get()) {
        const limit = AbortSignal.timeout(transferTimeoutMs);
        await raft.transferLeadership({ signal: limit }).catch(() => undefined);
      }
      if (!keepProxy) await proxy.stop();
      await running.disposeAsync();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Where this node's own one port is reached from here. */
function ownEdge({ listen }: Settings): { readonly host: string; readonly port: number } {
  const here = listen.host === "0.0.0.0" ? "127.0.0.1" : listen.host === "::" ? "::1" : listen.host;
  return { host: here, port: listen.port };
}

type Submit = (command: Command, options: { readonly signal: AbortSignal }) => Promise<Outcome>;

const transferTimeoutMs = 1_500;

async function enter(options: DaemonOptions): Promise<Base> {
  const { settings, logger, signal } = options;
  const paths = pathsOf(settings.dataDirectory);
  refuseRemoved(paths.data);
  mkdirSync(paths.data, { recursive: true, mode: 0o700 });
  mkdirSync(paths.run, { recursive: true, mode: 0o700 });
  const identity = await loadOrCreateIdentity(paths.data);
  const entered = await enterCluster({ settings, identity, clock, random, logger, signal });
  const { credentials } = entered;
  logger.info({ clusterId: credentials.clusterId, how: entered.kind }, "cluster entered");
  const store = new ClusterStore();
  const removedBy = new Cell<string | undefined>(undefined);
  const self = identity.nodeId;
  return { ...options, paths, identity, self, entered, credentials, store, removedBy };
}

/** The cluster goes on without this node: it clears up after itself and ends. */
function endWhenRemoved(
  { removedBy, self, settings, store, logger, onFatal, signal }: Base,
  parts: {
    readonly proxy: ProxyClient;
    readonly runtime: ContainerRuntime;
    readonly starting: AsyncDisposableStack;
  },
): void {
  const { proxy, runtime, starting } = parts;
  const { dataDirectory } = settings;
  // After the agent has stopped, which would start again what is removed.
  starting.defer(async () => {
    if (removedBy.get() === undefined) return;
    await removeContainers(runtime, logger);
    await proxy.stop();
  });
  const end = () => {
    const by = removedBy.get();
    if (by === undefined) return;
    const name = store.state.get().nodes.get(nodeId(by))?.name ?? by;
    markRemoved(dataDirectory, name);
    dropClusterKey(dataDirectory);
    onFatal(removedError(dataDirectory, name));
  };
  starting.defer(removedBy.subscribe(end));
  end();
  starting.defer(
    onOwnRemoval({
      self,
      state: store.state,
      act: () => removedBy.set("its own copy of what was agreed"),
      clock,
      signal,
    }),
  );
}

async function startNetwork({
  identity,
  credentials,
  store,
  removedBy,
  logger,
}: Base): Promise<Libp2pNetwork> {
  const seeds = credentials.seeds.map((seed) => nodeId(seed.nodeId));
  const known = () => {
    const agreed = store.state.get().nodes;
    // Before the first entry arrives, only those are known that were there at the join.
    return new Set(agreed.size > 0 ? agreed.keys() : [identity.nodeId, ...seeds]);
  };
  const members = new Cell<ReadonlySet<NodeId>>(known());
  const removed = new Cell<ReadonlySet<NodeId>>(store.state.get().removedNodes);
  store.state.subscribe(() => {
    removed.set(store.state.get().removedNodes);
    const next = known();
    if (next.symmetricDifference(members.get()).size > 0) members.set(next);
  });
  return await startLibp2pNetwork({
    identity,
    credentials,
    listen: { host: "127.0.0.1", port: 0 },
    addressOf: addressBook(credentials, () => store.state.get()),
    members,
    removed,
    onRemoved: (by) => removedBy.set(by),
    clock,
    random,
    logger: logger.child({ part: "network" }),
  });
}

type Trust = {
  /** What a person has to look at. */
  warnings(): readonly string[];
  /** Until when this node's certificates last, wall clock, ms; later after each renewal. */
  certificatesEndMs(): number;
  /** Whether these nodes hold the cluster key: one of the voters has to, for ever. */
  readonly mayVote: Parameters<typeof startVoterLoop>[0]["mayVote"];
};

const keyAnswerMs = 2_000;

/** Lets machines in, and keeps certificates and the cluster key where they belong. */
function startTrust(
  base: Base,
  parts: {
    readonly network: Libp2pNetwork;
    readonly raft: RaftRunner;
    readonly proxy: ProxyClient;
    readonly submit: Submit;
    readonly starting: AsyncDisposableStack;
  },
): Trust {
  const { settings, paths, entered, identity, self, store, logger } = base;
  const { network, raft, proxy, submit, starting } = parts;
  const credentials = new Cell(base.credentials);
  const clusterKey = new Cell<ClusterKey | undefined>(entered.clusterKey);
  starting.defer(credentials.subscribe(() => network.useCredentials(credentials.get())));
  const desk = new AdmissionDesk({
    network,
    identity,
    credentials: () => credentials.get(),
    clusterKey: () => clusterKey.get(),
    voters: () => raft.status.get().voters,
    keyHolders: () => [...raft.status.get().voters, ...raft.status.get().learners],
    isMember: (node) => store.state.get().nodes.has(node),
    admit: admitter({ state: store.state, submit, clock }),
    now: () => clock.now(),
    lifetimeMs: settings.certificateLifetimeMs,
  });
  const keyLoop = starting.use(
    startClusterKeyLoop({
      self,
      status: raft.status,
      clusterKey,
      desk,
      save: (key) => saveClusterKey(paths.data, key),
      drop: () => dropClusterKey(paths.data),
      clock,
      logger: logger.child({ part: "trust" }),
    }),
  );
  const certificateLoop = starting.use(
    startCertificateLoop({
      credentials,
      desk,
      save: (renewed) => saveCredentials(paths.data, renewed),
      configureProxy: (renewed, wanted) =>
        proxy.configure(proxyConfiguration(base, network, renewed), wanted),
      clock,
      logger: logger.child({ part: "trust" }),
    }),
  );
  return {
    warnings: () => [...keyLoop.warnings(), ...certificateLoop.warnings()],
    certificatesEndMs: () => validityOf(credentials.get()).untilMs,
    mayVote: async (nodes, { signal }) => {
      // A leader that has lost the key itself must not keep others from voting.
      if (clusterKey.get() === undefined) return true;
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(keyAnswerMs)]);
      return (await desk.holdersAmong(nodes, { signal: inTime })).length === nodes.length;
    },
  };
}

async function startProxy(base: Base, network: Libp2pNetwork): Promise<ProxyClient> {
  const { paths, credentials, logger } = base;
  const main = fileURLToPath(new URL(`../main${extensionOf(import.meta.url)}`, import.meta.url));
  return await ProxyClient.start({
    socketPath: paths.proxySocket,
    command: [process.execPath, main, "proxy", "--socket", paths.proxySocket],
    logPath: paths.proxyLog,
    configuration: proxyConfiguration(base, network, credentials),
    logger: logger.child({ part: "proxy" }),
    clock,
  });
}

function proxyConfiguration(
  { settings, paths, self }: Base,
  network: Libp2pNetwork,
  { tlsKeyPem, tlsCertificatePem, caPem }: Credentials,
): ProxyConfiguration {
  return {
    nodeId: self,
    listenAddress: settings.listen.host,
    edgePort: settings.listen.port,
    httpPort: settings.httpPort,
    tls: {
      key: tlsKeyPem,
      // The CA goes with it, so that clients who pin it by fingerprint can see it.
      cert: `${tlsCertificatePem}\n${caPem}`,
      ca: caPem,
    },
    libp2p: { host: "127.0.0.1", port: network.listenPort },
    apiSocketPath: paths.remoteApiSocket,
    detourSocketPath: paths.detourSocket,
  };
}

/** `.ts` in the checkout, `.js` in the published package. */
function extensionOf(url: string): string {
  return url.slice(url.lastIndexOf("."));
}

async function startLog(
  { settings, self, store, entered, credentials, logger, onFatal }: Base,
  parts: {
    readonly storage: LogStorage;
    readonly network: Libp2pNetwork;
    readonly knownHead: ReadableCell<number>;
    readonly starting: AsyncDisposableStack;
  },
): Promise<RaftRunner> {
  const { storage, network, knownHead, starting } = parts;
  const seeds = credentials.seeds.map((seed) => nodeId(seed.nodeId));
  const transport = starting.use(
    createPeerTransport({ network, clock, logger: logger.child({ part: "raft" }) }),
  );
  return await startRaft({
    self,
    storage,
    stateMachine: store,
    transport,
    clock,
    random,
    logger: logger.child({ part: "raft" }),
    timing: raftTimings[settings.timing],
    bootstrap: entered.kind === "created",
    feeders: () => {
      const agreed = store.state.get().nodes;
      return agreed.size > 0 ? [...agreed.keys()] : seeds;
    },
    knownHead,
    onFatal,
  });
}

async function startObserving(
  { settings, paths, store, self, credentials, logger }: Base,
  parts: { readonly network: Libp2pNetwork; readonly starting: AsyncDisposableStack },
): Promise<{ readonly observations: ReadableCell<Observations>; readonly gossip: Gossip }> {
  const { network, starting } = parts;
  const seeds = credentials.seeds.map((seed) => nodeId(seed.nodeId));
  const admitted = new Cell<ReadonlySet<NodeId>>(new Set([self, ...seeds]));
  const update = () => {
    const { nodes } = store.state.get();
    const next = new Set<NodeId>(nodes.size > 0 ? nodes.keys() : [self, ...seeds]);
    if (next.symmetricDifference(admitted.get()).size > 0) admitted.set(next);
  };
  update();
  starting.defer(store.state.subscribe(update));
  const gossip = starting.use(
    await startGossip({
      network,
      admitted,
      incarnation: fileIncarnation(paths.data),
      clock,
      random,
      logger: logger.child({ part: "gossip" }),
      timing: gossipTimings[settings.timing],
    }),
  );
  const observing = observe(gossip);
  starting.defer(observing.stop);
  return { observations: observing.cell, gossip };
}

async function startRuntime(
  { settings, self, credentials, paths, logger, signal }: Base,
  starting: AsyncDisposableStack,
) {
  const { runtime, kind, reason } = await chooseRuntime(settings.runtime, {
    nodeId: self,
    clusterId: credentials.clusterId,
    dataDir: paths.containers,
    hostAddress: settings.listen.host,
    ...(settings.dockerNetwork === undefined ? {} : { network: settings.dockerNetwork }),
    logger: logger.child({ part: "runtime" }),
    clock,
    signal,
  });
  starting.use(runtime);
  logger.info({ runtime: kind, reason }, "runtime chosen");
  return { runtime, kind };
}

/** Keeps the highest index that any node reports, and gives the undo. */
function followHead(head: Cell<number>, observations: ReadableCell<Observations>): () => void {
  const look = () => {
    const indexes = [...observations.get().reports.values()].map(({ logIndex = 0 }) => logIndex);
    head.set(Math.max(0, ...indexes));
  };
  look();
  return observations.subscribe(look);
}

/** Whether this node leads, as a value that changes. */
function followLeader(
  raft: RaftRunner,
  self: NodeId,
  starting: AsyncDisposableStack,
): ReadableCell<boolean> {
  const leads = () => raft.status.get().leader === self;
  const isLeader = new Cell(leads());
  starting.defer(raft.status.subscribe(() => isLeader.set(leads())));
  return isLeader;
}

async function startNodeAgent(
  base: Base,
  parts: {
    readonly isSettled: ReadableCell<boolean>;
    readonly observations: ReadableCell<Observations>;
    readonly proxy: ProxyClient;
    readonly runtime: ContainerRuntime;
    readonly starting: AsyncDisposableStack;
  },
) {
  const { isSettled, observations, proxy, runtime, starting } = parts;
  const { self, credentials, store } = base;
  const logger = base.logger.child({ part: "agent" });
  const draining = starting.use(
    startDrainWatch({
      self,
      state: store.state,
      observations,
      inUse: (tasks, wanted) => proxy.inUse(tasks, wanted),
      clock,
      logger,
    }),
  );
  return starting.use(
    await startAgent({
      self,
      clusterId: credentials.clusterId,
      state: store.state,
      runtime,
      probes: networkProbes,
      isSettled,
      drained: (task) => draining.drained.get().has(task.id),
      drainChanged: draining.drained,
      clock,
      logger,
    }),
  );
}

async function startApi(
  { paths, store, logger }: Base,
  parts: {
    readonly handlers: ReturnType<typeof makeHandlers>;
    readonly starting: AsyncDisposableStack;
  },
): Promise<void> {
  const { handlers, starting } = parts;
  const api = logger.child({ part: "api" });
  const authorize = (bearer: string | undefined) =>
    isAdminBearer(store.state.get(), bearer, clock.now());
  starting.use(
    await startApiServer({ handlers, socketPath: paths.remoteApiSocket, authorize, logger: api }),
  );
  starting.use(await startApiServer({ handlers, socketPath: paths.apiSocket, logger: api }));
  api.info({ socketPath: paths.apiSocket }, "API listens");
}
