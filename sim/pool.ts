import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Job, JobResult } from "./job.ts";

/** One worker thread a core, and no more than there are jobs. */
export function defaultThreads(): number {
  return availableParallelism();
}

/**
 * Runs jobs on worker threads and tells of each result as it comes. Stops early, with the rest
 * of the jobs not begun, when `onResult` gives false. The order of results is not that of jobs.
 */
export async function runJobs(
  jobs: Iterable<Job>,
  { threads, onResult }: { readonly threads: number; onResult(result: JobResult): boolean },
): Promise<void> {
  const queue = jobs[Symbol.iterator]();
  let isStopped = false;
  const work = async () => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url));
    try {
      while (!isStopped) {
        const next = queue.next();
        if (next.done === true) return;
        const result = await runOne(worker, next.value);
        if (!isStopped && !onResult(result)) isStopped = true;
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: threads }, work));
}

function runOne(worker: Worker, job: Job): Promise<JobResult> {
  const { promise, resolve, reject } = Promise.withResolvers<JobResult>();
  worker.once("message", resolve);
  worker.once("error", reject);
  worker.postMessage(job);
  return promise.finally(() => worker.removeListener("error", reject));
}
