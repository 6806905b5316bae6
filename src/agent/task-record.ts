import type { Task } from "../cluster/index.ts";
import { type Container, containerLabels } from "../runtime/index.ts";
import type { TaskContainer, TaskTemplate } from "../spec/index.ts";
import {
  type ContainerEnd,
  decideRestart,
  newRestartHistory,
  type RestartHistory,
} from "./restart-policy.ts";

/**
 * What this node remembers of a task between two passes. It is lost with the daemon; the
 * number of restarts is then read from the container's labels.
 */
export type TaskRecord = {
  readonly history: RestartHistory;
  /** The main container that was last known to run for it; it is missed when it is gone. */
  readonly runningId?: string;
  readonly runningSinceMs?: number;
  /** Not to be started before this, monotonic, ms. */
  readonly startAtMs: number;
  /** What went wrong last; empty when nothing did. */
  readonly message: string;
  readonly exitCode?: number;
  readonly final?: "completed" | "failed";
  /** When this node learnt that it should stop, monotonic, ms. */
  readonly stoppingSinceMs?: number;
};

export const newTaskRecord: TaskRecord = { history: newRestartHistory, startAtMs: 0, message: "" };

/** A record for a task of which only containers are known: from before the daemon started. */
export function adoptedRecord(containers: readonly Container[]): TaskRecord {
  const restarts = Math.max(0, ...containers.map(restartsOf));
  return { ...newTaskRecord, history: { ...newRestartHistory, restarts } };
}

/** The number of restarts that a container was started with. */
export function restartsOf({ labels }: Container): number {
  const restarts = Number(labels[containerLabels.restarts] ?? 0);
  return Number.isSafeInteger(restarts) && restarts >= 0 ? restarts : 0;
}

/** Its name in its pod; empty where the task has one container. */
export function containerNameOf({ labels }: Container): string {
  return labels[containerLabels.container] ?? "";
}

/** Notes that the main container runs. */
export function recordRunning(
  record: TaskRecord,
  { id, startedAtMs }: { readonly id: string; readonly startedAtMs: number },
): TaskRecord {
  if (record.runningId === id) return record;
  return { ...record, runningId: id, runningSinceMs: startedAtMs };
}

/** Notes an end and what follows from it by the template's restart policy. */
export function recordEnd(
  record: TaskRecord,
  template: TaskTemplate,
  end: ContainerEnd,
  monotonicMs: number,
): TaskRecord {
  const { runningId: _id, runningSinceMs: _since, exitCode: _code, ...rest } = record;
  const exitCode = end.exitCode === undefined ? {} : { exitCode: end.exitCode };
  const decision = decideRestart(template.restart, record.history, end);
  const next = { ...rest, ...exitCode, history: decision.history, message: end.message };
  if (decision.kind === "restart") return { ...next, startAtMs: monotonicMs + decision.delayMs };
  const message = decision.kind === "completed" ? "" : end.message;
  return { ...next, message, final: decision.kind };
}

/**
 * Notes that the container was stopped because another node may run the task by now. Its
 * next start, should it come, is one more restart, as a status never goes back.
 */
export function recordFencedOff(record: TaskRecord): TaskRecord {
  if (record.runningId === undefined) return record;
  const message =
    "Stopped here: this node reaches no majority of the voters, and another one may run it.";
  const { runningId: _id, runningSinceMs: _since, exitCode: _code, ...rest } = record;
  const restarts = record.history.restarts + 1;
  return { ...rest, history: { ...record.history, restarts }, message, startAtMs: 0 };
}

/** How a container that stands still came to its end. */
export function endOfExited(
  record: TaskRecord,
  { name, role }: Pick<TaskContainer, "name" | "role">,
  state: Extract<Container["state"], { readonly kind: "exited" }>,
): ContainerEnd {
  const { exitCode, isOomKilled, error, finishedAtMs } = state;
  const startedAtMs = record.runningSinceMs ?? finishedAtMs;
  // 137 and 143: SIGKILL and SIGTERM, which nobody sends to himself.
  const isKilled = (exitCode === 137 || exitCode === 143) && !isOomKilled;
  const how = isOomKilled
    ? "was killed because it used more memory than its limit"
    : isKilled
      ? "was killed from outside"
      : "exited";
  const detail = error === "" ? "" : `: ${error}`;
  return {
    cause: isKilled ? "killed" : "exited",
    // That a companion ends well is no success of the task.
    ...(role === "main" || exitCode !== 0 ? { exitCode } : {}),
    message: `${containerText(name)} ${how} (exit code ${exitCode})${detail}.`,
    workedForMs: Math.max(0, finishedAtMs - startedAtMs),
  };
}

/** The end of a container that ran and is not there any more. */
export function endOfMissing(record: TaskRecord, name: string, now: number): ContainerEnd {
  return {
    cause: "killed",
    message: `${containerText(name)} was removed from outside.`,
    workedForMs: Math.max(0, now - (record.runningSinceMs ?? now)),
  };
}

/** The beginning of a sentence about a container. */
export function containerText(name: string): string {
  return name === "" ? "The container" : `The container ${name}`;
}

/**
 * `shop-web-3-k3j9x2`, of a pod `shop-web-3-k3j9x2-sidecar`, with `-2` for the second restart:
 * unique among what exists at a time.
 */
export function containerName(task: Task, name: string, restarts: number): string {
  const service = task.service.replace("/", "-");
  const base = [service, task.slot, task.id.slice(0, 6), name]
    .filter((part) => part !== "")
    .join("-");
  return restarts === 0 ? base : `${base}-${restarts}`;
}
