import type { Task } from "../cluster/index.ts";
import {
  assertNever,
  type Clock,
  codeOf,
  type Logger,
  messageOf,
  type NodeId,
  type TaskId,
} from "../kernel/index.ts";
import {
  type ContainerRequest,
  type ContainerRuntime,
  makeContainerLabels,
} from "../runtime/index.ts";
import type { TaskTemplate } from "../spec/index.ts";
import type { NodeAction, StopOrder } from "./plan-node.ts";
import type { Activity } from "./report.ts";
import { Slots } from "./slots.ts";
import { containerName } from "./task-record.ts";
import { withTimeout } from "./with-timeout.ts";

/** With more the last one runs no sooner, the first one later, and an engine computes more. */
const maxConcurrentStarts = 4;
const pullTimeoutMs = 900_000;
const startTimeoutMs = 120_000;
/** On top of the grace period: what the engine itself may take. */
const stopSlackMs = 30_000;
/** After a failure that is not the container's, the task rests so long. */
const restMs = 1_000;

export type ActionOutcome =
  | {
      readonly kind: "started";
      readonly taskId: TaskId;
      readonly containerId: string;
      readonly isMain: boolean;
    }
  | {
      readonly kind: "start_failed";
      readonly taskId: TaskId;
      readonly template: TaskTemplate;
      readonly message: string;
    }
  /** Stopped, given up, or not possible now: the next pass looks again. */
  | { readonly kind: "ended"; readonly taskId: TaskId };

export type ActionRunnerOptions = {
  readonly runtime: ContainerRuntime;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly self: NodeId;
  readonly clusterId: () => string;
  /** An action came a step further. */
  readonly onProgress: () => void;
  readonly onDone: (outcome: ActionOutcome) => void;
  /** Gives up everything that is under way. */
  readonly signal: AbortSignal;
};

type StartAction = Extract<NodeAction, { readonly kind: "start" }>;
type StopAction = Extract<NodeAction, { readonly kind: "stop" }>;
type Flight = {
  readonly kind: NodeAction["kind"];
  readonly abort: AbortController;
  activity: Activity;
};

/**
 * Performs actions side by side, one per task at a time: a slow pull or stop of one task
 * delays no other. Pulls of one image are one pull.
 */
export class ActionRunner {
  readonly #options: ActionRunnerOptions;
  readonly #flights = new Map<TaskId, Flight>();
  readonly #promises = new Set<Promise<void>>();
  readonly #pulls = new Map<string, Promise<void>>();
  readonly #starts = new Slots(maxConcurrentStarts);

  constructor(options: ActionRunnerOptions) {
    this.#options = options;
  }

