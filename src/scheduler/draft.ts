import type {
  Command,
  RolloutChange,
  RolloutState,
  RunChange,
  Service,
  Task,
  TaskResult,
  TrafficMove,
} from "../cluster/index.ts";
import { compareText } from "../cluster/index.ts";
import type { NodeId, ServiceKey, TaskId } from "../kernel/index.ts";
import type { TaskTemplate } from "../spec/index.ts";
import type { Explanations, Pending } from "./explain.ts";
import type { Facts } from "./facts.ts";
import { NodeUsages } from "./node-usage.ts";

export type UpdateTasks = Extract<Command, { readonly kind: "update_tasks" }>;

/** A plan has at most this many changes; the next pass goes on. Keeps log entries small. */
const maxChangesPerPlan = 500;

/** The tasks as they will be once the plan is applied, and the changes that lead there. */
export class Draft {
  readonly facts: Facts;
  readonly usages: NodeUsages;
  readonly #newTaskId: () => TaskId;
  readonly #tasksByService = new Map<ServiceKey, Map<TaskId, Task>>();
  /** Sorted lists, until a task of the service changes. */
  readonly #sorted = new Map<ServiceKey, readonly Task[]>();
  /** Stopped tasks by service: few, and asked for at every placement. */
  readonly #stopped = new Map<ServiceKey, Map<TaskId, Task>>();
  readonly #create: Task[] = [];
  readonly #stop: { readonly id: TaskId; readonly reason: string }[] = [];
  readonly #forget: TaskId[] = [];
  readonly #rollouts: RolloutChange[] = [];
  readonly #runs: { readonly service: ServiceKey; readonly change: RunChange }[] = [];
  readonly #results: { readonly id: TaskId; readonly result: TaskResult }[] = [];
  readonly #remove: ServiceKey[] = [];
  readonly #touched = new Set<ServiceKey>();
  /** Made when it is first asked for: most plans need it not. */
  #byNode: Map<NodeId, Map<TaskId, Task>> | undefined;
  readonly #explanations = new Map<ServiceKey, Pending[]>();
  readonly #traffic: TrafficMove[] = [];
  /** Absent: all are in view. */
  #isInView: ((task: Task) => boolean) | undefined;
  #nextWakeMs: number | undefined;

  constructor(facts: Facts, newTaskId: () => TaskId) {
    this.facts = facts;
    this.#newTaskId = newTaskId;
    this.usages = new NodeUsages(facts);
    for (const task of facts.state.tasks.values()) this.#put(task);
  }

  get isFull(): boolean {
    const changes =
      this.#create.length + this.#stop.length + this.#forget.length + this.#results.length;
    return changes >= maxChangesPerPlan;
  }

  /**
   * Lets `action` see only these tasks, as if there were no others: each of two revisions that
   * stand side by side is planned as if it were the whole service.
   */
  within(isInView: (task: Task) => boolean, action: () => void): void {
    const before = this.#isInView;
    this.#isInView = isInView;
    try {
      action();
    } finally {
      this.#isInView = before;
    }
  }

  /** All tasks of one service, stopped ones included, ordered by slot, then id. */
  tasksOf(service: ServiceKey): readonly Task[] {
    const tasks = this.everyTaskOf(service);
    return this.#isInView === undefined ? tasks : tasks.filter(this.#isInView);
  }

