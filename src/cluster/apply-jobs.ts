import type { ServiceKey } from "../kernel/index.ts";
import { isJobMode } from "../spec/index.ts";
import { type Applied, accepted, type CommandOf, rejected, withEntry } from "./applied.ts";
import type { ClusterState, Service } from "./cluster-state.ts";
import { type RunChange, withRunChange } from "./job-run.ts";

/** Starts a run of a job now, whatever its schedule says. */
export function triggerJob(
  state: ClusterState,
  { service: key, nowMs }: CommandOf<"trigger_job">,
): Applied {
  const service = state.services.get(key);
  if (service === undefined) return rejected(state, "not_found", `No service ${key}.`);
  if (!isJobMode(service.spec.mode)) {
    return rejected(state, "invalid", `Service ${key} is not a job; it runs all the time.`);
  }
  const runs = service.runs ?? [];
  const active = runs.find((run) => run.state === "active");
  if (active !== undefined && service.spec.schedule?.overlap !== "allow") {
    const message = `Run ${active.number} of ${key} is still going on. See: skein ps`;
    return rejected(state, "conflict", message);
  }
  const number = Math.max(0, ...runs.map((run) => run.number)) + 1;
  const { revision } = service;
  const run = { number, trigger: "manual", revision, startedAtMs: nowMs, state: "active" } as const;
  const next = afterRunChanges(service, [{ kind: "start", run: { ...run, message: "" } }]);
  if (next === undefined) return rejected(state, "stale", "Another run was started first.");
  return accepted({ ...state, services: withEntry(state.services, key, next) });
}

/** Keeps a schedule from starting anything, or lets it go on; what was due meanwhile is not made up for. */
export function suspendSchedule(
  state: ClusterState,
  { service: key, isSuspended, nowMs }: CommandOf<"suspend_schedule">,
): Applied {
  const service = state.services.get(key);
  if (service === undefined) return rejected(state, "not_found", `No service ${key}.`);
  const { schedule } = service.spec;
  if (schedule === undefined) {
    return rejected(state, "invalid", `Service ${key} has no schedule (x-schedule).`);
  }
  if (schedule.isSuspended === isSuspended) return accepted(state);
  const spec = { ...service.spec, schedule: { ...schedule, isSuspended } };
  const next: Service = {
    ...service,
    spec,
    version: state.index,
    updatedAtMs: nowMs,
    dueAfterMs: nowMs,
  };
  return accepted({ ...state, services: withEntry(state.services, key, next) });
}

/** From when on due times count once the service's spec has changed. */
export function dueAfterChange(
  before: Service | undefined,
  spec: Service["spec"],
  nowMs: number,
): Pick<Service, "dueAfterMs"> {
  const { schedule } = spec;
  if (schedule === undefined) return {};
  const known = before?.spec.schedule;
  const isSame =
    known?.cron === schedule.cron &&
    known.timezone === schedule.timezone &&
    known.isSuspended === schedule.isSuspended;
  return { dueAfterMs: isSame ? (before?.dueAfterMs ?? nowMs) : nowMs };
}

/**
 * The service after its runs were started and ended; undefined when a run was started
 * already, by another leader or for the same due time: only one of both may count.
 */
export function afterRunChanges(
  service: Service,
  changes: readonly RunChange[],
): Service | undefined {
  let runs = service.runs ?? [];
  let dueAfterMs = service.dueAfterMs;
  for (const change of changes) {
    const next = withRunChange(runs, change);
    if (next === undefined) return undefined;
    runs = next;
    const dueAtMs = change.kind === "start" ? change.run.dueAtMs : undefined;
    if (dueAtMs === undefined) continue;
    if (dueAfterMs !== undefined && dueAtMs <= dueAfterMs) return undefined;
    dueAfterMs = dueAtMs;
  }
  return { ...service, runs, ...(dueAfterMs === undefined ? {} : { dueAfterMs }) };
}

/** Makes all run changes of a plan; returns false when one of them is stale. */
export function withRunChanges(
  services: Map<ServiceKey, Service>,
  changes: readonly { readonly service: ServiceKey; readonly change: RunChange }[],
): boolean {
  for (const [key, group] of Map.groupBy(changes, ({ service }) => service)) {
    const service = services.get(key);
    if (service === undefined) continue;
    const next = afterRunChanges(
      service,
      group.map(({ change }) => change),
    );
    if (next === undefined) return false;
    services.set(key, next);
  }
  return true;
}
