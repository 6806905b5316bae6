import {
  type ContainerStatus,
  isFinal,
  phaseOrder,
  type Task,
  type TaskPhase,
  type TaskResult,
  type TaskStatus,
} from "../cluster/index.ts";
import type { TaskId } from "../kernel/index.ts";
import type { Container } from "../runtime/index.ts";
import type { TaskTemplate } from "../spec/index.ts";
import type { ContainerHealth } from "./health.ts";
import { containerStatuses, healthOfPod, isPodUp } from "./pod-status.ts";
import { restartsOf, type TaskRecord } from "./task-record.ts";

/** What this node is doing about a task at this moment. */
export type Activity = "preparing" | "starting" | "stopping";

export type ReportInput = {
  readonly tasks: readonly Task[];
  readonly containers: readonly Container[];
  readonly records: ReadonlyMap<TaskId, TaskRecord>;
  readonly activityOf: (taskId: TaskId) => Activity | undefined;
  readonly healthOf: (containerId: string) => ContainerHealth | undefined;
  readonly templateOf: (task: Task) => TaskTemplate | undefined;
  /** What was reported last. */
  readonly previous: readonly TaskStatus[];
  /** Wall clock, ms. */
  readonly now: number;
  /** Of the clock that never goes back, by which pauses are kept. */
  readonly monotonicMs: number;
};

const maxMessageLength = 1_000;

/**
 * What this node says of its tasks, and of containers whose task it does not know. Of one
 * task `(restarts, phase)` never goes back.
 */
export function reportTasks(input: ReportInput): readonly TaskStatus[] {
  const previous = new Map(input.previous.map((status) => [status.taskId, status]));
  const containers = Map.groupBy(input.containers, ({ taskId }) => taskId);
  const statuses: TaskStatus[] = [];
  for (const task of input.tasks) {
    const status = statusOfTask(input, task, containers.get(task.id) ?? []);
    if (status !== undefined) statuses.push(inOrder(status, previous.get(task.id)));
    containers.delete(task.id);
  }
  for (const [taskId, unknown] of containers) {
    const running = unknown.find(isRunning);
    if (running === undefined) continue;
    const isStopping = input.activityOf(taskId) === "stopping";
    const status = statusOfRunning(input, running, isStopping ? "stopping" : "running", "none");
    statuses.push(inOrder(status, previous.get(taskId)));
  }
  return statuses.sort((a, b) => (a.taskId < b.taskId ? -1 : 1));
}

function statusOfTask(
  input: ReportInput,
  task: Task,
  containers: readonly Container[],
): TaskStatus | undefined {
  const record = input.records.get(task.id);
  const running = containers.filter(isRunning).sort((a, b) => restartsOf(b) - restartsOf(a))[0];
  const template = input.templateOf(task);
  const isPod = template?.pod !== undefined;
  const parts = isPod ? containerStatuses(template, record, containers, input.healthOf) : [];
  const pod = isPod ? { containers: parts } : {};
  if (task.result !== undefined) {
    return { ...statusOfEnded(input, task, record, task.result), ...pod };
  }
  if (record?.final !== undefined) {
    return { ...statusAtRest(input, task, record, record.final), ...pod };
  }
  if (task.desired === "stopped") {
    if (running !== undefined) {
      return { ...statusOfRunning(input, running, "stopping", "none", record), ...pod };
    }
    const isGone = containers.length === 0 && input.activityOf(task.id) === undefined;
    return isGone ? undefined : { ...statusAtRest(input, task, record, "stopping"), ...pod };
  }
  const main = isPod ? runningMain(parts, containers) : running;
  if (main !== undefined) {
    const unknown = template?.healthCheck === undefined ? "none" : "starting";
    const health = isPod ? healthOfPod(parts) : (input.healthOf(main.id)?.health ?? unknown);
    const status = statusOfRunning(input, main, "running", health, record);
    return isPod
      ? { ...status, ...pod, sinceMs: completeSinceMs(input, parts, containers) }
      : status;
  }
  const isStarting =
    input.activityOf(task.id) === "starting" || parts.some(({ state }) => state !== "waiting");
  return { ...statusAtRest(input, task, record, isStarting ? "starting" : "preparing"), ...pod };
}

