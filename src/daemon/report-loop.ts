import {
  type ClusterState,
  encodeReport,
  maxPendingReasons,
  maxPendingServices,
  maxReasonLength,
  type NodeReport,
  type PendingService,
  sameValue,
  type TaskStatus,
} from "../cluster/index.ts";
import type { Clock, NodeId, ReadableCell, ServiceKey, TaskId } from "../kernel/index.ts";
import { isAwaitedHere } from "./awaited-tasks.ts";
import { onChange } from "./coalesce.ts";

/** Changes within this time travel as one report. */
const coalesceMs = 20;
/** Progress of the log alone is not worth a message to everybody each time. */
const quietIntervalMs = 5_000;

type ReportOptions = {
  readonly self: NodeId;
  readonly fixed: Pick<
    NodeReport,
    "skeinVersion" | "runtime" | "runtimeVersion" | "platform" | "capacity" | "httpPort"
  >;
  readonly state: ReadableCell<ClusterState>;
  readonly statuses: ReadableCell<readonly TaskStatus[]>;
  /**
   * Whether this node has seen its containers. Until then it says nothing, and what it said
   * before holds: a report without tasks would tell that they have ended.
   */
  readonly hasLooked: ReadableCell<boolean>;
  readonly routesIndex: ReadableCell<number>;
  /** What a roll-out waits for and this node does not know to serve yet. */
  readonly awaited: ReadableCell<readonly TaskId[]>;
  readonly log: ReadableCell<{
    readonly appliedIndex: number;
    readonly feeder?: NodeId | undefined;
  }>;
  /** Travels with the next report that is due anyway. */
  readonly usage: ReadableCell<NodeReport["usage"]>;
  readonly isDialOutOnly: ReadableCell<boolean>;
  /** Whether the container engine has not answered for long; absent: it always does. */
  readonly isEngineSilent?: ReadableCell<boolean>;
  readonly digest: () => NodeReport["digest"];
  readonly eventsHead: ReadableCell<number>;
  /** Empty on others than the leader. */
  readonly pending: ReadableCell<ReadonlyMap<ServiceKey, readonly string[]>>;
  readonly publish: (body: Uint8Array) => void;
  readonly clock: Clock;
};

/**
 * Publishes this node's report: at once when a task changed, or when somebody waits for
 * this proxy's confirmation of new routes; else now and then.
 */
export function startReportLoop(options: ReportOptions): Disposable {
  const {
    self,
    fixed,
    state,
    statuses,
    hasLooked,
    routesIndex,
    awaited,
    log,
    usage,
    digest,
    pending,
    isDialOutOnly,
    isEngineSilent,
    eventsHead,
    publish,
    clock,
  } = options;
  let last: NodeReport | undefined;

  function current(): NodeReport {
    const digested = digest();
    const used = usage.get();
    const { appliedIndex, feeder } = log.get();
    return {
      nodeId: self,
      ...fixed,
      routesIndex: routesIndex.get(),
      ...(awaited.get().length === 0 ? {} : { awaited: awaited.get() }),
      appliedIndex: state.get().index,
      logIndex: appliedIndex,
      ...(isDialOutOnly.get() ? { isDialOutOnly: true } : {}),
      ...(isEngineSilent?.get() === true ? { isEngineSilent: true } : {}),
      ...(feeder === undefined ? {} : { feeder }),
      ...(used === undefined ? {} : { usage: used }),
      ...(digested === undefined ? {} : { digest: digested }),
      tasks: statuses.get(),
      eventsHead: eventsHead.get(),
      pending: shortened(pending.get()),
    };
  }

  function send(report: NodeReport): void {
    last = report;
    publish(encodeReport(report));
  }

  function look(): void {
    if (!hasLooked.get()) return;
    const report = current();
    if (
      last === undefined ||
      !sameValue(report.tasks, last.tasks) ||
      !sameValue(report.pending, last.pending) ||
      !sameValue(report.awaited, last.awaited) ||
      report.isDialOutOnly !== last.isDialOutOnly ||
      report.isEngineSilent !== last.isEngineSilent ||
      report.eventsHead !== last.eventsHead ||
      isAwaited(state.get(), last) ||
      isAwaitedHere(state.get(), last.routesIndex)
    ) {
      send(report);
    }
  }

  const changing = [
    state,
    statuses,
    hasLooked,
    routesIndex,
    awaited,
    pending,
    isDialOutOnly,
    eventsHead,
    ...(isEngineSilent === undefined ? [] : [isEngineSilent]),
  ];
  const stop = onChange(changing, look, {
    delayMs: coalesceMs,
    clock,
  });
  const stopping = new AbortController();
  const sendNowAndThen = () => {
    if (hasLooked.get()) {
      const report = current();
      if (!sameValue(report, last)) send(report);
    }
    // Rejects only by the end of the loop.
    clock.sleep(quietIntervalMs, { signal: stopping.signal }).then(sendNowAndThen, () => undefined);
  };
  sendNowAndThen();
  return {
    [Symbol.dispose]: () => {
      stop();
      stopping.abort();
    },
  };
}

function shortened(pending: ReadonlyMap<ServiceKey, readonly string[]>): readonly PendingService[] {
  return [...pending].slice(0, maxPendingServices).map(([service, reasons]) => ({
    service,
    reasons: reasons.slice(0, maxPendingReasons).map((text) => text.slice(0, maxReasonLength)),
  }));
}

/** Whether a task is waiting to be stopped until this node's proxy has confirmed its absence. */
function isAwaited(state: ClusterState, last: NodeReport): boolean {
  for (const { stoppedAtIndex } of state.tasks.values()) {
    if (stoppedAtIndex !== undefined && stoppedAtIndex > last.routesIndex) return true;
  }
  return false;
}
