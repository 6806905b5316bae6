import type { ClusterState, Task } from "../cluster/index.ts";
import { templateOf } from "../cluster/index.ts";
import {
  Cell,
  type Clock,
  type Logger,
  type NodeId,
  type ReadableCell,
  type TaskId,
  Wakeup,
} from "../kernel/index.ts";
import { fenceMarginMs, leaseMs, stopTimeMs } from "../spec/index.ts";
import { graceMs as settlingMs } from "./settled.ts";

type FenceWatchOptions = {
  readonly self: NodeId;
  readonly state: ReadableCell<ClusterState>;
  /** Resolves once this node has applied everything that was agreed when it was asked. */
  readonly barrier: (options: { readonly signal: AbortSignal }) => Promise<unknown>;
  /** When this daemon began to look for a leader, monotonic, ms; absent: now. */
  readonly sinceMs?: number;
  readonly clock: Clock;
  readonly logger: Logger;
};

export type FenceWatch = AsyncDisposable & {
  /** Tasks of this node that must not run here now, because another node may run them. */
  readonly fencedOff: ReadableCell<ReadonlySet<TaskId>>;
};

/** How often a node asks whether it may go on. */
const renewMs = 1_000;
/** An answer that takes longer is of no use. */
const maxAnswerMs = 2_000;
/**
 * A daemon that has just started gives the cluster this long to answer for the first time. That
 * is over before its agent goes by the last agreed state: it would start what it has no lease for.
 */
const firstAnswerMs = settlingMs - 1_000;
const unknownGraceMs = 10_000;

/**
 * Keeps the leases of this node's fenced tasks. A task may run until its lease, counted from
 * when the cluster was last asked and answered, is nearly over: then there is just time left
 * to stop it. Monotonic time only; what has been told to stop gets no new lease.
 */
export function startFenceWatch(options: FenceWatchOptions): FenceWatch {
  const { self, state, barrier, clock, logger } = options;
  const fencedOff = new Cell<ReadonlySet<TaskId>>(new Set());
  const askedAtMs = new Map<TaskId, number>();
  const startedAtMs = options.sinceMs ?? clock.monotonic();
  const wakeup = new Wakeup();
  const stopping = new AbortController();
  const { signal } = stopping;
  const undo = state.subscribe(() => {
    if (fencedTasks(state.get(), self).some(({ id }) => !askedAtMs.has(id))) wakeup.wake();
  });

  /** When the task has to begin to stop. */
  function stopAtMs(task: Task): number {
    const { services } = state.get();
    const service = services.get(task.service);
    const lease = service === undefined ? 0 : (leaseMs(service.spec) ?? 0);
    const askedAt = askedAtMs.get(task.id);
    if (askedAt === undefined) return startedAtMs + firstAnswerMs;
    const template = templateOf(state.get(), task);
    const graceMs = template === undefined ? unknownGraceMs : stopTimeMs(template);
    return askedAt + lease - fenceMarginMs - graceMs;
  }

  /** Says which tasks are off by now, and when the next one will be. */
  function look(): number {
    const now = clock.monotonic();
    const tasks = fencedTasks(state.get(), self);
    const off = tasks.filter((task) => stopAtMs(task) <= now).map(({ id }) => id);
    const next = new Set(off);
    if (next.symmetricDifference(fencedOff.get()).size > 0) {
      const late = off.filter((id) => askedAtMs.has(id) && !fencedOff.get().has(id));
      if (late.length > 0) logger.warn({ tasks: late }, "cut off, stopping what others may run");
      fencedOff.set(next);
    }
    const later = tasks.map(stopAtMs).filter((atMs) => atMs > now);
    return Math.min(now + maxAnswerMs, ...later);
  }

  async function ask(untilMs: number): Promise<void> {
    const before = clock.monotonic();
    const limit = new AbortController();
    const timer = clock.sleep(Math.max(1, untilMs - before), { signal: limit.signal }).then(
      () => limit.abort(),
      () => undefined,
    );
    try {
      await barrier({ signal: AbortSignal.any([signal, limit.signal]) });
      for (const task of fencedTasks(state.get(), self)) {
        if (task.desired === "running") askedAtMs.set(task.id, before);
      }
    } catch {
      // No answer is an answer: the leases run on.
    } finally {
      limit.abort();
      await timer;
    }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      wakeup.reset();
      const known = new Set(fencedTasks(state.get(), self).map(({ id }) => id));
      for (const id of askedAtMs.keys()) if (!known.has(id)) askedAtMs.delete(id);
      if (known.size > 0) {
        await ask(look());
        look();
      } else if (fencedOff.get().size > 0) {
        fencedOff.set(new Set());
      }
      const restMs =
        known.size > 0 ? Math.max(1, Math.min(renewMs, look() - clock.monotonic())) : idleMs;
      await wakeup.wait(clock, { atMostMs: restMs, signal });
    }
  }

  const done = run().catch((error: unknown) => {
    if (!signal.aborted) logger.error({ error }, "fencing failed");
  });
  return {
    fencedOff,
    [Symbol.asyncDispose]: async () => {
      undo();
      stopping.abort();
      await done;
    },
  };
}

const idleMs = 60_000;

/** Of this node: those that should run, and those that should stop and may still do so. */
function fencedTasks({ tasks, services }: ClusterState, self: NodeId): readonly Task[] {
  return [...tasks.values()].filter((task) => {
    if (task.nodeId !== self) return false;
    const service = services.get(task.service);
    return service !== undefined && leaseMs(service.spec) !== undefined;
  });
}
