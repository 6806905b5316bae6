import { parentPort } from "node:worker_threads";
import { type Job, runJob } from "./job.ts";

// Every abort and every refusal would note where it happened. Who wants to know replays the seed.
Error.stackTraceLimit = 0;

/** One thread of `pool.ts`: a job in, its result out. */
parentPort?.on("message", (job: Job) => {
  // A failing run is a result. Anything else is thrown and ends the thread.
  void runJob(job).then((result) => parentPort?.postMessage(result));
});
