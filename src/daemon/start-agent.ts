import { startAgent } from "../agent/index.ts";
import { networkProbes } from "../agent/io/probes.ts";
import type { Observations } from "../cluster/index.ts";
import type { ReadableCell } from "../kernel/index.ts";
import { systemClock as clock } from "../kernel/io/system.ts";
import type { ProxyClient } from "../proxy/io/proxy-client.ts";
import type { ContainerRuntime } from "../runtime/index.ts";
import { chooseRuntime } from "../runtime/io/choose-runtime.ts";
import type { Base } from "./base.ts";
import { startDrainWatch } from "./drain-watch.ts";
import { startFenceWatch } from "./fence-watch.ts";

export async function startRuntime(
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

export async function startNodeAgent(
  base: Base,
  parts: {
    readonly isSettled: ReadableCell<boolean>;
    /** When this daemon began to look for a leader, monotonic, ms. */
    readonly sinceMs: number;
    readonly barrier: (options: { readonly signal: AbortSignal }) => Promise<unknown>;
    readonly observations: ReadableCell<Observations>;
    readonly proxy: ProxyClient;
    readonly runtime: ContainerRuntime;
    readonly starting: AsyncDisposableStack;
  },
) {
  const { isSettled, sinceMs, barrier, observations, proxy, runtime, starting } = parts;
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
  const fence = starting.use(
    startFenceWatch({ self, state: store.state, barrier, sinceMs, clock, logger }),
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
      fencedOff: fence.fencedOff,
      clock,
      logger,
    }),
  );
}
