import type { JobView, RunView, ServiceView } from "../../api/index.ts";
import { CliError } from "../cli-error.ts";
import { followRollout } from "../follow.ts";
import { findService, type Session, show, warnWithoutQuorum } from "../session.ts";
import { age, table } from "../table.ts";

type Job = ServiceView & { readonly job: JobView };

/** `skein job ls` and `skein cron ls` */
export async function listJobs(
  session: Session,
  { onlyScheduled }: { readonly onlyScheduled: boolean },
): Promise<void> {
  const query = { namespace: session.namespace };
  const services = await session.client.call("listServices", { query, signal: session.signal });
  const jobs = services.filter(isJob).filter(({ job }) => !onlyScheduled || job.schedule !== null);
  show(session, jobs, (found) =>
    onlyScheduled ? cronTable(found, session.now()) : jobTable(found, session.now()),
  );
  await warnWithoutQuorum(session);
}

function jobTable(jobs: readonly Job[], nowMs: number): string {
  const headings = ["NAMESPACE", "NAME", "MODE", "RUN", "STATE", "COMPLETIONS", "AGE", "MESSAGE"];
  return table(
    headings,
    jobs.map(({ namespace, name, mode, job }) => {
      const run = job.runs.at(-1);
      const done = run === undefined ? "-" : `${run.succeeded}/${job.completions ?? "nodes"}`;
      return [
        namespace,
        name,
        mode,
        run === undefined ? "-" : String(run.number),
        run?.state ?? "never run",
        done,
        run === undefined ? "-" : age(run.startedAt, nowMs),
        run?.message ?? "",
      ];
    }),
  );
}

function cronTable(jobs: readonly Job[], nowMs: number): string {
  const headings = [
    "NAMESPACE",
    "NAME",
    "SCHEDULE",
    "TIMEZONE",
    "SUSPENDED",
    "LAST",
    "STATE",
    "NEXT",
  ];
  return table(
    headings,
    jobs.map(({ namespace, name, job }) => {
      const run = job.runs.at(-1);
      return [
        namespace,
        name,
        job.schedule?.cron ?? "",
        job.schedule?.timezone ?? "",
        job.schedule?.isSuspended ? "yes" : "no",
        run === undefined ? "-" : age(run.startedAt, nowMs),
        run?.state ?? "-",
        job.nextDueAt ?? "-",
      ];
    }),
  );
}

/** `skein job runs NAME` */
export async function listRuns(session: Session, name: string): Promise<void> {
  const { job } = await findJob(session, name);
  show(session, job.runs, (runs) => runTable(runs, session.now()));
}

function runTable(runs: readonly RunView[], nowMs: number): string {
  const headings = ["RUN", "TRIGGER", "DUE", "STATE", "SUCCEEDED", "FAILED", "AGE", "MESSAGE"];
  return table(
    headings,
    runs.map((run) => [
      String(run.number),
      run.trigger,
      run.dueAt ?? "-",
      run.state,
      String(run.succeeded),
      String(run.failed),
      age(run.startedAt, nowMs),
      run.message,
    ]),
  );
}

/** `skein job run NAME` and `skein cron trigger NAME`: starts a run now and follows it to its end. */
export async function triggerJob(
  session: Session,
  name: string,
  { detach }: { readonly detach?: boolean },
): Promise<void> {
  const service = await findJob(session, name);
  const { namespace } = service;
  const answer = await session.client.call("triggerJob", {
    params: { namespace, name: service.name },
    body: {},
    signal: session.signal,
  });
  if (!detach) {
    const run = { name: service.name, number: answer.run };
    await followRollout(session, new Set([service.name]), { namespace, isUpdate: true, run });
  }
  const text = `run ${answer.run} of ${namespace}/${service.name} ${detach ? "started" : "succeeded"}\n`;
  show(session, answer, () => text);
}

/** `skein cron suspend NAME` and `skein cron resume NAME` */
export async function suspendSchedule(
  session: Session,
  name: string,
  isSuspended: boolean,
): Promise<void> {
  const { namespace, name: service } = await findJob(session, name);
  const answer = await session.client.call("suspendSchedule", {
    params: { namespace, name: service },
    body: { isSuspended },
    signal: session.signal,
  });
  const word = isSuspended ? "suspended" : "resumed";
  show(session, answer, () => `${word} ${namespace}/${service}\n`);
}

async function findJob(session: Session, name: string): Promise<Job> {
  const service = await findService(session, name);
  if (isJob(service)) return service;
  throw new CliError("usage", `Service "${name}" is not a job; it runs all the time.`);
}

function isJob(service: ServiceView): service is Job {
  return service.job !== null;
}
