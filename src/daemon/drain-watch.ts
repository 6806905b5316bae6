import type { ClusterState, Observations, Task } from "../cluster/index.ts";
import {
  Cell,
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  runReconcileLoop,
  type TaskId,
  Wakeup,
} from "../kernel/index.ts";

type DrainWatchOptions = {
  readonly self: NodeId;
  readonly state: ReadableCell<ClusterState>;
  readonly observations: ReadableCell<Observations>;
  /** How many requests are under way at each of these tasks on this node. */
  readonly inUse: (
    tasks: readonly TaskId[],
    options: { readonly signal: AbortSignal },
  ) => Promise<ReadonlyMap<TaskId, number>>;
  readonly clock: Clock;
  readonly logger: Logger;
};

export type DrainWatch = AsyncDisposable & {
  /** Tasks of this node that should stop and that no request can reach any more. */
  readonly drained: ReadableCell<ReadonlySet<TaskId>>;
};

/** How often the proxy is asked while something drains. */
const pollMs = 100;
const idleMs = 60_000;

/**
 * Says when a task may be stopped without dropping a request: every live node's proxy has
 * confirmed routes without it, and the requests that were under way have ended.
 */
export function startDrainWatch(options: DrainWatchOptions): DrainWatch {
  const { self, state, observations, inUse, clock, logger } = options;
  const drained = new Cell<ReadonlySet<TaskId>>(new Set());
  const wakeup = new Wakeup();
  const stops = [state, observations].map((cell) => cell.subscribe(() => wakeup.wake()));
  const stopping = new AbortController();

  async function look({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    for (;;) {
      const draining = [...state.get().tasks.values()].filter(
        (task) => task.nodeId === self && task.desired === "stopped",
      );
      const unreachable = draining
        .filter((task) => isConfirmed(task, observations.get()))
        .map((task) => task.id);
      const counts = unreachable.length === 0 ? undefined : await inUse(unreachable, { signal });
      const next = new Set(unreachable.filter((id) => (counts?.get(id) ?? 0) === 0));
      if (next.symmetricDifference(drained.get()).size > 0) drained.set(next);
      if (draining.length === next.size) return;
      await clock.sleep(pollMs, { signal });
    }
  }

  const done = runReconcileLoop(
    wakeup,
    {
      reconcile: look,
      onError: (error, retryInMs) =>
        logger.warn({ error: messageOf(error), retryInMs }, "requests under way not known"),
      clock,
      resyncMs: idleMs,
      retryMaxMs: 1_000,
    },
    stopping.signal,
  );
  return {
    drained,
    [Symbol.asyncDispose]: async () => {
      for (const stop of stops) stop();
      stopping.abort();
      await done;
    },
  };
}

/** Whether every node that may still send traffic has confirmed routes without the task. */
function isConfirmed(task: Task, { members, reports }: Observations): boolean {
  const stoppedAt = task.stoppedAtIndex ?? 0;
  for (const [node, { status }] of members) {
    if (status !== "alive") continue;
    if ((reports.get(node)?.routesIndex ?? 0) < stoppedAt) return false;
  }
  return true;
}
