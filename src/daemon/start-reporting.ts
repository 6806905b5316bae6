import type { Gossip } from "../gossip/index.ts";
import type { ReadableCell, ServiceKey, TaskId } from "../kernel/index.ts";
import { systemClock as clock } from "../kernel/io/system.ts";
import type { Libp2pNetwork } from "../network/io/libp2p-network.ts";
import type { RaftRunner } from "../raft/index.ts";
import type { ContainerRuntime } from "../runtime/index.ts";
import type { Base } from "./base.ts";
import { machineMeter, watchUsage } from "./machine-usage.ts";
import { watchReachability } from "./reachability.ts";
import { startReportLoop } from "./report-loop.ts";
import type { startNodeAgent, startRuntime } from "./start-agent.ts";

/** Measures this machine, and publishes this node's report whenever something of it changed. */
export async function startReporting(
  { self, store, paths, settings, version, logger, signal }: Base,
  parts: {
    readonly runtime: ContainerRuntime;
    readonly kind: Awaited<ReturnType<typeof startRuntime>>["kind"];
    readonly agent: Awaited<ReturnType<typeof startNodeAgent>>;
    readonly routesIndex: ReadableCell<number>;
    readonly awaited: ReadableCell<readonly TaskId[]>;
    readonly raft: RaftRunner;
    readonly network: Libp2pNetwork;
    readonly pending: ReadableCell<ReadonlyMap<ServiceKey, readonly string[]>>;
    readonly gossip: Gossip;
    readonly eventsHead: ReadableCell<number>;
    readonly starting: AsyncDisposableStack;
  },
): Promise<void> {
  const {
    runtime,
    kind,
    agent,
    routesIndex,
    awaited,
    raft,
    network,
    pending,
    gossip,
    eventsHead,
    starting,
  } = parts;
  const info = await runtime.info({ signal });
  const measuring = new AbortController();
  starting.defer(() => measuring.abort());
  starting.use(
    startReportLoop({
      self,
      fixed: {
        skeinVersion: version,
        runtime: kind,
        runtimeVersion: info.version,
        platform: { os: info.os, arch: info.arch },
        capacity: { cpuMillis: info.cpuMillis, memoryBytes: info.memoryBytes },
        httpPort: settings.httpPort,
      },
      state: store.state,
      statuses: agent.statuses,
      hasLooked: agent.hasLooked,
      isEngineSilent: agent.isEngineSilent,
      eventsHead,
      routesIndex,
      awaited,
      log: raft.status,
      isDialOutOnly: watchReachability({
        self,
        network,
        state: store.state,
        clock,
        logger,
        signal: measuring.signal,
      }),
      usage: watchUsage({
        meter: machineMeter(paths.data),
        capacity: info,
        clock,
        logger,
        signal: measuring.signal,
      }),
      digest: () => store.digest,
      pending,
      publish: (body) => gossip.publish(body),
      clock,
    }),
  );
}
