import { setTimeout as sleep } from "node:timers/promises";
import { UnableToRun } from "./errors.ts";

const pollMs = 20;

/** Agents of one kind that know of each other, each a process. */
export interface Agents extends AsyncDisposable {
  readonly name: string;
  readonly names: readonly string[];
  readonly beliefs: Beliefs;
  /** Of those that run. */
  pids(): readonly number[];
  pidOf(agent: string): number;
  start(agent: string): Promise<void>;
  /** Tells all others something of 400 octets that begins with the key. */
  tell(from: string, key: string): void;
}

/** What agents said that they believe, and when this process heard it. */
export class Beliefs {
  readonly #statuses = new Map<string, { readonly status: string; readonly atMs: number }>();
  readonly #heard = new Map<string, Map<string, number>>();
  /** How often anybody was called failed. */
  failures = 0;

  status(on: string, of: string, status: string): void {
    const known = this.#statuses.get(`${on} ${of}`);
    if (known?.status === status) return;
    if (status === "failed") this.failures += 1;
    this.#statuses.set(`${on} ${of}`, { status, atMs: performance.now() });
  }

  heard(on: string, key: string): void {
    const receivers = this.#heard.get(key) ?? new Map<string, number>();
    this.#heard.set(key, receivers);
    if (!receivers.has(on)) receivers.set(on, performance.now());
  }

  /** An agent that begins anew knows nothing. */
  forget(on: string): void {
    for (const key of this.#statuses.keys()) {
      if (key.startsWith(`${on} `)) this.#statuses.delete(key);
    }
  }

  /** When the last of `on` came to believe it, once all do. */
  async whenAll(on: readonly string[], { of, status, withinMs, signal }: Wanted): Promise<number> {
    return await until(withinMs, signal, () => {
      const times: number[] = [];
      for (const each of on) {
        for (const subject of of) {
          const belief = this.#statuses.get(`${each} ${subject}`);
          if (each === subject) continue;
          if (belief?.status !== status) return `${each} believes ${subject} ${belief?.status}`;
          times.push(belief.atMs);
        }
      }
      return Math.max(...times);
    });
  }

  async whenHeard(
    on: readonly string[],
    { key, withinMs, signal }: { key: string; withinMs: number; signal: AbortSignal },
  ): Promise<number> {
    return await until(withinMs, signal, () => {
      const times = on.map((each) => this.#heard.get(key)?.get(each));
      const missing = times.indexOf(undefined);
      if (missing >= 0) return `${on[missing]} has not heard ${key}`;
      return Math.max(...times.filter((time) => time !== undefined));
    });
  }
}

type Wanted = {
  readonly of: readonly string[];
  readonly status: "alive" | "failed";
  readonly withinMs: number;
  readonly signal: AbortSignal;
};

/** Looks until there is a time; a text says what is missing. */
async function until(
  withinMs: number,
  signal: AbortSignal,
  look: () => number | string,
): Promise<number> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = look();
    if (typeof found === "number") return found;
    if (performance.now() > deadline) throw new UnableToRun(`After ${withinMs} ms ${found}.`);
    await sleep(pollMs, undefined, { signal });
  }
}
