import {
  ApiError,
  type ConsoleEnd,
  type ConsoleFrame,
  ConsoleLink,
  type ConsolePort,
  type ConsoleRequest,
  type ConsoleTiming,
  consoleChunks,
  consoleTiming,
} from "../api/index.ts";
import { nodeName } from "../api/server.ts";
import { type ClusterState, type Task, templateOf } from "../cluster/index.ts";
import {
  type Clock,
  codeOf,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  splitServiceKey,
} from "../kernel/index.ts";
import type { PeerNetwork, PeerStream } from "../network/index.ts";
import {
  type Container,
  type ContainerConsole,
  type ContainerRuntime,
  containerLabels,
} from "../runtime/index.ts";

const protocol = "/skein/console/1";
/** Commands with consoles that run on this node at a time. */
const maxServed = 64;
/** Consoles of this node's clients to other nodes at a time. */
const maxRelayed = 256;
const openStreamMs = 10_000;
const requestMs = 10_000;

type ConsolesOptions = {
  readonly self: NodeId;
  readonly network: PeerNetwork;
  readonly runtime: ContainerRuntime;
  readonly state: ReadableCell<ClusterState>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timing?: ConsoleTiming;
  readonly maxServed?: number;
};

/** Brings clients and processes in containers together, wherever in the cluster they are. */
export class Consoles {
  readonly #options: ConsolesOptions;
  #served = 0;
  #relayed = 0;