  /** The same, whatever is in view. */
  everyTaskOf(service: ServiceKey): readonly Task[] {
    const known = this.#sorted.get(service);
    if (known !== undefined) return known;
    const tasks = [...(this.#tasksByService.get(service)?.values() ?? [])];
    tasks.sort((a, b) => a.slot - b.slot || compareText(a.id, b.id));
    this.#sorted.set(service, tasks);
    return tasks;
  }

  /** The stopped tasks of one service that are remembered, ordered by slot, then id. */
  stoppedOf(service: ServiceKey): readonly Task[] {
    const isInView = this.#isInView ?? (() => true);
    const tasks = [...(this.#stopped.get(service)?.values() ?? [])].filter(isInView);
    return tasks.sort((a, b) => a.slot - b.slot || compareText(a.id, b.id));
  }

  /** The tasks of all services on a node, stopped ones included. */
  onNode(nodeId: NodeId): readonly Task[] {
    if (this.#byNode === undefined) {
      this.#byNode = new Map();
      for (const tasks of this.#tasksByService.values()) {
        for (const task of tasks.values()) this.#putOnNode(this.#byNode, task);
      }
    }
    return [...(this.#byNode.get(nodeId)?.values() ?? [])];
  }

  /** How many of the tasks that should run each node has, without those that leave. */
  siblingsOf(service: ServiceKey, leaving: ReadonlySet<TaskId>): ReadonlyMap<NodeId, number> {
    const counts = new Map<NodeId, number>();
    for (const task of this.#tasksByService.get(service)?.values() ?? []) {
      if (task.desired !== "running" || leaving.has(task.id)) continue;
      if (this.#isInView !== undefined && !this.#isInView(task)) continue;
      counts.set(task.nodeId, (counts.get(task.nodeId) ?? 0) + 1);
    }
    return counts;
  }

  runningOf(service: ServiceKey): readonly Task[] {
    return this.tasksOf(service).filter((task) => task.desired === "running");
  }

  /** Of a job: the tasks that have not ended yet. */
  activeOf(service: ServiceKey): readonly Task[] {
    return this.runningOf(service).filter((task) => task.result === undefined);
  }

  /** The keys of all services that have tasks, existing or removed. */
  serviceKeys(): readonly ServiceKey[] {
    return [...this.#tasksByService.keys()].sort(compareText);
  }

  create(
    of: Omit<Task, "id" | "desired" | "createdAtMs" | "createdAtIndex" | "result">,
    template: TaskTemplate,
  ): Task {
    const task: Task = {
      ...of,
      id: this.#newTaskId(),
      desired: "running",
      createdAtMs: this.facts.now,
    };
    this.#create.push(task);
    this.#put(task);
    this.usages.add(task, template);
    this.#touched.add(task.service);
    return task;
  }

  stop(task: Task, reason: string): void {
    this.#stop.push({ id: task.id, reason });
    this.#put({ ...task, desired: "stopped", stopReason: reason });
    this.#touched.add(task.service);
  }

  /** A job's task has ended by itself. */
  finish(task: Task, result: TaskResult): void {
    this.#results.push({ id: task.id, result });
    this.#put({ ...task, result });
    this.#touched.add(task.service);
  }

  changeRun(service: ServiceKey, change: RunChange): void {
    this.#runs.push({ service, change });
    this.#touched.add(service);
  }

  /** Its tasks are stopped with it. */
  remove(service: ServiceKey): void {
    this.#remove.push(service);
    this.#touched.add(service);
  }

  forget(task: Task): void {
    this.#forget.push(task.id);
    this.#tasksByService.get(task.service)?.delete(task.id);
    this.#stopped.get(task.service)?.delete(task.id);
    this.#sorted.delete(task.service);
    this.#byNode?.get(task.nodeId)?.delete(task.id);
    this.#touched.add(task.service);
  }

  setRollout(
    service: ServiceKey,
    state: RolloutState,
    more: Pick<RolloutChange, "cause" | "promoted"> = {},
  ): void {
    this.#rollouts.push({ service, state, ...more });
    this.#touched.add(service);
  }

  /** From the moment that it is agreed, only tasks of this revision get traffic. */
  moveTraffic(service: ServiceKey, revision: number): void {
    this.#traffic.push({ service, revision, atMs: this.facts.now });
    this.#touched.add(service);
  }

  explain(pending: Pending): void {
    const known = this.#explanations.get(pending.service);
    if (known === undefined) this.#explanations.set(pending.service, [pending]);
    else known.push(pending);
  }

  /** Asks for another pass at that time, though nothing may have changed by then. */
  wakeAt(timeMs: number): void {
    if (timeMs <= this.facts.now) return;
    this.#nextWakeMs = Math.min(timeMs, this.#nextWakeMs ?? timeMs);
  }

  outcome(): {
    readonly command: UpdateTasks | undefined;
    readonly explanations: Explanations;
    readonly nextWakeMs?: number;
  } {
    return {
      command: this.#touched.size === 0 ? undefined : this.#command(),
      explanations: this.#explanations,
      ...(this.#nextWakeMs === undefined ? {} : { nextWakeMs: this.#nextWakeMs }),
    };
  }

  #command(): UpdateTasks {
    const basedOn: Record<string, number> = {};
    for (const key of [...this.#touched].sort(compareText)) {
      // Of a removed service only tasks are left; there is no version to be stale.
      const service: Service | undefined = this.facts.state.services.get(key);
      if (service !== undefined) basedOn[key] = service.version;
    }
    return {
      kind: "update_tasks",
      basedOn,
      create: this.#create,
      stop: this.#stop,
      forget: this.#forget,
      rollouts: this.#rollouts,
      ...(this.#traffic.length === 0 ? {} : { traffic: this.#traffic }),
      ...(this.#runs.length === 0 ? {} : { runs: this.#runs }),
      ...(this.#results.length === 0 ? {} : { results: this.#results }),
      ...(this.#remove.length === 0 ? {} : { remove: this.#remove }),
    };
  }

  #put(task: Task): void {
    this.#sorted.delete(task.service);
    if (task.desired === "stopped") {
      const stopped = this.#stopped.get(task.service) ?? new Map<TaskId, Task>();
      this.#stopped.set(task.service, stopped.set(task.id, task));
    }
    const tasks = this.#tasksByService.get(task.service);
    if (tasks === undefined) this.#tasksByService.set(task.service, new Map([[task.id, task]]));
    else tasks.set(task.id, task);
    if (this.#byNode !== undefined) this.#putOnNode(this.#byNode, task);
  }

  #putOnNode(byNode: Map<NodeId, Map<TaskId, Task>>, task: Task): void {
    const tasks = byNode.get(task.nodeId);
    if (tasks === undefined) byNode.set(task.nodeId, new Map([[task.id, task]]));
    else tasks.set(task.id, task);
  }
}

/** How many tasks of a list each node has. */
export function countByNode(tasks: readonly Task[]): ReadonlyMap<NodeId, number> {
  const counts = new Map<NodeId, number>();
  for (const task of tasks) counts.set(task.nodeId, (counts.get(task.nodeId) ?? 0) + 1);
  return counts;
}
