import type { Task } from "../cluster/index.ts";

/**
 * The sentences that the scheduler leaves on tasks. They are for people, with two exceptions:
 * that a task was stopped because it had failed, or to make room, is read back by later plans,
 * on any leader, as the planner has no memory of its own and a task has no other field for it.
 */
const failedPrefix = "Failed: ";
const preemptedPrefix = "Preempted by ";

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

/** Whether the scheduler stopped this task to make room for one of a higher priority. */
export function wasPreempted(task: Task): boolean {
  return task.desired === "stopped" && (task.stopReason?.startsWith(preemptedPrefix) ?? false);
}

/** Whether the scheduler stopped this task because its node had given it up. */
export function wasStoppedAsFailed(task: Task): boolean {
  return task.desired === "stopped" && (task.stopReason?.startsWith(failedPrefix) ?? false);
}
