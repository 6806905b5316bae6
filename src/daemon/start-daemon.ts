import { Cell, nodeId } from "../kernel/index.ts";
import { systemClock as clock, systemRandom as random } from "../kernel/io/system.ts";
import { dropClusterKey } from "../network/io/cluster-key.ts";
import type { ProxyClient } from "../proxy/io/proxy-client.ts";
import { openFileLogStorage } from "../raft/io/file-log-storage.ts";
import type { ContainerRuntime } from "../runtime/index.ts";
import { startSchedulerLoop } from "../scheduler/index.ts";
import { announceSelf } from "./announce-self.ts";
import { sentencesOf } from "./backend.ts";
import { type Base, type DaemonOptions, enter, type Submit } from "./base.ts";
import { startDetours } from "./detour.ts";
import { watchDigests } from "./digest-watch.ts";
import { watchFactsKnown } from "./facts-known.ts";
import { noteLogHeld, refuseLostLog } from "./log-presence.ts";
import { markRemoved, onOwnRemoval, removeContainers, removedError } from "./removal.ts";
import { startRouteLoop } from "./route-loop.ts";
import { watchSettled } from "./settled.ts";
import { startNodeAgent, startRuntime } from "./start-agent.ts";
import { startApi } from "./start-api.ts";
import { startEvents } from "./start-events.ts";
import { followLeader, startLog } from "./start-log.ts";
import { startNetwork } from "./start-network.ts";
import { followHead, startObserving } from "./start-observing.ts";
import { ownEdge, startProxy } from "./start-proxy.ts";
import { startReporting } from "./start-reporting.ts";
import { startTrust } from "./start-trust.ts";
import { startVoterLoop } from "./voter-loop.ts";

export type Daemon = AsyncDisposable & {
  /** Hands leadership over and stops. Containers run on; the proxy too, unless told otherwise. */
  stop(options: { readonly keepProxy: boolean }): Promise<void>;
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
  const events = await startEvents(base, starting);
  const network = starting.use(await startNetwork(base));
  const proxy = starting.use(await startProxy(base, network));
  let hasFailed = true;
  // It would hold the ports, and there is nothing yet that it could serve.
  starting.defer(async () => {
    if (hasFailed && proxy.hasStarted) await proxy.stop();
  });
  const ending = new AbortController();
  starting.defer(() => ending.abort());
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
  const submit: Submit = (command, wanted) =>
    base.store.submit(raft, command, { ...wanted, atMs: clock.now() });
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
  const sinceMs = clock.monotonic();
  const isSettled = watchSettled({
    barrier: (wanted) => raft.barrier(wanted),
    clock,
    logger: base.logger,
    signal: AbortSignal.any([options.signal, ending.signal]),
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
    sinceMs,
    barrier: (wanted) => raft.barrier(wanted),
    observations,
    proxy,
    runtime,
    starting,
  });
  const pending = new Cell(sentencesOf(scheduler.explanations.get()));
  starting.defer(
    scheduler.explanations.subscribe(() => pending.set(sentencesOf(scheduler.explanations.get()))),
  );
  starting.defer(
    events.watch({
      statuses: agent.statuses,
      members: gossip.members,
      log: raft.status,
      explanations: scheduler.explanations,
    }),
  );
  await startReporting(base, {
    runtime,
    kind,
    agent,
    routesIndex: routes.routesIndex,
    awaited: routes.awaited,
    raft,
    network,
    pending,
    gossip,
    eventsHead: events.journal.head,
    starting,
  });
  const { createToken } = await startApi(base, {
    network,
    raft,
    observations,
    runtime,
    trust,
    pending,
    warnings: () => [...digests.warnings(), ...gossip.warnings()],
    portProblems: routes.problems,
    submit,
    events,
    starting,
  });
  announceSelf({
    ...options,
    entered: base.entered,
    self: base.self,
    state: base.store.state,
    submit,
    createToken,
    clock,
  }).catch((error: unknown) => {
    if (!options.signal.aborted) options.onFatal(error);
  });

  hasFailed = false;
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

const transferTimeoutMs = 1_500;

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
