import type { Task } from "../cluster/index.ts";
import type { TaskId } from "../kernel/index.ts";
import type { Container, ContainerRequest } from "../runtime/index.ts";
import { containersOf, type TaskContainer, type TaskTemplate } from "../spec/index.ts";
import type { ContainerHealth } from "./health.ts";
import { isDone, mayStart, nextContainer, presentContainers } from "./pod.ts";
import type { ContainerEnd } from "./restart-policy.ts";
import {
  adoptedRecord,
  containerNameOf,
  containerText,
  endOfExited,
  endOfMissing,
  recordEnd,
  recordFencedOff,
  recordRunning,
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
  /** Gets the images, removes the remains of earlier attempts, then runs the container. */
  | {
      readonly kind: "start";
      readonly taskId: TaskId;
      readonly task: Task;
      /** Of the task. */
      readonly template: TaskTemplate;
      readonly container: TaskContainer;
      readonly networkOf: string | undefined;
      readonly volumesFrom: ContainerRequest["volumesFrom"];
      /** The first container of a pod waits for the images of all. */
      readonly images: readonly string[];
      readonly restarts: number;
      readonly remains: readonly string[];
    }
  /** Stops them where they run, then removes them. */
  | { readonly kind: "stop"; readonly taskId: TaskId; readonly containers: readonly StopOrder[] };

/** How one container is stopped. */
export type StopOrder = {
  readonly id: string;
  readonly graceMs: number;
  readonly stopSignal: string | undefined;
  /** It is stopped after the others, whose network it has. */
  readonly isLast: boolean;
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
  if (task.result !== undefined) return planEnded(input, task, known, containers);
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

/** A job's task that has ended: what is left of its container stays, people read its logs. */
function planEnded(
  input: NodePlanInput,
  task: Task,
  record: TaskRecord | undefined,
  containers: readonly Container[],
): TaskPlan {
  const running = containers.filter(isRunning);
  if (running.length === 0) return { record };
  return { record, action: stopAll(task.id, running, input.templateOf(task)) };
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
  const present =
    record.final === undefined
      ? presentContainers(record, containers)
      : new Map<string, Container>();
  const current = new Set(present.values());
  const others = containers.filter((each) => !current.has(each));
  const overdue = others.filter(isRunning);
  if (overdue.length > 0) return { record, action: stopAll(task.id, overdue, template) };
  // What is left of a task that failed stays until the task goes: people read its logs.
  if (record.final !== undefined) return { record };
  const next = nextContainer(template, present);
  if (next === undefined) {
    return others.length === 0
      ? { record }
      : { record, action: stopAll(task.id, others, template) };
  }
  if (record.startAtMs > input.monotonicMs) return { record, wakeAtMs: record.startAtMs };
  if (!mayStart(input, template, next, present)) return { record };
  return { record, action: startOf(wanted, record, next, { present, others }) };
}

function startOf(
  { task, template }: Wanted,
  { history }: TaskRecord,
  container: TaskContainer,
  of: { readonly present: ReadonlyMap<string, Container>; readonly others: readonly Container[] },
): NodeAction {
  const { present, others } = of;
  const volumesFrom = (container.template.volumesFrom ?? []).flatMap((each) => {
    const source = present.get(each.container);
    return source === undefined ? [] : [{ containerId: source.id, readOnly: each.readOnly }];
  });
  const first = present.size === 0 ? containersOf(template) : [container];
  return {
    kind: "start",
    taskId: task.id,
    task,
    template,
    container,
    networkOf:
      container.role === "companion" ? present.get(template.pod?.main ?? "")?.id : undefined,
    volumesFrom,
    images: [...new Set(first.map((each) => each.template.image))],
    restarts: history.restarts,
    remains: others.map(({ id }) => id),
  };
}

/** Notes what happened to the task's present containers since the last pass. */
function observe(
  input: NodePlanInput,
  { template }: Wanted,
  before: TaskRecord,
  containers: readonly Container[],
): TaskRecord {
  const present = presentContainers(before, containers);
  const all = containersOf(template);
  const last = all.findLastIndex(({ name }) => present.has(name));
  let record = before;
  for (const [i, each] of all.entries()) {
    const found = present.get(each.name);
    const end =
      found === undefined
        ? endOfAbsent(input, record, each, i < last)
        : endOfPresent(input, record, each, found);
    if (each.role === "main" && found?.state.kind === "running") {
      record = recordRunning(record, { id: found.id, startedAtMs: found.state.startedAtMs });
    }
    // The containers of a pod share their fate: the end of one is the end of all.
    if (end !== undefined) return recordEnd(record, template, end, input.monotonicMs);
  }
  return record;
}

/** The end of a container that ought to be there, as later ones are or as it was seen. */
function endOfAbsent(
  { now }: NodePlanInput,
  record: TaskRecord,
  { name, role }: TaskContainer,
  isMissed: boolean,
): ContainerEnd | undefined {
  // What has run to its end may go.
  if (role === "init") return undefined;
  const wasSeen = role === "main" && record.runningId !== undefined;
  return isMissed || wasSeen ? endOfMissing(record, name, now) : undefined;
}

function endOfPresent(
  { healthOf }: NodePlanInput,
  record: TaskRecord,
  container: TaskContainer,
  { id, state }: Container,
): ContainerEnd | undefined {
  if (state.kind === "exited") {
    return isDone(container, state) ? undefined : endOfExited(record, container, state);
  }
  const health = healthOf(id);
  const isKept = container.template.healthCheck?.keepUnhealthy === true;
  if (health?.health !== "unhealthy" || isKept) return undefined;
  const message = `${containerText(container.name)} is unhealthy: ${health.message}`;
  return { cause: "unhealthy", message, workedForMs: health.wasHealthyForMs };
}

function stopAll(
  taskId: TaskId,
  containers: readonly Container[],
  template: TaskTemplate | undefined,
): NodeAction {
  const known = new Map(
    template === undefined ? [] : containersOf(template).map((each) => [each.name, each]),
  );
  const orders = containers.map((each): StopOrder => {
    const container = known.get(containerNameOf(each));
    return {
      id: each.id,
      graceMs: container?.template.stopGracePeriodMs ?? unknownGraceMs,
      stopSignal: container?.template.stopSignal,
      isLast: container?.role === "main",
    };
  });
  return { kind: "stop", taskId, containers: orders };
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
