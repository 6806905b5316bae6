import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Job, JobResult } from "./job.ts";

/**
 * What waits for the end of a signal holds its world: nobody ends those of a daemon that crashed.
 * A thread that holds more than this by now is replaced.
 */
const maxHeapBytes = 512 * 2 ** 20;

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
    let worker = newWorker();
    try {
      while (!isStopped) {
        const next = queue.next();
        if (next.done === true) return;
        const result = await runOne(worker, next.value);
        if (!isStopped && !onResult(result)) isStopped = true;
        if (isStopped || result.heapBytes < maxHeapBytes) continue;
        await worker.terminate();
        worker = newWorker();
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: threads }, work));
}

function newWorker(): Worker {
  return new Worker(new URL("./worker.ts", import.meta.url));
}

function runOne(worker: Worker, job: Job): Promise<JobResult> {
  const { promise, resolve, reject } = Promise.withResolvers<JobResult>();
  worker.once("message", resolve);
  worker.once("error", reject);
  worker.postMessage(job);
  return promise.finally(() => worker.removeListener("error", reject));
}
