import type { JobRun, Service } from "../cluster/index.ts";
import type { ServiceKey } from "../kernel/index.ts";
import { lastDueMs, nextDueMs, parseCron } from "../spec/index.ts";
import { whatIsWaitedFor } from "./dependencies.ts";
import type { Draft } from "./draft.ts";
import { explainDependency } from "./explain.ts";
import { isUpToDate } from "./facts.ts";

/**
 * Starts what is due: a run per due time of a schedule, or one per revision of a job that has
 * none. The due time is part of a run's agreed identity, so a leader that takes over knows
 * what its predecessor has started, whatever their clocks say. Returns the runs as they are then.
 */
export function startDueRuns(draft: Draft, key: ServiceKey, service: Service): readonly JobRun[] {
  const runs = service.runs ?? [];
  const isNew = !runs.some(({ revision }) => isUpToDate(service, revision));
  const what = isNew ? whatIsWaitedFor(draft, key, service) : undefined;
  if (what !== undefined) {
    draft.explain(explainDependency({ service: key, slot: 1 }, what));
    return runs;
  }
  return service.spec.schedule === undefined
    ? startRevision(draft, key, service, runs)
    : startScheduled(draft, key, service, runs);
}

function startRevision(
  draft: Draft,
  key: ServiceKey,
  service: Service,
  runs: readonly JobRun[],
): readonly JobRun[] {
  const { revision } = service;
  if (runs.some((run) => run.revision === revision)) return runs;
  const message = `The job was changed (revision ${revision}).`;
  const ended = runs.map((run) => replaced(draft, key, run, message));
  return [...ended, start(draft, key, { ...nextRun(runs, service), trigger: "deploy" })];
}

function startScheduled(
  draft: Draft,
  key: ServiceKey,
  service: Service,
  runs: readonly JobRun[],
): readonly JobRun[] {
  const { schedule } = service.spec;
  const { now } = draft.facts;
  if (schedule === undefined || schedule.isSuspended) return runs;
  const parsed = parseCron(schedule.cron);
  if (parsed.kind === "invalid") return runs;
  const afterMs = service.dueAfterMs ?? service.updatedAtMs;
  const next = nextDueMs(parsed.cron, schedule.timezone, Math.max(now, afterMs));
  if (next !== undefined) draft.wakeAt(next);
  const due = lastDueMs(parsed.cron, schedule.timezone, { afterMs, untilMs: now });
  if (due === undefined) return runs;
  const missed = due.count - 1;
  const run: JobRun = {
    ...nextRun(runs, service),
    trigger: "schedule",
    dueAtMs: due.dueMs,
    message: missed === 0 ? "" : `${missed} earlier due times were missed.`,
  };
  const active = runs.find(({ state }) => state === "active");
  if (active === undefined || schedule.overlap === "allow") {
    return [...runs, start(draft, key, run)];
  }
  if (schedule.overlap === "forbid") {
    const message = `Run ${active.number} was still going on.`;
    const skipped: JobRun = { ...run, state: "skipped", endedAtMs: now, message };
    return [...runs, start(draft, key, skipped)];
  }
  const message = `Run ${run.number} took its place.`;
  return [...runs.map((each) => replaced(draft, key, each, message)), start(draft, key, run)];
}

function nextRun(runs: readonly JobRun[], { revision }: Service): Omit<JobRun, "trigger"> {
  const number = Math.max(0, ...runs.map((run) => run.number)) + 1;
  return { number, revision, startedAtMs: 0, state: "active", message: "" };
}

function start(draft: Draft, key: ServiceKey, run: JobRun): JobRun {
  const started = { ...run, startedAtMs: draft.facts.now };
  draft.changeRun(key, { kind: "start", run: started });
  return started;
}

function replaced(draft: Draft, key: ServiceKey, run: JobRun, message: string): JobRun {
  if (run.state !== "active") return run;
  const atMs = draft.facts.now;
  const { number } = run;
  draft.changeRun(key, { kind: "end", number, state: "replaced", atMs, message });
  return { ...run, state: "replaced", endedAtMs: atMs, message };
}
