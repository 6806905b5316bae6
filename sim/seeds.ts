import { addTotals, type Failure } from "./job.ts";
import { runJobs } from "./pool.ts";
import type { Totals } from "./simulations.ts";

const maxSeedsInJob = 20;

export type SeedsResult = {
  readonly runs: number;
  readonly cpuMs: number;
  readonly totals: Totals;
  /** Ends the search; the others on their way are not waited for. */
  readonly failure: Failure | undefined;
};

/** Runs `count` seeds from `first` on, on several threads, until one fails. */
export async function runSeeds(
  simulation: string,
  first: number,
  { count, threads }: { readonly count: number; readonly threads: number },
): Promise<SeedsResult> {
  let totals: Totals = {};
  let runs = 0;
  let cpuMs = 0;
  let failure: Failure | undefined;
  // Few seeds are shared out among the threads as well.
  const seedsInJob = Math.min(maxSeedsInJob, Math.ceil(count / threads));
  const jobs = Array.from({ length: Math.ceil(count / seedsInJob) }, (_, position) => {
    const begin = first + position * seedsInJob;
    return { simulation, first: begin, count: Math.min(seedsInJob, first + count - begin) };
  });
  await runJobs(jobs, {
    threads: Math.min(threads, jobs.length),
    onResult: (result) => {
      totals = addTotals(totals, result.totals);
      runs += result.runs;
      cpuMs += result.cpuMs;
      failure ??= result.failure;
      return failure === undefined;
    },
  });
  return { runs, cpuMs, totals, failure };
}
