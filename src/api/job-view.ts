import type { JobRun, Service, Task } from "../cluster/index.ts";
import { isJobMode, nextDueMs, parseCron } from "../spec/index.ts";
import { timeText } from "./time-text.ts";
import type { JobView, RunView } from "./views.ts";

/** What there is to say of a job; null for a service that runs all the time. */
export function jobView(service: Service, tasks: readonly Task[], nowMs: number): JobView | null {
  const { mode, schedule } = service.spec;
  if (!isJobMode(mode)) return null;
  const runs = (service.runs ?? []).map((run) => runView(run, tasks));
  const wanted = mode.kind === "replicated-job" ? mode.completions : null;
  return {
    completions: wanted,
    retries: mode.retries,
    schedule: schedule === undefined ? null : { ...schedule },
    nextDueAt: nextDue(service, nowMs),
    runs,
  };
}

function nextDue({ spec, dueAfterMs = 0 }: Service, nowMs: number): string | null {
  const { schedule } = spec;
  if (schedule === undefined || schedule.isSuspended) return null;
  const parsed = parseCron(schedule.cron);
  if (parsed.kind === "invalid") return null;
  const dueMs = nextDueMs(parsed.cron, schedule.timezone, Math.max(nowMs, dueAfterMs));
  return dueMs === undefined ? null : timeText(dueMs);
}

function runView(run: JobRun, tasks: readonly Task[]): RunView {
  const own = tasks.filter((task) => task.run === run.number);
  const ended = (outcome: "succeeded" | "failed") =>
    own.filter(({ result }) => result?.outcome === outcome).length;
  return {
    number: run.number,
    trigger: run.trigger,
    state: run.state,
    revision: run.revision,
    dueAt: run.dueAtMs === undefined ? null : timeText(run.dueAtMs),
    startedAt: timeText(run.startedAtMs),
    endedAt: run.endedAtMs === undefined ? null : timeText(run.endedAtMs),
    succeeded: ended("succeeded"),
    failed: ended("failed"),
    message: run.message,
  };
}
