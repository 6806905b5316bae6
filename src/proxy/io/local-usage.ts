import type { TaskId } from "../../kernel/index.ts";

/** How many requests, relays and tunnels each task of this node is serving. */
export class LocalUsage {
  readonly #counts = new Map<TaskId, number>();

  count(task: TaskId): number {
    return this.#counts.get(task) ?? 0;
  }

  begin(task: TaskId): void {
    this.#counts.set(task, this.count(task) + 1);
  }

  end(task: TaskId): void {
    const left = this.count(task) - 1;
    if (left > 0) this.#counts.set(task, left);
    else this.#counts.delete(task);
  }
}
