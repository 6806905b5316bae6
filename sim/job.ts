import { messageOf } from "../src/kernel/index.ts";
import { plantedBugs } from "./raft/planted-bugs.ts";
import { runRaftWorld } from "./raft/world.ts";

/** Seeds to run one after the other, until the first that fails. */
export type Job = {
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
  readonly totals: Totals;
  readonly failure: Failure | undefined;
};

export type Totals = {
  readonly steps: number;
  readonly committed: number;
  readonly acknowledged: number;
  readonly reads: number;
  readonly undecided: number;
  readonly onFiles: number;
};

export const noTotals: Totals = {
  steps: 0,
  committed: 0,
  acknowledged: 0,
  reads: 0,
  undecided: 0,
  onFiles: 0,
};

export async function runJob(job: Job): Promise<JobResult> {
  const bug = plantedBugs.find(({ name }) => name === job.bug);
  if (job.bug !== undefined && bug === undefined) throw new Error(`no planted bug ${job.bug}`);
  const startCpu = process.threadCpuUsage();
  let totals = noTotals;
  let runs = 0;
  let failure: Failure | undefined;
  for (let seed = job.first; seed < job.first + job.count && failure === undefined; seed += 1) {
    runs += 1;
    try {
      const { steps, committed, acknowledged, reads, undecided, store } = await runRaftWorld({
        seed,
        bug,
      });
      totals = addTotals(totals, {
        steps,
        committed,
        acknowledged,
        reads,
        undecided,
        onFiles: store === "file" ? 1 : 0,
      });
    } catch (error) {
      const stack = error instanceof Error ? (error.stack ?? "") : "";
      failure = { seed, why: messageOf(error), stack };
    }
  }
  const { user, system } = process.threadCpuUsage(startCpu);
  return { job, runs, cpuMs: (user + system) / 1_000, totals, failure };
}

export function addTotals(left: Totals, right: Totals): Totals {
  return {
    steps: left.steps + right.steps,
    committed: left.committed + right.committed,
    acknowledged: left.acknowledged + right.acknowledged,
    reads: left.reads + right.reads,
    undecided: left.undecided + right.undecided,
    onFiles: left.onFiles + right.onFiles,
  };
}
