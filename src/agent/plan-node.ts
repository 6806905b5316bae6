import type { Task } from "../cluster/index.ts";
import type { TaskId } from "../kernel/index.ts";
import type { Container } from "../runtime/index.ts";
import type { TaskTemplate } from "../spec/index.ts";
import type { ContainerHealth } from "./health.ts";
import {
  adoptedRecord,
  endOfExited,
  endOfMissing,
  recordEnd,
  recordFencedOff,
  recordRunning,
  restartsOf,
  type TaskRecord,
} from "./task-record.ts";

/** A task that should stop is stopped after this long, even when requests are still under way. */
export const defaultDrainMs = 10_000;

/** What a container gets whose task, and so whose template, nobody knows. */
const unknownGraceMs = 10_000;

export type NodePlanInput = {
  /** This node's tasks, as agreed. */
  readonly tasks: readonly Task[];
  readonly templateOf: (task: Task) => TaskTemplate | undefined;
  /** All that exist on this node, running or not. */
  readonly containers: readonly Container[];
  readonly records: ReadonlyMap<TaskId, TaskRecord>;
  /** Undefined for a container that is not checked. */
  readonly healthOf: (containerId: string) => ContainerHealth | undefined;
  /** Whether no request can reach the task any more, and those under way have ended. */
  readonly isDrained: (task: Task) => boolean;
  readonly drainMs?: number;
  /** Whether another node may run the task by now: then it must not run here. */
  readonly isFencedOff?: (task: Task) => boolean;
  /** Tasks with an action under way: what is seen of them is not to be trusted. */
  readonly busy: ReadonlySet<TaskId>;
  /** Wall clock, ms. */
  readonly now: number;
  /** For pauses: the wall clock may be set back, and nothing must wait for it to catch up. */
  readonly monotonicMs: number;
};

/** At most one per task. */
export type NodeAction =
  /** Gets the image, removes the remains of earlier attempts, then runs the container. */
  | {
      readonly kind: "start";
      readonly taskId: TaskId;
      readonly task: Task;
      readonly template: TaskTemplate;
      readonly restarts: number;
      readonly remains: readonly string[];
    }
  /** Stops them where they run, then removes them. */
  | {
      readonly kind: "stop";
      readonly taskId: TaskId;
      readonly containers: readonly string[];
      readonly graceMs: number;
      readonly stopSignal: string | undefined;
    };

export type NodePlan = {
  readonly actions: readonly NodeAction[];
  readonly records: ReadonlyMap<TaskId, TaskRecord>;
  /** When to plan again though nothing has changed, monotonic, ms. */
  readonly nextWakeMs?: number;
};

type TaskPlan = {
  readonly record: TaskRecord | undefined;
  readonly action?: NodeAction;
  readonly wakeAtMs?: number;
};

/**
 * Compares what this node should run with what it does run. Containers are as they were
 * listed for this pass, never remembered: somebody may have removed one by hand.
 */
export function planNode(input: NodePlanInput): NodePlan {
  const containers = byTask(input.containers);
  const records = new Map<TaskId, TaskRecord>();
  const actions: NodeAction[] = [];
  let nextWakeMs: number | undefined;
  const tasks = input.tasks.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (const task of tasks) {
    const { record, action, wakeAtMs } = planTask(input, task, containers.get(task.id) ?? []);
    if (record !== undefined) records.set(task.id, record);
    if (action !== undefined) actions.push(action);
    if (wakeAtMs !== undefined) nextWakeMs = Math.min(wakeAtMs, nextWakeMs ?? wakeAtMs);
  }
  const known = new Set(tasks.map(({ id }) => id));
  for (const [taskId, unknown] of containers) {
    // Nobody routes to a task that is not agreed, so there is nothing to wait for.
    if (known.has(taskId) || input.busy.has(taskId)) continue;
    actions.push(stopAll(taskId, unknown, undefined));
  }
  return { actions, records, ...(nextWakeMs === undefined ? {} : { nextWakeMs }) };
}

function planTask(input: NodePlanInput, task: Task, containers: readonly Container[]): TaskPlan {
  const known = input.records.get(task.id);
  if (input.busy.has(task.id)) return { record: known };
  if (input.isFencedOff?.(task) === true) return planFencedOff(input, task, known, containers);
  if (task.desired === "stopped") return planStopped(input, task, known, containers);
  // A job's task that has ended: what is left of its container stays, people read its logs.
  if (task.result !== undefined) return { record: known };
  const record = known ?? adoptedRecord(containers);
  const template = input.templateOf(task);
  if (template === undefined) {
    return { record: { ...record, message: "The template of this task is not known." } };
  }
  return planRunning(input, { task, template }, record, containers);
}

