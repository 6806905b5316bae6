import type { ClusterState } from "../cluster/index.ts";
import type { TaskId } from "../kernel/index.ts";

/**
 * For how long a leader has seen that tasks are to stop. Only by the monotonic clock, and
 * only since it saw it agreed: the time by which fenced tasks are known to have stopped must
 * never be counted too long. The next leader begins anew.
 */
export class StopWatch {
  readonly #sinceMs = new Map<TaskId, number>();

  /** Ages in ms of all stopped tasks of fenced services; call it for every newly agreed state. */
  ages({ tasks, services }: ClusterState, monotonicMs: number): ReadonlyMap<TaskId, number> {
    const ages = new Map<TaskId, number>();
    for (const task of tasks.values()) {
      if (task.desired !== "stopped") continue;
      if (services.get(task.service)?.spec.failover?.isFenced !== true) continue;
      const sinceMs = this.#sinceMs.get(task.id) ?? monotonicMs;
      this.#sinceMs.set(task.id, sinceMs);
      ages.set(task.id, monotonicMs - sinceMs);
    }
    for (const id of this.#sinceMs.keys()) if (!ages.has(id)) this.#sinceMs.delete(id);
    return ages;
  }

  forget(): void {
    this.#sinceMs.clear();
  }
}
