import type { ClusterState, Task, TaskStatus } from "../cluster/index.ts";
import { sameValue, templateOf } from "../cluster/index.ts";
import {
  Cell,
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  runReconcileLoop,
  type TaskId,
  Wakeup,
} from "../kernel/index.ts";
import type { Container, ContainerRuntime } from "../runtime/index.ts";
import { type ActionOutcome, ActionRunner } from "./action-runner.ts";
import { HealthMonitor, type HealthTarget, type Probes } from "./health-monitor.ts";
import { type NodePlan, planNode } from "./plan-node.ts";
import { healthTargetsOf } from "./pod.ts";
import { reportTasks } from "./report.ts";
import { newTaskRecord, recordEnd, recordRunning, type TaskRecord } from "./task-record.ts";

/** Events tell of what changes; to list many containers for nothing is what an idle agent costs. */
const resyncMs = 30_000;
const retryMaxMs = 5_000;
/** An engine that is restarted, or very busy, is away for less. */
const engineSilenceMs = 15_000;

export type AgentOptions = {
  readonly self: NodeId;
  /** Written into the labels of the containers. */
  readonly clusterId: ReadableCell<string> | string;
  readonly state: ReadableCell<ClusterState>;
  readonly runtime: ContainerRuntime;
  readonly probes: Probes;
  /** Until it is true containers are adopted and reported, but nothing is started or stopped. */
  readonly isSettled: ReadableCell<boolean>;
  /** Whether no request can reach the task any more, and those under way have ended. */
  readonly drained: (task: Task) => boolean;
  /** Tells when an answer of `drained` may have changed. */
  readonly drainChanged: Pick<ReadableCell<unknown>, "subscribe">;
  /** Whether another node may run the task by now. */
  readonly fencedOff?: ReadableCell<ReadonlySet<TaskId>>;
  /** A task is stopped after this long though it is not drained; absent: 10 s. */
  readonly drainMs?: number;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** A running agent. Disposing it leaves the containers running. */
export interface Agent extends AsyncDisposable {
  /** What this node has to say of its tasks. */
  readonly statuses: ReadableCell<readonly TaskStatus[]>;
  /** Whether it has seen its containers: until then it knows of none, which says nothing. */
  readonly hasLooked: ReadableCell<boolean>;
  /** Whether the engine has not answered for long: what has ended cannot be started again. */
  readonly isEngineSilent: ReadableCell<boolean>;
}

/** Makes this node run what was agreed, for as long as it is not disposed. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const agent = new RunningAgent(options);
  agent.start();
  return agent;
}

class RunningAgent implements Agent {
  readonly #options: AgentOptions;
  readonly #statuses = new Cell<readonly TaskStatus[]>([]);
  readonly #hasLooked = new Cell(false);
  readonly #isEngineSilent = new Cell(false);
  readonly #wakeup = new Wakeup();
  readonly #stopping = new AbortController();
  readonly #health: HealthMonitor;
  readonly #actions: ActionRunner;
  #records: ReadonlyMap<TaskId, TaskRecord> = new Map();
  #tasks: readonly Task[] = [];
  #containers: readonly Container[] = [];
  /** When it was found not to answer, monotonic, ms. */
  #silentSinceMs: number | undefined;
  #running: Promise<void> = Promise.resolve();
  #undo: readonly (() => void)[] = [];
  #timer: AbortController | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { runtime, probes, clock, self, clusterId, logger } = options;
    const onChange = () => this.#wakeup.wake();
    this.#health = new HealthMonitor({ runtime, probes, clock, onChange });
    this.#actions = new ActionRunner({
      runtime,
      clock,
      logger,
      self,
      clusterId: () => (typeof clusterId === "string" ? clusterId : clusterId.get()),
      onProgress: () => this.#publish(),
      onDone: (outcome) => this.#note(outcome),
      signal: this.#stopping.signal,
    });
  }

  get statuses(): ReadableCell<readonly TaskStatus[]> {
    return this.#statuses;
  }

  get hasLooked(): ReadableCell<boolean> {
    return this.#hasLooked;
  }

  get isEngineSilent(): ReadableCell<boolean> {
    return this.#isEngineSilent;
  }

  start(): void {
    const { state, runtime, isSettled, drainChanged, fencedOff, clock, logger } = this.#options;
    const wake = () => this.#wakeup.wake();
    this.#undo = [
      // The state changes with every entry of the log, this node's tasks seldom.
      state.subscribe(() => {
        const tasks = this.#ownTasks();
        if (isSameList(tasks, this.#tasks)) return;
        // Not only in the next pass: that one may have to wait for the engine first.
        this.#actions.keep(tasks);
        wake();
      }),
      runtime.subscribe(wake),
      isSettled.subscribe(wake),
      drainChanged.subscribe(wake),
      ...(fencedOff === undefined ? [] : [fencedOff.subscribe(wake)]),
    ];
    this.#running = runReconcileLoop(
      this.#wakeup,
      {
        reconcile: ({ signal }) => this.#reconcile(signal),
        onError: (error, retryInMs) =>
          logger.warn({ error: messageOf(error), retryInMs }, "agent pass failed"),
        clock,
        resyncMs,
        retryMaxMs,
      },
      this.#stopping.signal,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const undo of this.#undo) undo();
    this.#stopping.abort();
    this.#timer?.abort();
    await this.#running;
    await this.#actions.finished();
    await this.#health[Symbol.asyncDispose]();
  }

  /** One pass: look, plan, report, act. Actions go on after the pass; each wakes the next. */
  async #reconcile(signal: AbortSignal): Promise<void> {
    const { isSettled } = this.#options;
    this.#timer?.abort();
    // What was under way when the look began may have changed anything since.
    const busy = this.#actions.busy();
    this.#containers = await this.#list(signal);
    this.#tasks = this.#ownTasks();
    this.#actions.keep(this.#tasks);
    this.#health.watch(this.#healthTargets());
    const plan = this.#plan(busy);
    this.#records = plan.records;
    if (isSettled.get()) for (const action of plan.actions) this.#actions.run(action);
    this.#publish();
    this.#hasLooked.set(true);
    if (plan.nextWakeMs !== undefined) this.#wakeAt(plan.nextWakeMs);
  }

  async #list(signal: AbortSignal): Promise<readonly Container[]> {
    const { runtime, clock } = this.#options;
    const from = clock.monotonic();
    try {
      const containers = await runtime.list({ signal });
      this.#silentSinceMs = undefined;
      this.#isEngineSilent.set(false);
      return containers;
    } catch (error) {
      this.#silentSinceMs ??= from;
      const isLong = clock.monotonic() - this.#silentSinceMs >= engineSilenceMs;
      if (isLong && !signal.aborted) this.#isEngineSilent.set(true);
      throw error;
    }
  }

  #plan(busy: ReadonlySet<TaskId>): NodePlan {
    const { drained, drainMs, fencedOff, clock } = this.#options;
    return planNode({
      tasks: this.#tasks,
      templateOf: (task) => this.#templateOf(task),
      containers: this.#containers,
      records: this.#records,
      healthOf: (containerId) => this.#health.of(containerId),
      isDrained: drained,
      isFencedOff: (task) => fencedOff?.get().has(task.id) ?? false,
      ...(drainMs === undefined ? {} : { drainMs }),
      busy,
      now: clock.now(),
      monotonicMs: clock.monotonic(),
    });
  }

  #publish(): void {
    const next = reportTasks({
      tasks: this.#tasks,
      containers: this.#containers,
      records: this.#records,
      activityOf: (taskId) => this.#actions.activityOf(taskId),
      healthOf: (containerId) => this.#health.of(containerId),
      templateOf: (task) => this.#templateOf(task),
      previous: this.#statuses.get(),
      now: this.#options.clock.now(),
      monotonicMs: this.#options.clock.monotonic(),
    });
    if (!sameValue(next, this.#statuses.get())) this.#statuses.set(next);
  }

  #note(outcome: ActionOutcome): void {
    const { clock } = this.#options;
    const record = this.#records.get(outcome.taskId) ?? newTaskRecord;
    const records = new Map(this.#records);
    switch (outcome.kind) {
      case "started": {
        const running = { id: outcome.containerId, startedAtMs: clock.now() };
        if (outcome.isMain) records.set(outcome.taskId, recordRunning(record, running));
        break;
      }
      case "start_failed": {
        const { template, message } = outcome;
        const end = { cause: "start_failed", message, workedForMs: 0 } as const;
        records.set(outcome.taskId, recordEnd(record, template, end, clock.monotonic()));
        break;
      }
      case "ended":
        break;
    }
    this.#records = records;
    this.#wakeup.wake();
  }

  #ownTasks(): readonly Task[] {
    const { state, self } = this.#options;
    return [...state.get().tasks.values()].filter((task) => task.nodeId === self);
  }

  #templateOf(task: Task) {
    return templateOf(this.#options.state.get(), task);
  }

  #healthTargets(): readonly HealthTarget[] {
    const tasks = new Map(this.#tasks.map((task) => [task.id, task]));
    const byTask = Map.groupBy(this.#containers, ({ taskId }) => taskId);
    return [...byTask].flatMap(([taskId, containers]) => {
      const task = tasks.get(taskId);
      const template = task === undefined ? undefined : this.#templateOf(task);
      return template === undefined || task?.desired !== "running"
        ? []
        : healthTargetsOf(template, containers);
    });
  }

  /** Wakes the loop once at that monotonic time; the next pass undoes it. */
  #wakeAt(timeMs: number): void {
    const { clock } = this.#options;
    this.#timer = new AbortController();
    const ms = Math.max(1, timeMs - clock.monotonic());
    clock.sleep(ms, { signal: this.#timer.signal }).then(
      () => this.#wakeup.wake(),
      () => undefined,
    );
  }
}

function isSameList(a: readonly Task[], b: readonly Task[]): boolean {
  return a.length === b.length && a.every((task, i) => task === b[i]);
}
