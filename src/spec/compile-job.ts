import { parseCron } from "./cron.ts";
import { isTimeZone } from "./cron-time.ts";
import { overlapPolicies } from "./deploy-keys.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { Section } from "./section.ts";
import type { ScheduleSpec, ServiceSpec, TaskTemplate } from "./service-spec.ts";

/** How often a job that fails is tried again when its manifest does not say. */
export const defaultRetries = 3;
/** Each task of a run is remembered until the run is forgotten. */
const maxCompletions = 1_000;

type JobMode = Extract<ServiceSpec["mode"], { readonly kind: "replicated-job" | "global-job" }>;

/** Whether a service runs to its end: by its mode, or because it has a schedule. */
export function isJobMode(mode: ServiceSpec["mode"]): mode is JobMode {
  return mode.kind === "replicated-job" || mode.kind === "global-job";
}

/** Whether a service has its tasks by node, one on each, and not by slot. */
export function runsPerNode({ kind }: ServiceSpec["mode"]): boolean {
  return kind === "global" || kind === "global-job";
}

/** `x-schedule`: when a job runs. */
export function compileSchedule(service: Section): ScheduleSpec | undefined {
  const given = service.short("x-schedule");
  if (given === undefined) return undefined;
  if (!(given instanceof Section)) {
    const parsed = parseCron(given.text);
    if (parsed.kind === "invalid") service.reject("x-schedule", "a schedule", parsed.message);
    return { cron: given.text, timezone: "UTC", overlap: "forbid", isSuspended: false };
  }
  const section = given;
  const cron = section.text("cron");
  const timezone = section.text("timezone") ?? "UTC";
  if (cron === undefined) {
    if (!section.has("cron")) section.reject("cron", "a schedule such as `0 3 * * *`");
    return undefined;
  }
  const parsed = parseCron(cron);
  if (parsed.kind === "invalid") section.reject("cron", "a schedule", parsed.message);
  if (!isTimeZone(timezone)) {
    section.reject("timezone", "the name of a time zone such as `Europe/Berlin`");
  }
  return {
    cron,
    timezone,
    overlap: section.choice("overlap", overlapPolicies) ?? "forbid",
    isSuspended: section.boolean("suspend") ?? false,
  };
}

/** What a job is beyond its replicas: how many at a time, how often again. */
export function compileJobMode(
  service: Section,
  options: {
    readonly kind: JobMode["kind"];
    readonly replicas: number | undefined;
    readonly retries: number;
    readonly diagnostics: Diagnostics;
  },
): JobMode {
  const { kind, replicas, retries, diagnostics } = options;
  const job = service.child("x-job");
  const parallelism = job?.integer("parallelism");
  if (kind === "global-job") {
    if (parallelism !== undefined) {
      const what = "a job in mode `global-job` runs on all nodes at once";
      diagnostics.problem(job?.positionOf("parallelism") ?? service.position, what);
    }
    return { kind, retries };
  }
  const completions = replicas ?? 1;
  if (completions < 1 || completions > maxCompletions) {
    diagnostics.problem(
      service.position,
      `a job must be completed from 1 to ${maxCompletions} times, not ${completions}`,
      "change `deploy.replicas`",
    );
  }
  return { kind, completions, parallelism: parallelism ?? completions, retries };
}

/**
 * The restart policy of a job. Its tasks are never started again on their node: the leader
 * makes a new one for each retry, so that a retry may run elsewhere and all are counted.
 */
export function compileJobRestart(
  service: Section,
  deploy: Section | undefined,
  {
    policy,
    diagnostics,
  }: { readonly policy: TaskTemplate["restart"]; readonly diagnostics: Diagnostics },
): { readonly restart: TaskTemplate["restart"]; readonly retries: number } {
  const chosen = deploy?.child("restart_policy");
  const isSaid = chosen?.has("condition") ?? service.has("restart");
  if (isSaid && policy.condition === "any") {
    diagnostics.problem(
      chosen?.positionOf("condition") ?? service.positionOf("restart"),
      "a job that has succeeded is not started again",
      "write `on-failure`, or `none` for no retries",
    );
  }
  const isNever = isSaid && policy.condition === "none";
  const retries = isNever ? 0 : (policy.maxAttempts ?? defaultRetries);
  return { restart: { condition: "none", delayMs: policy.delayMs, windowMs: 0 }, retries };
}
