import type { ServiceSpec } from "./service-spec.ts";

/**
 * Fencing: a node runs a task only while it knows that nobody else may. It asks the cluster,
 * and after each answer it may go on for the length of the lease, counted by its own
 * monotonic clock from the moment when it asked. The leader first agrees that the task is to
 * stop, and starts another one when the lease has passed since.
 */

/** For so long a node must have been given up before its fenced tasks are told to stop. */
export const fenceNoticeMs = 5_000;
/** A node has stopped its task this long before the lease ends: for slow engines and clocks. */
export const fenceMarginMs = 3_000;
/** So long a node may hear nothing, as in an election, before it begins to stop the task. */
const fenceSlackMs = 12_000;

/** The least `after`, beyond the time that the container may take to stop. */
export const leastFenceAfterMs = fenceNoticeMs + fenceMarginMs + fenceSlackMs;

/** How long a node may run a task after it asked; undefined for a service without fencing. */
export function leaseMs({ failover }: Pick<ServiceSpec, "failover">): number | undefined {
  if (failover?.isFenced !== true || failover.afterMs === undefined) return undefined;
  return failover.afterMs - fenceNoticeMs;
}
