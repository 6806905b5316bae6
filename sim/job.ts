import { getHeapStatistics } from "node:v8";
import { messageOf } from "../src/kernel/index.ts";
import { named, simulations, type Totals } from "./simulations.ts";

/** Seeds to run one after the other, until the first that fails. */
export type Job = {
  /** The name of the simulation. */
  readonly simulation: string;
  readonly first: number;
  readonly count: number;
  /** The planted bug to look for, by its name. */
  readonly bug?: string;
};

export type Failure = { readonly seed: number; readonly why: string; readonly stack: string };

export type JobResult = {
  readonly job: Job;
  readonly runs: number;
  readonly cpuMs: number;
  /** What its thread holds afterwards. */
  readonly heapBytes: number;
  readonly totals: Totals;
  readonly failure: Failure | undefined;
};

export async function runJob(job: Job): Promise<JobResult> {
  const simulation = named(simulations, job.simulation);
  const startCpu = process.threadCpuUsage();
  let totals: Totals = {};
  let runs = 0;
  let failure: Failure | undefined;
  // A bug that cannot be planted is no bug that was found.
  if (job.bug !== undefined) await simulation.prepare(job.bug);
  for (let seed = job.first; seed < job.first + job.count && failure === undefined; seed += 1) {
    runs += 1;
    try {
      totals = addTotals(totals, await simulation.run({ seed, bug: job.bug }));
    } catch (error) {
      const stack = error instanceof Error ? (error.stack ?? "") : "";
      failure = { seed, why: messageOf(error), stack };
    }
  }
  const { user, system } = process.threadCpuUsage(startCpu);
  const { used_heap_size: heapBytes } = getHeapStatistics();
  return { job, runs, cpuMs: (user + system) / 1_000, heapBytes, totals, failure };
}

export function addTotals(left: Totals, right: Totals): Totals {
  const sums = Object.entries(right).map(([name, value]) => [name, (left[name] ?? 0) + value]);
  return { ...left, ...Object.fromEntries(sums) };
}
