import type { Agent } from "node:http";
import { Duplex, Readable } from "node:stream";
import { inspect } from "node:util";
import type Docker from "dockerode";
import { codeOf, messageOf } from "../../kernel/index.ts";
import { http } from "../../kernel/io/http.ts";
import { RuntimeError } from "../errors.ts";

/** An ordinary call to the engine may take this long; a busy disk makes removals slow. */
const callTimeoutMs = 30_000;
const defaultSocketPath = "/var/run/docker.sock";

export type EngineCallOptions = { readonly signal: AbortSignal; readonly timeoutMs?: number };

/**
 * Says little of itself when it is printed. The client prints each request in full for a debug
 * log that nobody reads, and by the agent that is every connection and all that waits for one:
 * with eight containers starting 50 ms of computing for each call, most of what a daemon used.
 */
class TerseAgent extends http.Agent {
  [inspect.custom](): string {
    return "[Agent]";
  }
}

/** The socket of this machine's engine, from `DOCKER_HOST` where that is set. */
export function engineSocketPath(dockerHost: string | undefined): string {
  if (dockerHost === undefined || dockerHost === "") return defaultSocketPath;
  if (dockerHost.startsWith("unix://")) return dockerHost.slice("unix://".length);
  if (dockerHost.startsWith("/")) return dockerHost;
  // Endpoints are addresses on this machine's bridge: an engine elsewhere cannot be routed to.
  throw new RuntimeError(
    "invalid_request",
    `DOCKER_HOST is ${dockerHost}, but Skein only uses the engine of its own machine: set it to unix:///path/to/socket.`,
  );
}

/**
 * The connection to one engine: every call has an upper time bound, ends when its caller
 * or the engine object ends, and fails with a {@link RuntimeError}.
 */
export class DockerEngine implements Disposable {
  readonly docker: Docker;
  readonly socketPath: string;
  readonly #agent: Agent;
  readonly #closed = new AbortController();

  private constructor(docker: Docker, socketPath: string, agent: Agent) {
    this.docker = docker;
    this.socketPath = socketPath;
    this.#agent = agent;
  }

  static async open(socketPath: string): Promise<DockerEngine> {
    // Loaded here because it takes some 35 MB, which a node without an engine need not pay.
    const { default: Dockerode } = await import("dockerode");
    const agent = new TerseAgent({ keepAlive: true });
    const options = { socketPath, agent };
    return new DockerEngine(new Dockerode(options), socketPath, agent);
  }

  get closedSignal(): AbortSignal {
    return this.#closed.signal;
  }

  /** `what` begins the message of a failure, e.g. "The container could not be created". */
  async call<T>(
    what: string,
    work: (abortSignal: AbortSignal) => Promise<T>,
    { signal, timeoutMs = callTimeoutMs }: EngineCallOptions,
  ): Promise<T> {
    const timeout = AbortSignal.timeout(timeoutMs);
    const either = AbortSignal.any([signal, timeout, this.#closed.signal]);
    try {
      either.throwIfAborted();
      // The race covers answers that break off half-way, which the client never reports.
      return await raceAbort(work(either), either);
    } catch (error) {
      signal.throwIfAborted();
      if (timeout.aborted) throw this.#unanswered(what, timeoutMs, error);
      throw this.#translate(what, error);
    }
  }

  /** A stream that lives until it ends or `signal` aborts; only its opening is bounded in time. */
  async stream(
    what: string,
    open: (abortSignal: AbortSignal) => Promise<unknown>,
    { signal, timeoutMs = callTimeoutMs }: EngineCallOptions,
  ): Promise<Readable> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new Error("timeout")), timeoutMs);
    const either = AbortSignal.any([signal, late.signal, this.#closed.signal]);
    try {
      either.throwIfAborted();
      const stream = await raceAbort(open(either), either);
      if (!(stream instanceof Readable)) throw new TypeError("The engine opened no stream.");
      // Whoever reads learns of failures by the iteration; an abort between two reads must not crash.
      stream.on("error", () => undefined);
      either.addEventListener("abort", () => stream.destroy(), { once: true });
      return stream;
    } catch (error) {
      signal.throwIfAborted();
      if (late.signal.aborted) throw this.#unanswered(what, timeoutMs, error);
      throw this.#translate(what, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The same for a connection that the engine gives up to us, in both directions. */
  async duplex(
    what: string,
    open: (abortSignal: AbortSignal) => Promise<unknown>,
    options: EngineCallOptions,
  ): Promise<Duplex> {
    const stream = await this.stream(what, open, options);
    if (stream instanceof Duplex) return stream;
    stream.destroy();
    throw new RuntimeError(
      "engine_failed",
      `${what}: the engine takes no input on its connection.`,
    );
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new RuntimeError("engine_unreachable", "The runtime has been closed."));
    this.#agent.destroy();
  }

  #unanswered(what: string, timeoutMs: number, cause: unknown): RuntimeError {
    return new RuntimeError(
      "engine_unreachable",
      `${what}: the container engine at ${this.socketPath} gave no answer within ${timeoutMs / 1000} s.`,
      { cause },
    );
  }

  #translate(what: string, error: unknown): RuntimeError {
    if (error instanceof RuntimeError) return error;
    const status = engineStatusOf(error);
    if (status === undefined) {
      return new RuntimeError(
        "engine_unreachable",
        `${what}: the container engine at ${this.socketPath} is not reachable (${codeOf(error) ?? messageOf(error)}). Is it running?`,
        { cause: error },
      );
    }
    return new RuntimeError(codeOfStatus(status), `${what}: ${engineReasonOf(error)}`, {
      cause: error,
    });
  }
}

/** The HTTP status of the engine's answer; absent when there was none. */
export function engineStatusOf(error: unknown): number | undefined {
  const thrown = error instanceof RuntimeError ? error.cause : error;
  if (typeof thrown !== "object" || thrown === null || !("statusCode" in thrown)) return undefined;
  return typeof thrown.statusCode === "number" ? thrown.statusCode : undefined;
}

/** The engine's own words, without what the client puts around them. */
export function engineReasonOf(error: unknown): string {
  const thrown = error instanceof RuntimeError ? (error.cause ?? error) : error;
  return messageOf(thrown)
    .replace(/^\(HTTP code \d+\) [^-]*- /, "")
    .trim();
}

function codeOfStatus(status: number): "not_found" | "invalid_request" | "engine_failed" {
  if (status === 404) return "not_found";
  return status === 400 || status === 409 ? "invalid_request" : "engine_failed";
}

function raceAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  work.catch(() => undefined); // When the abort wins, the late failure has no reader.
  return Promise.race([work, promise]).finally(() => signal.removeEventListener("abort", abort));
}
