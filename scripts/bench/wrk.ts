import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { UnableToRun } from "./errors.ts";
import { onCore } from "./processes.ts";

/** What `wrk` saw. */
export type Load = {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

export type LoadOptions = {
  readonly wrk: string;
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  readonly headers?: readonly string[];
  /** A Lua file that makes the requests. */
  readonly script?: string;
  /** Where wrk runs, when it is to stay on one core. */
  readonly core?: number;
  readonly signal: AbortSignal;
};

const run = promisify(execFile);

/**
 * As many requests as get answered, on so many connections. @throws UnableToRun when some
 * failed: an error is answered faster than a request, so the numbers would say nothing.
 */
export async function measureLoad(options: LoadOptions): Promise<Load> {
  const { wrk, url, connections, seconds, headers = [], script, core, signal } = options;
  const command = [
    wrk,
    "--threads=1",
    `--connections=${connections}`,
    `--duration=${seconds}s`,
    "--timeout=10s",
    "--latency",
    ...headers.flatMap((header) => ["--header", header]),
    ...(script === undefined ? [] : ["--script", script]),
    url,
  ];
  const [program = wrk, ...args] = core === undefined ? command : onCore(core, command);
  const { stdout } = await run(program, args, { signal });
  const problem = /^\s*(?:Non-2xx or 3xx responses|Socket errors): .*$/m.exec(stdout)?.[0];
  if (problem !== undefined) throw new UnableToRun(`${url}: ${problem.trim()}`);
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1]);
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]);
  if (!(requests > 0 && perSecond > 0)) throw new UnableToRun(`${url}: wrk printed\n${stdout}`);
  return { requests, perSecond, p50Ms: latencyMs(stdout, 50), p99Ms: latencyMs(stdout, 99) };
}

const unitMs: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1_000, m: 60_000 };

function latencyMs(stdout: string, percentile: number): number {
  const match = new RegExp(`^\\s+${percentile}%\\s+([\\d.]+)(us|ms|s|m)\\s*$`, "m").exec(stdout);
  return Number(match?.[1]) * (unitMs[match?.[2] ?? ""] ?? Number.NaN);
}
