import type { JobRun, Service, Task } from "../cluster/index.ts";
import { type ServiceKey, serviceKey } from "../kernel/index.ts";
import { type DependencySpec, isJobMode } from "../spec/index.ts";
import type { Draft } from "./draft.ts";
import { isUpToDate } from "./facts.ts";

/**
 * What keeps the newest revision of a service from being started for the first time: the end
 * of a sentence, undefined when nothing does. Once a task of the revision was made, nothing
 * does any more: what was started is started again whatever became of the others.
 */
export function whatIsWaitedFor(
  draft: Draft,
  key: ServiceKey,
  service: Service,
): string | undefined {
  const { dependsOn = [] } = service.spec;
  if (dependsOn.length === 0) return undefined;
  const isStarted = draft.everyTaskOf(key).some((task) => isUpToDate(service, task.revision));
  if (isStarted) return undefined;
  for (const each of dependsOn) {
    const unmet = whyUnmet(draft, service, each);
    if (unmet !== undefined) return unmet;
  }
  return undefined;
}

/**
 * The log index since which tasks of a service are to be replaced because of an update of a
 * service that they are bound to; 0 where there is none.
 */
export function restartsSince(draft: Draft, service: Service): number {
  const bound = (service.spec.dependsOn ?? []).filter(({ restart }) => restart);
  const indexes = bound.map((each) => {
    const other = draft.facts.state.services.get(keyOf(service, each));
    const updatedAtIndex = other?.revisions?.at(-1)?.index ?? 0;
    return whyUnmet(draft, service, each) === undefined ? updatedAtIndex : 0;
  });
  return Math.max(0, ...indexes);
}

function keyOf({ spec }: Service, { service }: DependencySpec): ServiceKey {
  return serviceKey(spec.namespace, service);
}

const states: Readonly<Record<DependencySpec["condition"], string>> = {
  started: "to run",
  healthy: "to be healthy",
  completed: "to complete",
};

function whyUnmet(draft: Draft, service: Service, dependency: DependencySpec): string | undefined {
  const key = keyOf(service, dependency);
  const other = draft.facts.state.services.get(key);
  const what = `${dependency.service} ${states[dependency.condition]}`;
  if (other === undefined) {
    return dependency.isRequired ? `${what}, and there is no such service` : undefined;
  }
  const run = newestRun(other);
  if (run?.state === "succeeded") return undefined;
  if (dependency.condition === "completed") {
    if (run === undefined) return what;
    return run.state === "active" ? `${what} (run ${run.number})` : `${what}: ${endOf(run)}`;
  }
  const tasks = draft
    .everyTaskOf(key)
    .filter((task) => task.desired === "running" && isUpToDate(other, task.revision));
  const isMet = tasks.some((task) =>
    dependency.condition === "healthy" ? draft.facts.isSettled(task) : hasStarted(draft, task),
  );
  return isMet ? undefined : `${what}${statusText(draft, tasks)}`;
}

/** Of what the job is made of now; an older revision's success is none of this one's. */
function newestRun(service: Service): JobRun | undefined {
  if (!isJobMode(service.spec.mode)) return undefined;
  return service.runs?.findLast((run) => isUpToDate(service, run.revision));
}

function endOf({ number, state, message }: JobRun): string {
  return `its run ${number} ${state}${message === "" ? "" : ` (${message})`}`;
}

function hasStarted({ facts }: Draft, task: Task): boolean {
  const phase = facts.isAlive(task.nodeId) ? facts.status(task)?.phase : undefined;
  return phase === "running" || phase === "completed";
}

/** How far the nearest of its tasks is, in brackets. */
function statusText({ facts }: Draft, [task]: readonly Task[]): string {
  if (task === undefined) return "";
  const status = facts.status(task);
  const state = status?.phase === "running" ? status.health : status?.phase;
  return ` (${task.slot} is ${state ?? "pending"})`;
}