  constructor(options: ConsolesOptions) {
    this.#options = options;
    options.network.handleStream(protocol, (_, stream) => this.#answer(stream));
  }

  /** Serves a client until the process or the client ends, and says how it ended. Never rejects. */
  readonly open = async (
    request: ConsoleRequest,
    client: ConsolePort,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> => {
    try {
      const task = this.#findTask(request);
      if (task.nodeId === this.#options.self) await this.#serve(request, client, signal);
      else await this.#relay(task, request, client, signal);
    } catch (error) {
      await client.send(endOfFailure(error), { signal }).catch(() => undefined);
    }
    await client.close();
  };

  async #answer(stream: PeerStream): Promise<void> {
    const { clock, timing = consoleTiming } = this.#options;
    const client = new ConsoleLink(stream, clock, timing);
    const over = new AbortController();
    const late = () => client.abort(new Error("no request came"));
    clock.sleep(requestMs, { signal: over.signal }).then(late, () => undefined);
    const first = await client.next().finally(() => over.abort());
    if (first?.kind !== "request") {
      client.abort(new Error("a console begins with a request"));
      return;
    }
    // Handed on already: a node that does not have the task must not hand it on once more.
    const { signal } = new AbortController();
    try {
      await this.#serve(first.request, client, signal);
    } catch (error) {
      await client.send(endOfFailure(error), { signal }).catch(() => undefined);
    }
    await client.close();
  }

  #findTask({ taskId, container }: ConsoleRequest): Task {
    const task = this.#options.state.get().tasks.get(taskId);
    if (task === undefined) {
      throw new ApiError("not_found", `There is no task ${taskId}. See: skein ps`);
    }
    const names = containersOf(task, this.#options.state.get());
    if (container !== undefined && !names.includes(container)) {
      const { name } = splitServiceKey(task.service);
      const message = `Task ${name}.${task.slot} has no container "${container}", only ${names.map((each) => `"${each}"`).join(", ")}.`;
      throw new ApiError("not_found", message);
    }
    return task;
  }

  async #serve(request: ConsoleRequest, client: ConsolePort, signal: AbortSignal): Promise<void> {
    if (this.#served >= (this.#options.maxServed ?? maxServed)) {
      throw new ApiError(
        "busy",
        `${this.#ownName()} runs ${this.#served} commands for people already. Try again when one has ended.`,
      );
    }
    this.#served += 1;
    const gone = new AbortController();
    const either = AbortSignal.any([signal, gone.signal]);
    const opening = Promise.withResolvers<ContainerConsole>();
    opening.promise.catch(() => undefined);
    // From the beginning: a client may leave before there is anything to be connected with.
    let failure: unknown;
    void takeInput(client, opening.promise)
      .catch((error: unknown) => {
        failure = error;
      })
      .finally(() => gone.abort(failure ?? new Error("The client has gone.")));
    try {
      await using console = await this.#open(request, either);
      opening.resolve(console);
      await client.send({ kind: "ready" }, { signal: either });
      if (request.size !== undefined) void console.resize(request.size);
      for await (const { stream, bytes } of console.output()) {
        for (const chunk of consoleChunks(bytes)) {
          await client.send({ kind: "output", stream, bytes: chunk }, { signal: either });
        }
      }
      await client.send(await console.outcome(), { signal: either });
    } catch (error) {
      opening.reject(error);
      if (!gone.signal.aborted) throw error;
      const reason = messageOf(gone.signal.reason);
      this.#options.logger.debug({ taskId: request.taskId, reason }, "console left by its client");
      // A client that is still there, but whose input could not be taken, hears why.
      if (failure !== undefined) throw failure;
    } finally {
      this.#served -= 1;
    }
  }

  async #open(request: ConsoleRequest, signal: AbortSignal): Promise<ContainerConsole> {
    const { runtime } = this.#options;
    const task = this.#findTask(request);
    if (request.kind === "attach") return await this.#attach(task, signal);
    const name = `${splitServiceKey(task.service).name}.${task.slot}`;
    const containers = await runtime.list({ signal });
    const [main] = containersOf(task, this.#options.state.get());
    const wanted = request.container ?? main;
    // The container of a task that has only one is not labelled with a name.
    const isWanted = ({ labels }: Container) =>
      [undefined, wanted].includes(labels[containerLabels.container]);
    const container = containers.find(
      (each) => each.taskId === task.id && each.state.kind === "running" && isWanted(each),
    );
    if (container === undefined) {
      const message = `Task ${name} has no container that runs on ${this.#ownName()} now. See: skein ps`;
      throw new ApiError("conflict", message);
    }
    const { command: argv, environment, workingDirectory, user, tty, stdin } = request;
    return await runtime.openExec(
      container.id,
      {
        ...{ argv, environment, tty, stdin },
        ...(workingDirectory === undefined ? {} : { workingDirectory }),
        ...(user === undefined ? {} : { user }),
      },
      { signal },
    );
  }

  /** Waits until the task's container starts, or is known not to. */
  async #attach(task: Task, signal: AbortSignal): Promise<ContainerConsole> {
    const { runtime, state } = this.#options;
    const failed = new AbortController();
    const look = () => {
      const now = state.get().tasks.get(task.id);
      if (now?.desired === "running" && now.result === undefined) return;
      const why = now?.result?.message || now?.stopReason || "The task was removed.";
      failed.abort(startFailure(why));
    };
    const stop = state.subscribe(look);
    try {
      look();
      // The console lives longer than this wait: only the wait may end by what is agreed.
      const { promise, reject } = Promise.withResolvers<never>();
      failed.signal.addEventListener("abort", () => reject(failed.signal.reason), { once: true });
      failed.signal.throwIfAborted();
      return await Promise.race([runtime.attach(task.id, { signal }), promise]);
    } catch (error) {
      throw codeOf(error) === "invalid_request" ? startFailure(messageOf(error)) : error;
    } finally {
      stop();
    }
  }

