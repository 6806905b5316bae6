import type { Failure, Job } from "./job.ts";
import { runJobs } from "./pool.ts";
import type { PlantedBug, Simulation } from "./simulations.ts";

export type BugSearch = {
  readonly bug: PlantedBug;
  readonly runs: number;
  readonly failure: Failure | undefined;
};

/** Runs each planted bug on the seeds from 1 until one fails or its budget is spent. */
export async function findPlantedBugs(
  { name: simulation, bugs }: Pick<Simulation, "name" | "bugs">,
  { threads, onResult }: { readonly threads: number; onResult(search: BugSearch): void },
): Promise<void> {
  // The long searches first, so that the threads end together.
  const jobs = bugs
    .toSorted((left, right) => right.seeds - left.seeds)
    .map(({ name, seeds }): Job => ({ simulation, first: 1, count: seeds, bug: name }));
  await runJobs(jobs, {
    threads,
    onResult: ({ job, runs, failure }) => {
      const bug = bugs.find(({ name }) => name === job.bug);
      if (bug !== undefined) onResult({ bug, runs, failure });
      return true;
    },
  });
}
