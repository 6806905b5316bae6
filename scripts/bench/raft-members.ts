import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { UnableToRun } from "./errors.ts";
import { cpuSeconds, type Running } from "./processes.ts";

/** A replicated log of three members that take puts and reads as etcd's JSON gateway does. */
export type LogCluster = AsyncDisposable & {
  readonly name: string;
  readonly members: readonly LogMember[];
  /** Who leads, and how many puts it has applied. Throws where nobody leads. */
  leader(): Promise<{ readonly member: LogMember; readonly revision: number }>;
};

export const memberCount = 3;
const pollMs = 5;
const settleTimeoutMs = 30_000;
/** Of one attempt, where the same is tried again at once. */
const attemptMs = 100;

/** One member, which can be killed and started again on what it left on disk. */
export class LogMember implements AsyncDisposable {
  readonly url: string;
  readonly #launch: () => Promise<Running>;
  #running: Running | undefined;

  constructor(url: string, launch: () => Promise<Running>) {
    this.url = url;
    this.#launch = launch;
  }

  get pid(): number {
    return this.#running?.pid ?? 0;
  }

  /** Does not wait until it serves. */
  async start(): Promise<void> {
    this.#running = await this.#launch();
  }

  /** At once, as by `kill -9`. */
  async kill(): Promise<void> {
    await this.#running?.kill();
    this.#running = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]();
  }
}

export function totalCpuSeconds({ members }: LogCluster): number {
  return members.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
}

const rangeSchema = z.object({
  kvs: z.array(z.object({ value: z.string() })).default([]),
});

/** @throws where it was not acknowledged. */
export async function put(
  url: string,
  { key, value }: { readonly key: string; readonly value: string },
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  await post(`${url}/v3/kv/put`, { key: base64(key), value: base64(value) }, signal);
}

/** A linearizable read. */
export async function get(
  url: string,
  key: string,
  { signal }: { readonly signal: AbortSignal },
): Promise<string | undefined> {
  const answer = await post(`${url}/v3/kv/range`, { key: base64(key) }, signal);
  const value = rangeSchema.parse(answer).kvs[0]?.value;
  return value === undefined ? undefined : Buffer.from(value, "base64").toString();
}

export async function post(url: string, body: unknown, signal: AbortSignal): Promise<unknown> {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${text.slice(0, 200)}`);
  return JSON.parse(text);
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** Tries until it succeeds: each attempt may take {@link attemptMs}, the next comes at once. */
export async function untilDone<Value>(
  attempt: (options: { readonly signal: AbortSignal }) => Promise<Value>,
  { what, signal }: { readonly what: string; readonly signal: AbortSignal },
): Promise<Value> {
  const deadline = performance.now() + settleTimeoutMs;
  for (;;) {
    try {
      return await attempt({ signal: AbortSignal.any([signal, AbortSignal.timeout(attemptMs)]) });
    } catch (error) {
      signal.throwIfAborted();
      if (performance.now() > deadline) throw new UnableToRun(`${what}: ${String(error)}`);
    }
    await sleep(pollMs, undefined, { signal });
  }
}

/** Waits until every member has a leader and serves puts and reads. */
export async function untilServing(cluster: LogCluster, signal: AbortSignal): Promise<void> {
  for (const { url } of cluster.members) {
    const what = `${cluster.name} does not serve at ${url}`;
    await untilDone((options) => put(url, { key: "ready", value: url }, options), { what, signal });
    await untilDone((options) => get(url, "ready", options), { what, signal });
  }
  await untilDone(() => cluster.leader(), { what: `${cluster.name} has no leader`, signal });
}
