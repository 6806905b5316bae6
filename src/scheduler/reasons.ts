import type { Task } from "../cluster/index.ts";

/**
 * The sentences that the scheduler leaves on tasks. They are for people, with these exceptions:
 * that a task was stopped because it had failed, to make room, or to be made anew, is read back
 * by later plans, on any leader, as the planner has no memory of its own and a task has no other
 * field for it.
 */
const failedPrefix = "Failed: ";
const preemptedPrefix = "Preempted by ";
const updatedPrefix = "Stopped first, to be updated to revision ";

/** Why a task stops whose place depends on a service that was updated. */
export const dependencyReason =
  "Stopped, to start anew after a service that it depends on was updated.";

const maxDetailLength = 500;

export function failedReason(message: string): string {
  const detail = message === "" ? "its node gave it up." : message;
  return `${failedPrefix}${detail}`.slice(0, maxDetailLength);
}

export function preemptedReason(
  by: { readonly service: string; readonly slot: number },
  { higher, lower }: { readonly higher: number; readonly lower: number },
): string {
  return `${preemptedPrefix}${by.service}.${by.slot} (priority ${higher} > ${lower}).`;
}

export function updateReason({ revision }: { readonly revision: number }): string {
  return `${updatedPrefix}${revision}.`;
}

/** Whether the scheduler stopped this task so that another could start in its place. */
export function wasStoppedFirst({ desired, stopReason = "" }: Task): boolean {
  const isMeant = stopReason.startsWith(updatedPrefix) || stopReason === dependencyReason;
  return desired === "stopped" && isMeant;
}

/** Whether the scheduler stopped this task to make room for one of a higher priority. */
export function wasPreempted(task: Task): boolean {
  return task.desired === "stopped" && (task.stopReason?.startsWith(preemptedPrefix) ?? false);
}

/** Whether the scheduler stopped this task because its node had given it up. */
export function wasStoppedAsFailed(task: Task): boolean {
  return task.desired === "stopped" && (task.stopReason?.startsWith(failedPrefix) ?? false);
}