  busy(): ReadonlySet<TaskId> {
    return new Set(this.#flights.keys());
  }

  activityOf(taskId: TaskId): Activity | undefined {
    return this.#flights.get(taskId)?.activity;
  }

  /** Gives up starting what should not run any more. */
  keep(tasks: readonly Task[]): void {
    const wanted = new Set(tasks.flatMap(({ id, desired }) => (desired === "running" ? id : [])));
    for (const [taskId, { kind, abort }] of this.#flights) {
      if (kind === "start" && !wanted.has(taskId)) abort.abort();
    }
  }

  /** Begins an action, unless one of the task is under way. */
  run(action: NodeAction): void {
    const { taskId } = action;
    if (this.#flights.has(taskId) || this.#options.signal.aborted) return;
    const abort = new AbortController();
    const activity = action.kind === "start" ? "preparing" : "stopping";
    const flight: Flight = { kind: action.kind, abort, activity };
    this.#flights.set(taskId, flight);
    const promise = this.#perform(action, flight).then((outcome) => {
      this.#flights.delete(taskId);
      this.#promises.delete(promise);
      if (!this.#options.signal.aborted) this.#options.onDone(outcome);
    });
    this.#promises.add(promise);
  }

  /** Resolves when nothing is under way any more. */
  async finished(): Promise<void> {
    await Promise.allSettled([...this.#promises, ...this.#pulls.values()]);
  }

  /** Never rejects. */
  async #perform(action: NodeAction, flight: Flight): Promise<ActionOutcome> {
    const signal = AbortSignal.any([this.#options.signal, flight.abort.signal]);
    try {
      switch (action.kind) {
        case "start":
          return await this.#start(action, flight, signal);
        case "stop":
          return await this.#stop(action, signal);
        default:
          return assertNever(action);
      }
    } catch (error) {
      if (signal.aborted) return { kind: "ended", taskId: action.taskId };
      return await this.#fail(action, error, signal);
    }
  }

  async #start(action: StartAction, flight: Flight, signal: AbortSignal): Promise<ActionOutcome> {
    const { runtime, clock, logger, onProgress } = this.#options;
    const { taskId, task, container, restarts, remains } = action;
    await Promise.all(action.images.map((image) => this.#ensureImage(image, signal)));
    using _slot = await this.#starts.take({ signal });
    flight.activity = "starting";
    onProgress();
    for (const id of remains) await runtime.remove(id, { signal });
    const request = this.#requestOf(action);
    const containerId = await withTimeout(clock, { timeoutMs: startTimeoutMs, signal }, (limited) =>
      runtime.run(request, { signal: limited }),
    );
    logger.info(
      { task: taskId, service: task.service, container: container.name, containerId, restarts },
      "container started",
    );
    return { kind: "started", taskId, containerId, isMain: container.role === "main" };
  }

  #requestOf(action: StartAction): ContainerRequest {
    const { taskId, task, container, restarts, networkOf, volumesFrom } = action;
    const labels = makeContainerLabels({
      ...task,
      clusterId: this.#options.clusterId(),
      nodeId: this.#options.self,
      taskId,
      restarts,
      container: container.name,
    });
    return {
      taskId,
      name: containerName(task, container.name, restarts),
      template: container.template,
      labels,
      ...(networkOf === undefined ? {} : { networkOf }),
      ...(volumesFrom === undefined || volumesFrom.length === 0 ? {} : { volumesFrom }),
    };
  }

  async #stop(action: StopAction, signal: AbortSignal): Promise<ActionOutcome> {
    const { runtime, clock, logger } = this.#options;
    const { taskId, containers } = action;
    const stop = async ({ id, graceMs, stopSignal }: StopOrder) => {
      const timeoutMs = graceMs + stopSlackMs;
      await withTimeout(clock, { timeoutMs, signal }, async (limited) => {
        const how = { graceMs, ...(stopSignal === undefined ? {} : { stopSignal }) };
        await runtime.stop(id, { ...how, signal: limited });
        await runtime.remove(id, { signal: limited });
      });
      logger.info({ task: taskId, containerId: id }, "container stopped and removed");
    };
    await Promise.all(containers.filter(({ isLast }) => !isLast).map(stop));
    await Promise.all(containers.filter(({ isLast }) => isLast).map(stop));
    return { kind: "ended", taskId };
  }

  async #fail(action: NodeAction, error: unknown, signal: AbortSignal): Promise<ActionOutcome> {
    const { clock, logger } = this.#options;
    const { taskId } = action;
    const message = messageOf(error);
    logger.warn(
      { task: taskId, action: action.kind, code: codeOf(error), message },
      "action failed",
    );
    const isEnginesFault = codeOf(error) === "engine_unreachable";
    if (action.kind === "start" && !isEnginesFault) {
      return { kind: "start_failed", taskId, template: action.template, message };
    }
    // The task stays busy for the while, so that the next passes do not try at once.
    await clock.sleep(restMs, { signal }).catch(() => undefined);
    return { kind: "ended", taskId };
  }

  /** Waits for the image; the pull itself goes on for others who wait for it. */
  async #ensureImage(image: string, signal: AbortSignal): Promise<void> {
    const { runtime, clock } = this.#options;
    const known = this.#pulls.get(image);
    const limits = { timeoutMs: pullTimeoutMs, signal: this.#options.signal };
    const pull =
      known ??
      withTimeout(clock, limits, (limited) =>
        runtime.ensureImage(image, { signal: limited }),
      ).finally(() => this.#pulls.delete(image));
    // Everybody who waited for it may have given up by the time it fails.
    pull.catch(() => undefined);
    if (known === undefined) this.#pulls.set(image, pull);
    await raceAbort(pull, signal);
  }
}

/** Settles as `promise` does, or rejects when `signal` aborts first. */
async function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
