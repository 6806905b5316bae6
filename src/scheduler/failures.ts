import { rolloutOf, type Service, type Task, templateOf } from "../cluster/index.ts";
import type { NodeId, ServiceKey } from "../kernel/index.ts";
import type { Draft } from "./draft.ts";
import type { Facts } from "./facts.ts";
import type { Position } from "./positions.ts";
import { failedReason, wasStoppedAsFailed } from "./reasons.ts";

const backOffFirstMs = 1_000;
const backOffMaxMs = 60_000;

/** More of them would not make the pause any longer. */
export const maxRememberedFailures = 7;

/**
 * Stops the tasks that their nodes gave up, and forgets those of nodes that were removed, so
 * that their places are filled anew. Also wakes the planner when a missed node becomes lost.
 */
export function stopFailedTasks(draft: Draft, key: ServiceKey): void {
  for (const task of draft.runningOf(key)) {
    const node = draft.facts.nodes.get(task.nodeId);
    if (node === undefined) {
      draft.forget(task);
      continue;
    }
    const lostAtMs = draft.facts.lostAtMs(task);
    if (lostAtMs !== undefined) draft.wakeAt(lostAtMs);
    const status = draft.facts.status(task);
    if (status?.phase === "failed" && isReplaceable(draft.facts, task)) {
      draft.stop(task, failedReason(status.message));
    }
  }
}

/** The failed tasks of one position and revision that the state still remembers, oldest first. */
export function rememberedFailures(
  draft: Draft,
  { service, slot, only }: Pick<Position, "service" | "slot" | "only">,
  revision: number,
): readonly Task[] {
  return draft
    .stoppedOf(service)
    .filter((task) => wasStoppedAsFailed(task) && task.revision === revision)
    .filter((task) => (only === undefined ? task.slot === slot : task.nodeId === only))
    .sort((a, b) => failedAtMs(draft.facts, a) - failedAtMs(draft.facts, b));
}

/** When a place may be filled again after the failures there: 1 s, 2 s, 4 s … after the last. */
export function retryAtMs(facts: Facts, failures: readonly Task[]): number {
  const last = failures.at(-1);
  if (last === undefined) return facts.now;
  const pauseMs = Math.min(backOffFirstMs * 2 ** (failures.length - 1), backOffMaxMs);
  return failedAtMs(facts, last) + pauseMs;
}

export function failuresByNode(failures: readonly Task[]): ReadonlyMap<NodeId, number> {
  const counts = new Map<NodeId, number>();
  for (const task of failures) counts.set(task.nodeId, (counts.get(task.nodeId) ?? 0) + 1);
  return counts;
}

/**
 * Whether a task of the newest revision goes wrong: it was given up, is unhealthy, or crashes
 * again and again. One restart alone may be an accident of its surroundings.
 */
export function isFailing(facts: Facts, service: Service, task: Task): boolean {
  if (wasStoppedAsFailed(task)) {
    // One that this very plan stops has no index yet.
    return (task.stoppedAtIndex ?? Number.POSITIVE_INFINITY) > (service.resumedAtIndex ?? 0);
  }
  const status = facts.status(task);
  if (task.desired === "stopped" || status === undefined) return false;
  if (status.phase === "failed" || status.health === "unhealthy") return true;
  const settledSinceMs = facts.settledSinceMs(task);
  const isProven =
    settledSinceMs !== undefined && facts.now - settledSinceMs >= rolloutOf(service).monitorMs;
  return status.restarts >= 2 && !isProven;
}

/** The time of a failure by our clock: the node's may be ahead, or its report gone. */
function failedAtMs(facts: Facts, task: Task): number {
  const status = facts.status(task);
  const reportedMs = status?.phase === "failed" ? status.sinceMs : task.createdAtMs;
  return Math.min(facts.now, Math.max(task.createdAtMs, reportedMs));
}

/** A service that is never to be restarted is not replaced either: its failure stays visible. */
function isReplaceable(facts: Facts, task: Task): boolean {
  return templateOf(facts.state, task)?.restart.condition !== "none";
}