function statusOfRunning(
  input: ReportInput,
  container: Container,
  phase: "running" | "stopping",
  health: TaskStatus["health"],
  record?: TaskRecord,
): TaskStatus {
  const message = record?.message ?? "";
  const { state } = container;
  const probe = input.healthOf(container.id)?.message ?? "";
  return {
    taskId: container.taskId,
    phase,
    health,
    restarts: restartsOf(container),
    containerId: container.id,
    endpoints: container.endpoints,
    hostPorts: container.hostPorts,
    // Of the container before.
    ...(record?.exitCode === undefined ? {} : { exitCode: record.exitCode }),
    message: (health === "unhealthy" && probe !== "" ? probe : message).slice(0, maxMessageLength),
    sinceMs:
      phase === "running" && state.kind === "running"
        ? upSinceMs(input, container, state)
        : input.now,
  };
}

/** Since when it is as it is: it serves no sooner than its first probe that passed. */
function upSinceMs(
  { healthOf }: ReportInput,
  { id }: Container,
  { startedAtMs }: { readonly startedAtMs: number },
): number {
  return Math.max(startedAtMs, healthOf(id)?.healthySinceMs ?? 0);
}

/** The main container of a pod, once all of the pod's are as they should be. */
function runningMain(
  parts: readonly ContainerStatus[],
  containers: readonly Container[],
): Container | undefined {
  const main = parts.find(({ role }) => role === "main");
  return isPodUp(parts) ? containers.find(({ id }) => id === main?.containerId) : undefined;
}

/** Since when all of a pod is as it should be. */
function completeSinceMs(
  input: ReportInput,
  parts: readonly ContainerStatus[],
  containers: readonly Container[],
): number {
  const ids = new Set(parts.map(({ containerId }) => containerId));
  const running = containers.filter(({ id }) => ids.has(id));
  return Math.max(
    ...running.map((each) =>
      each.state.kind === "running" ? upSinceMs(input, each, each.state) : 0,
    ),
  );
}

/** The agreed result counts, also when this node has forgotten how the task ended. */
function statusOfEnded(
  input: ReportInput,
  task: Task,
  record: TaskRecord | undefined,
  { outcome, exitCode, message, atMs }: TaskResult,
): TaskStatus {
  const phase = outcome === "succeeded" ? "completed" : "failed";
  const code = exitCode === undefined ? {} : { exitCode };
  return { ...statusAtRest(input, task, record, phase), ...code, message, sinceMs: atMs };
}

function statusAtRest(
  { now, monotonicMs }: ReportInput,
  task: Task,
  record: TaskRecord | undefined,
  phase: Exclude<TaskPhase, "running">,
): TaskStatus {
  const pauseMs = (record?.startAtMs ?? 0) - monotonicMs;
  const isWaiting = phase === "preparing" && pauseMs > 0;
  return {
    taskId: task.id,
    phase,
    health: "none",
    ...(isWaiting ? { retryAtMs: Math.round(now + pauseMs) } : {}),
    restarts: record?.history.restarts ?? 0,
    endpoints: [],
    hostPorts: [],
    ...(record?.exitCode === undefined ? {} : { exitCode: record.exitCode }),
    message: (record?.message ?? "").slice(0, maxMessageLength),
    sinceMs: now,
  };
}

/** Keeps the time of a phase that goes on, and holds back what would look like going back. */
function inOrder(next: TaskStatus, previous: TaskStatus | undefined): TaskStatus {
  if (previous === undefined) return next;
  const { restarts, phase } = previous;
  const isSame = next.restarts === restarts && next.phase === phase;
  if (isSame) {
    if (phase === "running") return next;
    const { sinceMs, retryAtMs } = previous;
    return { ...next, sinceMs, ...(retryAtMs === undefined ? {} : { retryAtMs }) };
  }
  const isBack =
    isFinal(previous) ||
    next.restarts < restarts ||
    (next.restarts === restarts && phaseOrder[next.phase] < phaseOrder[phase]);
  return isBack ? { ...next, restarts, phase, sinceMs: previous.sinceMs } : next;
}

function isRunning({ state }: Container): boolean {
  return state.kind === "running";
}