  async #relay(
    { nodeId }: Task,
    request: ConsoleRequest,
    client: ConsolePort,
    signal: AbortSignal,
  ): Promise<void> {
    const { network, state, clock, timing = consoleTiming } = this.#options;
    if (this.#relayed >= maxRelayed) {
      throw new ApiError("busy", `${this.#ownName()} carries ${this.#relayed} consoles already.`);
    }
    this.#relayed += 1;
    const name = nodeName(state.get(), nodeId);
    let peer: ConsoleLink | undefined;
    const end = () => peer?.abort(new Error("this node is stopping"));
    signal.addEventListener("abort", end, { once: true });
    try {
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(openStreamMs)]);
      const stream = await network.openStream(nodeId, protocol, { signal: inTime });
      peer = new ConsoleLink(stream, clock, timing);
      await peer.send({ kind: "request", request }, { signal: inTime });
      // A client that has gone ends the other half, too.
      const gone = (error?: unknown) =>
        peer?.abort(new Error(error === undefined ? "the client is gone" : messageOf(error)));
      void carry(client, peer, signal).then(() => gone(), gone);
      const last = await carry(peer, client, signal);
      if (!isEnd(last)) throw new Error("it ended without a word");
    } catch (error) {
      const message = `The connection to node ${name} was lost, or it does not answer (${messageOf(error)}). What became of the command is not known.`;
      throw new ApiError("unreachable", message, { cause: error });
    } finally {
      this.#relayed -= 1;
      await peer?.close().catch(() => undefined);
      signal.removeEventListener("abort", end);
    }
  }

  #ownName(): string {
    const { state, self } = this.#options;
    return `Node ${nodeName(state.get(), self)}`;
  }
}

/** The names of a task's containers, the main one first. */
function containersOf(task: Task, state: ClusterState): readonly string[] {
  const pod = templateOf(state, task)?.pod;
  if (pod === undefined) return [splitServiceKey(task.service).name];
  return [pod.main, ...pod.others.map(({ name }) => name)];
}

/** Hands on what comes from a client until it ends. */
async function takeInput(client: ConsolePort, opening: Promise<ContainerConsole>): Promise<void> {
  for (let frame = await client.next(); frame !== undefined; frame = await client.next()) {
    switch (frame.kind) {
      case "input":
        await (await opening).write(frame.bytes);
        break;
      case "input_end":
        (await opening).endInput();
        break;
      case "resize":
        void (await opening).resize(frame.size);
        break;
      case "signal":
        await (await opening).signal?.(frame.name);
        break;
      default:
        throw new ApiError("invalid", `A client does not send frames of the kind ${frame.kind}.`);
    }
  }
}

/** Every frame of one side to the other; resolves with the last one. */
async function carry(
  from: ConsolePort,
  to: ConsolePort,
  signal: AbortSignal,
): Promise<ConsoleFrame | undefined> {
  let last: ConsoleFrame | undefined;
  for (let frame = await from.next(); frame !== undefined; frame = await from.next()) {
    last = frame;
    await to.send(frame, { signal });
  }
  return last;
}

function isEnd(frame: ConsoleFrame | undefined): frame is ConsoleEnd {
  return frame !== undefined && ["exited", "detached", "error"].includes(frame.kind);
}

/** Why the process of a container never ran, with the exit code that shells have for it. */
class StartError extends ApiError {
  readonly exitCode: number | undefined;

  constructor(message: string, exitCode: number | undefined) {
    super("invalid", message);
    this.exitCode = exitCode;
  }
}

function startFailure(message: string): StartError {
  if (/permission denied/i.test(message)) return new StartError(message, 126);
  const isMissing = /executable file not found|exec: .*no such file or directory/i.test(message);
  return new StartError(message, isMissing ? 127 : undefined);
}

function endOfFailure(error: unknown): ConsoleEnd {
  const exitCode = error instanceof StartError ? error.exitCode : undefined;
  const said = exitCode === undefined ? {} : { exitCode };
  return { kind: "error", code: problemCodeOf(error), message: messageOf(error), ...said };
}

function problemCodeOf(error: unknown): Extract<ConsoleEnd, { kind: "error" }>["code"] {
  if (error instanceof ApiError) return error.code;
  switch (codeOf(error)) {
    case "not_found":
    case "unreachable":
      return codeOf(error) === "not_found" ? "not_found" : "unreachable";
    case "engine_unreachable":
      return "unreachable";
    case "invalid_request":
      return "invalid";
    default:
      return "internal";
  }
}
