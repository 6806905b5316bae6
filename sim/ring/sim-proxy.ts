import { type Random, randomBelow, type TaskId } from "../../src/kernel/index.ts";
import type { RoutePlan } from "../../src/proxy/index.ts";
import { emptyRouteTable } from "../../src/proxy/route-table.ts";
import type { Machine } from "../gossip/machine.ts";

/** The proxy process of a machine: it outlives the daemon, and forgets all with the power. */
export class SimProxy {
  table: RoutePlan = emptyRouteTable;
  /** How long it may take to take a table over; more while it is busy. */
  maxDelayMs = 20;
  readonly #random: Random;
  readonly #busyRate: number;
  readonly #now: () => number;
  /** Until when requests to a task are under way: drawn when it is first asked about. */
  readonly #busyUntilMs = new Map<TaskId, number>();

  constructor(options: {
    readonly random: Random;
    readonly now: () => number;
    /** Of draining tasks, those that still answer a request. */
    readonly busyRate: number;
  }) {
    this.#random = options.random;
    this.#busyRate = options.busyRate;
    this.#now = options.now;
  }

  /** Whether a request may still reach the task from here. */
  routesTo(taskId: TaskId): boolean {
    const { publishedPorts, hostRoutes } = this.table;
    return [...publishedPorts, ...hostRoutes].some(({ backend }) =>
      backend.endpoints.some((endpoint) => endpoint.taskId === taskId),
    );
  }

  isBusyWith(taskId: TaskId): boolean {
    return (this.#busyUntilMs.get(taskId) ?? 0) > this.#now();
  }

  /** What one life of the daemon sees of it. */
  clientFor({ clock }: Machine) {
    return {
      setTable: async (table: RoutePlan, { signal }: { readonly signal: AbortSignal }) => {
        await clock.sleep(1 + randomBelow(this.#random, this.maxDelayMs), { signal });
        this.table = table;
        return { problems: [] };
      },
      problems: async () => [],
      inUse: async (tasks: readonly TaskId[]) => {
        return new Map(tasks.map((task) => [task, this.#requestsTo(task)]));
      },
    };
  }

  #requestsTo(taskId: TaskId): number {
    if (!this.#busyUntilMs.has(taskId)) {
      const lastsMs = this.#random.next() < this.#busyRate ? this.#random.next() * 4_000 : 0;
      this.#busyUntilMs.set(taskId, this.#now() + lastsMs);
    }
    return this.isBusyWith(taskId) ? 1 : 0;
  }
}
