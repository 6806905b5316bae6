import { defaultRetries, isJobMode } from "./compile-job.ts";
import { duration, present, unless } from "./render-values.ts";
import type { Json, ServiceSpec } from "./service-spec.ts";

type Keys = Readonly<Record<string, Json>>;

/** `deploy.mode` and how often. */
export function renderMode(mode: ServiceSpec["mode"]): Keys {
  switch (mode.kind) {
    case "replicated":
      return mode.replicas === 1 ? {} : { replicas: mode.replicas };
    case "replicated-job":
      return present({ mode: mode.kind, replicas: unless(mode.completions, 1) });
    default:
      return { mode: mode.kind };
  }
}

/** `x-job` and `x-schedule`. */
export function renderJob({ mode, schedule }: ServiceSpec): Keys {
  const parallelism =
    mode.kind === "replicated-job" ? unless(mode.parallelism, mode.completions) : undefined;
  return {
    ...(parallelism !== undefined && { "x-job": { parallelism } }),
    ...(schedule !== undefined && {
      "x-schedule": present({
        cron: schedule.cron,
        timezone: unless(schedule.timezone, "UTC"),
        overlap: unless(schedule.overlap, "forbid"),
        suspend: schedule.isSuspended || undefined,
      }),
    }),
  };
}

/** `deploy.restart_policy` of a job: its retries, which are no restarts on the node. */
export function renderRetries({ mode, template }: ServiceSpec): Keys | undefined {
  if (!isJobMode(mode)) return undefined;
  const delay = unless(template.restart.delayMs, 0, duration);
  if (mode.retries === 0) return present({ condition: "none", delay });
  return present({ delay, max_attempts: unless(mode.retries, defaultRetries) });
}
