import { z } from "zod";
import { type LogEntry, timeText } from "../api/index.ts";
import { nodeName } from "../api/server.ts";
import { type ClusterState, type Task, tasksOf, templateOf } from "../cluster/index.ts";
import {
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  type ServiceKey,
  splitServiceKey,
  type TaskId,
  taskId,
} from "../kernel/index.ts";
import { PeerCodec, type PeerNetwork, type PeerStream } from "../network/index.ts";
import {
  type Container,
  type ContainerRuntime,
  containerLabels,
  type LogLine,
} from "../runtime/index.ts";
import { mergeStreams } from "./merge-streams.ts";

const protocol = "/skein/logs/1";
const packr = new PeerCodec();

const requestSchema = z.object({
  taskId: z.string().max(64).transform(taskId),
  follow: z.boolean(),
  tail: z.number().int().nonnegative().optional(),
  container: z.string().max(63).optional(),
});

const lineSchema = z.object({
  stream: z.enum(["stdout", "stderr"]),
  timeMs: z.number(),
  text: z.string(),
});

type LogRequest = z.infer<typeof requestSchema>;

type TaskLogsOptions = {
  readonly self: NodeId;
  readonly network: PeerNetwork;
  readonly runtime: ContainerRuntime;
  readonly state: ReadableCell<ClusterState>;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Before a stream that ended is opened again, doubled each time. */
const reopenMinMs = 250;
const reopenMaxMs = 2_000;

export type ServiceLogOptions = {
  readonly follow: boolean;
  readonly tail?: number | undefined;
  /** Of a pod; absent: its main one. */
  readonly container?: string | undefined;
  readonly signal: AbortSignal;
};

/** Reads what tasks print, wherever in the cluster they run. */
export class TaskLogs {
  readonly #options: TaskLogsOptions;

  constructor(options: TaskLogsOptions) {
    this.#options = options;
    options.network.handleStream(protocol, (_, stream) => this.#serve(stream));
  }

  /** The lines of all tasks of a service as they come; new tasks too, while following. */
  ofService(service: ServiceKey, options: ServiceLogOptions): AsyncIterable<LogEntry> {
    const { state } = this.#options;
    return mergeStreams<Task, LogEntry>({
      sources: () => new Map(tasksOf(state.get(), service).map((task) => [task.id, task])),
      changed: options.follow ? state : undefined,
      open: (task) => this.#ofTask(task, options),
      signal: options.signal,
    });
  }

  /** While following, a task's lines go on in its next container, and after its node was away. */
  async *#ofTask(task: Task, options: ServiceLogOptions): AsyncIterable<LogEntry> {
    const { state, clock } = this.#options;
    const { follow, signal } = options;
    const { name } = splitServiceKey(task.service);
    let lastMs: number | undefined;
    for (let pauses = 0; ; pauses += 1) {
      const seenMs = lastMs;
      for await (const line of this.#once(
        task,
        seenMs === undefined ? options : { follow, container: options.container, signal },
      )) {
        if (seenMs !== undefined && line.timeMs <= seenMs) continue;
        lastMs = line.timeMs;
        pauses = 0;
        yield {
          time: timeText(line.timeMs),
          task: `${name}.${task.slot}`,
          node: nodeName(state.get(), task.nodeId),
          stream: line.stream,
          text: line.text,
        };
      }
      if (!follow || signal.aborted) return;
      if (state.get().tasks.get(task.id)?.desired !== "running") return;
      const pauseMs = Math.min(reopenMinMs * 2 ** Math.min(pauses, 10), reopenMaxMs);
      await clock.sleep(pauseMs, { signal }).catch(() => undefined);
    }
  }

  /** The lines of the container that there is now. Never throws. */
  async *#once(task: Task, options: ServiceLogOptions): AsyncIterable<LogLine> {
    const { self, logger } = this.#options;
    try {
      yield* task.nodeId === self ? this.#local(task.id, options) : this.#remote(task, options);
    } catch (error) {
      if (options.signal.aborted) return;
      // One node that cannot be reached must not end the others' lines.
      logger.debug({ taskId: task.id, error: messageOf(error) }, "log stream ended");
    }
  }

  async *#local(id: TaskId, options: ServiceLogOptions): AsyncIterable<LogLine> {
    const { runtime } = this.#options;
    const { follow, tail, signal } = options;
    const all = await runtime.list({ signal });
    const container = this.#choose(
      all.filter((each) => each.taskId === id),
      id,
      options.container,
    );
    if (container === undefined) return;
    yield* runtime.logs(container.id, { follow, signal, ...(tail === undefined ? {} : { tail }) });
  }

  /** The one of that name, or the main one; of two starts the newest. */
  #choose(
    containers: readonly Container[],
    id: TaskId,
    name: string | undefined,
  ): Container | undefined {
    const state = this.#options.state.get();
    const task = state.tasks.get(id);
    const template = task === undefined ? undefined : templateOf(state, task);
    const wanted = name ?? template?.pod?.main;
    const startsOf = ({ labels }: Container) => Number(labels[containerLabels.restarts] ?? 0);
    return containers
      .filter(({ labels }) => wanted === undefined || labels[containerLabels.container] === wanted)
      .toSorted((a, b) => startsOf(b) - startsOf(a))[0];
  }

  async *#remote(task: Task, options: ServiceLogOptions): AsyncIterable<LogLine> {
    const { follow, tail, container, signal } = options;
    const stream = await this.#options.network.openStream(task.nodeId, protocol, { signal });
    const abort = () => stream.abort(new Error("no longer wanted"));
    signal.addEventListener("abort", abort, { once: true });
    try {
      const request: LogRequest = {
        taskId: task.id,
        follow,
        ...(tail === undefined ? {} : { tail }),
        ...(container === undefined ? {} : { container }),
      };
      await stream.send(packr.pack(request), { signal });
      for await (const frame of stream.frames()) yield lineSchema.parse(packr.unpack(frame));
    } finally {
      signal.removeEventListener("abort", abort);
      await stream.close().catch(() => undefined);
    }
  }

  async #serve(stream: PeerStream): Promise<void> {
    const gone = new AbortController();
    const frames = stream.frames()[Symbol.asyncIterator]();
    const first = await frames.next();
    if (first.done === true) return;
    const { taskId: id, ...wanted } = requestSchema.parse(packr.unpack(first.value));
    // The asker sends nothing more: the next thing to come is its end.
    const watching = frames.next().then(
      () => gone.abort(),
      () => gone.abort(),
    );
    try {
      for await (const line of this.#local(id, { ...wanted, signal: gone.signal })) {
        await stream.send(packr.pack(line), { signal: gone.signal });
      }
    } finally {
      await stream.close().catch(() => undefined);
      await watching;
    }
  }
}
