import {
  type ClusterState,
  isServing,
  maxAwaitedTasks,
  memberStatus,
  type Observations,
  type Service,
  statusOf,
  type Task,
} from "../cluster/index.ts";
import type { TaskId } from "../kernel/index.ts";

/**
 * Of services that roll out: the tasks of the newest revision that this node does not know to
 * serve. The leader relies on a new task when no node awaits it any more.
 */
export function awaitedTasks(state: ClusterState, observations: Observations): readonly TaskId[] {
  const awaited: TaskId[] = [];
  for (const task of newestOfRolling(state)) {
    const status = statusOf(observations, task);
    const member = memberStatus(observations, task.nodeId);
    const isThere = member === "alive" || member === "suspect";
    if (status !== undefined && isServing(status) && isThere) continue;
    awaited.push(task.id);
    if (awaited.length >= maxAwaitedTasks) break;
  }
  return awaited;
}

/** Whether the leader waits for this node to say that it knows of a new task. */
export function isAwaitedHere(state: ClusterState, routesIndex: number): boolean {
  for (const task of newestOfRolling(state)) {
    if ((task.createdAtIndex ?? 0) > routesIndex) return true;
  }
  return false;
}

function* newestOfRolling(state: ClusterState): Iterable<Task> {
  const rolling = new Map<Service, Task[]>();
  const outdated = new Set<Service>();
  for (const task of state.tasks.values()) {
    const service = state.services.get(task.service);
    if (service === undefined || task.run !== undefined || task.desired === "stopped") continue;
    if (task.revision !== service.revision) outdated.add(service);
    else if (!rolling.get(service)?.push(task)) rolling.set(service, [task]);
  }
  for (const service of outdated) yield* rolling.get(service) ?? [];
}
