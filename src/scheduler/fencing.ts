import type { Service, Task } from "../cluster/index.ts";
import { leaseMs } from "../spec/index.ts";
import type { Draft } from "./draft.ts";
import type { LeavingCause, Position } from "./positions.ts";

/** Whether a place of the service may never have two tasks, whatever happens to its node. */
export function isFenced({ spec }: Service): boolean {
  return leaseMs(spec) !== undefined;
}

/**
 * Whether a fenced task that was told to stop may still run where nobody sees it. Its node
 * has stopped it by itself when its lease has passed since the stop was agreed.
 */
export function mayRunUnseen(draft: Draft, { spec }: Service, task: Task): boolean {
  const lease = leaseMs(spec);
  const node = draft.facts.nodes.get(task.nodeId);
  // Whoever removes a machine from the cluster says that it is gone.
  if (lease === undefined || node === undefined) return false;
  if (node.status === "alive") {
    const { report } = node;
    const hasHeard = (report?.appliedIndex ?? 0) >= (task.stoppedAtIndex ?? Infinity);
    const phase = draft.facts.status(task)?.phase;
    return !hasHeard || (phase !== undefined && phase !== "completed" && phase !== "failed");
  }
  const leftMs = lease - draft.facts.stoppedForMs(task);
  draft.wakeAt(draft.facts.now + leftMs);
  return leftMs > 0;
}

/** Whether a lost task keeps its place in case that its node comes back with it. */
export function mayReturn({ spec }: Service, task: Task, cause: LeavingCause): boolean {
  return (
    cause === "lost" && spec.failover?.reconnect === "keep-original" && task.desired === "running"
  );
}

/** The lost task of a place that may come back with its node: others only stand in for it. */
export function originalAt(
  draft: Draft,
  service: Service,
  { service: key, slot }: Pick<Position, "service" | "slot">,
): Task | undefined {
  return draft
    .runningOf(key)
    .filter((task) => task.slot === slot && draft.facts.isLost(task))
    .find((task) => mayReturn(service, task, "lost"));
}