/** Nobody waits for its requests: what matters is that it has stopped in time. */
function planFencedOff(
  input: NodePlanInput,
  task: Task,
  known: TaskRecord | undefined,
  containers: readonly Container[],
): TaskPlan {
  const running = containers.filter(isRunning);
  if (running.length === 0 && task.desired === "stopped") {
    return planStopped(input, task, known, containers);
  }
  const record = known ?? adoptedRecord(containers);
  if (running.length === 0) return { record: recordFencedOff(record) };
  return { record, action: stopAll(task.id, running, input.templateOf(task)) };
}

function planStopped(
  input: NodePlanInput,
  task: Task,
  known: TaskRecord | undefined,
  containers: readonly Container[],
): TaskPlan {
  if (containers.length === 0) {
    // That it failed is still reported: the leader counts failures.
    return { record: known?.final === undefined ? undefined : known };
  }
  const before = known ?? adoptedRecord(containers);
  const stoppingSinceMs = before.stoppingSinceMs ?? input.monotonicMs;
  const record = { ...before, stoppingSinceMs };
  const stopAtMs = stoppingSinceMs + (input.drainMs ?? defaultDrainMs);
  const mayStop =
    !containers.some(isRunning) || input.isDrained(task) || stopAtMs <= input.monotonicMs;
  return mayStop
    ? { record, action: stopAll(task.id, containers, input.templateOf(task)) }
    : { record, wakeAtMs: stopAtMs };
}

type Wanted = { readonly task: Task; readonly template: TaskTemplate };

function planRunning(
  input: NodePlanInput,
  wanted: Wanted,
  before: TaskRecord,
  containers: readonly Container[],
): TaskPlan {
  const { task, template } = wanted;
  const record = before.final === undefined ? observe(input, wanted, before, containers) : before;
  const isCurrent = (each: Container) =>
    record.final === undefined &&
    each.state.kind === "running" &&
    restartsOf(each) === record.history.restarts;
  const current = containers.find(isCurrent);
  const others = containers.filter((each) => each !== current);
  const overdue = others.filter(isRunning);
  if (overdue.length > 0) return { record, action: stopAll(task.id, overdue, template) };
  // What is left of a task that failed stays until the task goes: people read its logs.
  if (record.final !== undefined) return { record };
  if (current !== undefined) {
    return others.length === 0
      ? { record }
      : { record, action: stopAll(task.id, others, template) };
  }
  if (record.startAtMs > input.monotonicMs) return { record, wakeAtMs: record.startAtMs };
  const { restarts } = record.history;
  const remains = others.map(({ id }) => id);
  return {
    record,
    action: { kind: "start", taskId: task.id, task, template, restarts, remains },
  };
}

/** Notes what happened to the task's present container since the last pass. */
function observe(
  { healthOf, now, monotonicMs }: NodePlanInput,
  { template }: Wanted,
  record: TaskRecord,
  containers: readonly Container[],
): TaskRecord {
  const present = containers.find((each) => restartsOf(each) === record.history.restarts);
  if (present === undefined) {
    return record.runningId === undefined
      ? record
      : recordEnd(record, template, endOfMissing(record, now), monotonicMs);
  }
  const { state } = present;
  switch (state.kind) {
    case "created":
      // The daemon died between creating and starting it: what remains of a start.
      return record;
    case "exited":
      return recordEnd(record, template, endOfExited(record, state), monotonicMs);
    case "running": {
      const health = healthOf(present.id);
      const running = recordRunning(record, { id: present.id, startedAtMs: state.startedAtMs });
      const isKept = template.healthCheck?.keepUnhealthy === true;
      if (health?.health !== "unhealthy" || isKept) return running;
      const message = `The container is unhealthy: ${health.message}`;
      const workedForMs = health.wasHealthyForMs;
      const end = { cause: "unhealthy", message, workedForMs } as const;
      return recordEnd(running, template, end, monotonicMs);
    }
  }
}

function stopAll(
  taskId: TaskId,
  containers: readonly Container[],
  template: TaskTemplate | undefined,
): NodeAction {
  return {
    kind: "stop",
    taskId,
    containers: containers.map(({ id }) => id),
    graceMs: template?.stopGracePeriodMs ?? unknownGraceMs,
    stopSignal: template?.stopSignal,
  };
}

function isRunning({ state }: Container): boolean {
  return state.kind === "running";
}

function byTask(containers: readonly Container[]): ReadonlyMap<TaskId, readonly Container[]> {
  const groups = new Map<TaskId, Container[]>();
  for (const container of containers) {
    const group = groups.get(container.taskId);
    if (group === undefined) groups.set(container.taskId, [container]);
    else group.push(container);
  }
  return groups;
}
