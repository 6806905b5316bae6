import { Packr } from "msgpackr";
import { z } from "zod";
import { type LogEntry, nodeName, timeText } from "../api/index.ts";
import { type ClusterState, type Task, tasksOf } from "../cluster/index.ts";
import {
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  type ServiceKey,
  splitServiceKey,
  type TaskId,
  taskId,
} from "../kernel/index.ts";
import type { PeerNetwork, PeerStream } from "../network/index.ts";
import type { ContainerRuntime, LogLine } from "../runtime/index.ts";
import { mergeStreams } from "./merge-streams.ts";

const protocol = "/skein/logs/1";
const packr = new Packr({ useRecords: false });

const requestSchema = z.object({
  taskId: z.string().max(64).transform(taskId),
  follow: z.boolean(),
  tail: z.number().int().nonnegative().optional(),
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
  readonly logger: Logger;
};

export type ServiceLogOptions = {
  readonly follow: boolean;
  readonly tail?: number | undefined;
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

  async *#ofTask(task: Task, options: ServiceLogOptions): AsyncIterable<LogEntry> {
    const { self, state, logger } = this.#options;
    const { name } = splitServiceKey(task.service);
    const lines =
      task.nodeId === self ? this.#local(task.id, options) : this.#remote(task, options);
    try {
      for await (const line of lines) {
        yield {
          time: timeText(line.timeMs),
          task: `${name}.${task.slot}`,
          node: nodeName(state.get(), task.nodeId),
          stream: line.stream,
          text: line.text,
        };
      }
    } catch (error) {
      if (options.signal.aborted) return;
      // One node that cannot be reached must not end the others' lines.
      logger.warn({ taskId: task.id, error: messageOf(error) }, "log stream ended");
    }
  }

  async *#local(id: TaskId, { follow, tail, signal }: ServiceLogOptions): AsyncIterable<LogLine> {
    const { runtime } = this.#options;
    const containers = await runtime.list({ signal });
    const container = containers.find((each) => each.taskId === id);
    if (container === undefined) return;
    yield* runtime.logs(container.id, { follow, signal, ...(tail === undefined ? {} : { tail }) });
  }

  async *#remote(task: Task, { follow, tail, signal }: ServiceLogOptions): AsyncIterable<LogLine> {
    const stream = await this.#options.network.openStream(task.nodeId, protocol, { signal });
    const abort = () => stream.abort(new Error("no longer wanted"));
    signal.addEventListener("abort", abort, { once: true });
    try {
      const request: LogRequest = {
        taskId: task.id,
        follow,
        ...(tail === undefined ? {} : { tail }),
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
    const { taskId: id, follow, tail } = requestSchema.parse(packr.unpack(first.value));
    // The asker sends nothing more: the next thing to come is its end.
    const watching = frames.next().then(
      () => gone.abort(),
      () => gone.abort(),
    );
    try {
      for await (const line of this.#local(id, { follow, tail, signal: gone.signal })) {
        await stream.send(packr.pack(line), { signal: gone.signal });
      }
    } finally {
      await stream.close().catch(() => undefined);
      await watching;
    }
  }
}
