import type { Task } from "../cluster/index.ts";

/**
 * The sentences that the scheduler leaves on tasks. They are for people, with one exception:
 * that a task was stopped because it had failed is read back by later plans, on any leader,
 * as the planner has no memory of its own and a task has no other field for it.
 */
const failedPrefix = "Failed: ";

const maxDetailLength = 500;

export function failedReason(message: string): string {
  const detail = message === "" ? "its node gave it up." : message;
  return `${failedPrefix}${detail}`.slice(0, maxDetailLength);
}

/** Whether the scheduler stopped this task because its node had given it up. */
export function wasStoppedAsFailed(task: Task): boolean {
  return task.desired === "stopped" && (task.stopReason?.startsWith(failedPrefix) ?? false);
}
