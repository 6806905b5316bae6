import { type IncomingMessage, request } from "node:http";
import type { Machines } from "../../test/e2e/machines.ts";
import { UnableToRun } from "./errors.ts";

const filters = encodeURIComponent(
  JSON.stringify({ type: ["container"], event: ["start", "die"] }),
);
const callTimeoutMs = 30_000;
const maxErrorText = 500;

type EngineEvent = {
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: { readonly image?: string } };
  readonly timeNano: number;
};

type Seen = {
  readonly id: string;
  readonly machine: number;
  readonly image: string;
  /** Of the wall clock. */
  readonly startedAtMs: number;
};

/**
 * What runs on the machines and since when, by the engines' own events and clocks: the same
 * for whoever had the containers started.
 */
export class EngineWatch implements Disposable {
  readonly #machines: Machines;
  readonly #streams = new Map<number, AbortController>();
  readonly #running = new Map<string, Seen>();
  readonly #listeners = new Set<() => void>();
  #lastDeathAtMs = 0;

  constructor(machines: Machines) {
    this.#machines = machines;
  }

  get running(): readonly Seen[] {
    return [...this.#running.values()];
  }

  /** When the newest of those that run was started, ms of the wall clock. */
  get lastStartAtMs(): number {
    return Math.max(0, ...this.running.map(({ startedAtMs }) => startedAtMs));
  }

  get lastDeathAtMs(): number {
    return this.#lastDeathAtMs;
  }

  /** Begins to follow an engine; resolves when it has answered, so that nothing is missed. */
  async follow(machine: number): Promise<void> {
    const stop = new AbortController();
    this.#streams.set(machine, stop);
    const response = await open(this.#machines.engineSocket(machine), {
      method: "GET",
      path: `/events?filters=${filters}`,
      signal: stop.signal,
    });
    let rest = "";
    response.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#note(machine, JSON.parse(line) as EngineEvent);
    });
    // Of a machine that loses power.
    response.on("error", () => undefined);
  }

  /** The machine is gone, and what ran on it. */
  forget(machine: number): void {
    this.#streams.get(machine)?.abort();
    this.#streams.delete(machine);
    for (const [id, seen] of this.#running) if (seen.machine === machine) this.#running.delete(id);
  }

  /** Resolves as soon as an event makes it true. */
  async until(
    test: () => boolean,
    options: { readonly what: string; readonly limitMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    const { what, limitMs, signal } = options;
    const limited = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => test() && resolve();
    const giveUp = () => {
      const text = `After ${limitMs / 1_000} s still not: ${what}; ${this.#running.size} run.`;
      reject(signal.aborted ? signal.reason : new UnableToRun(text));
    };
    this.#listeners.add(look);
    limited.addEventListener("abort", giveUp, { once: true });
    look();
    try {
      await promise;
    } finally {
      this.#listeners.delete(look);
      limited.removeEventListener("abort", giveUp);
    }
  }

  [Symbol.dispose](): void {
    for (const stop of this.#streams.values()) stop.abort();
  }

  #note(machine: number, { Action, Actor, timeNano }: EngineEvent): void {
    const atMs = timeNano / 1e6;
    if (Action === "start") {
      const image = Actor.Attributes.image ?? "";
      this.#running.set(Actor.ID, { id: Actor.ID, machine, image, startedAtMs: atMs });
    } else if (this.#running.delete(Actor.ID)) {
      this.#lastDeathAtMs = Math.max(this.#lastDeathAtMs, atMs);
    }
    for (const listener of [...this.#listeners]) listener();
  }
}

/** One call of an engine's API. @throws where it is refused. */
export async function callEngine<T>(
  socketPath: string,
  options: {
    readonly method?: "GET" | "POST" | "DELETE";
    readonly path: string;
    readonly body?: unknown;
    readonly signal?: AbortSignal;
  },
): Promise<T> {
  const { method = "GET", path, body, signal } = options;
  const timeout = AbortSignal.timeout(callTimeoutMs);
  const response = await open(socketPath, {
    method,
    path,
    body,
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
  });
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  const status = response.statusCode ?? 0;
  if (status >= 300 && status !== 304) {
    throw new Error(`The engine answers ${status}: ${text.slice(0, maxErrorText)}`);
  }
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

async function open(
  socketPath: string,
  options: {
    readonly method: string;
    readonly path: string;
    readonly body?: unknown;
    readonly signal: AbortSignal;
  },
): Promise<IncomingMessage> {
  const { method, path, signal, body } = options;
  const text = body === undefined ? "" : JSON.stringify(body);
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = request({ socketPath, method, path, headers, signal, agent: false });
  outgoing.once("response", resolve);
  outgoing.on("error", reject);
  outgoing.end(text);
  return await promise;
}
