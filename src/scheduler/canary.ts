import { rolloutOf, type Service } from "../cluster/index.ts";
import type { ServiceKey } from "../kernel/index.ts";
import type { StrategySpec, TaskTemplate } from "../spec/index.ts";
import type { Draft } from "./draft.ts";
import { isUpToDate } from "./facts.ts";

type Canary = Extract<StrategySpec, { readonly kind: "canary" }>;

/**
 * How many places may have the newest revision while its canary is being judged; undefined
 * where there is none, or it is over.
 */
export function canaryQuota(draft: Draft, key: ServiceKey, service: Service): number | undefined {
  const canary = canaryOf(service);
  if (canary === undefined || service.promotedRevision === service.revision) return undefined;
  // The first revision of a service has nothing to be compared with.
  const isUpdate = draft.tasksOf(key).some((task) => !isUpToDate(service, task.revision));
  return isUpdate ? quotaOf(canary, placesOf(draft, service)) : undefined;
}

/** Whether a canary is judged that has all of its tasks: the other places stay as they are. */
export function holdsOthers(draft: Draft, key: ServiceKey, service: Service): boolean {
  const quota = canaryQuota(draft, key, service);
  return quota !== undefined && updatedTasks(draft, key, service) >= quota;
}

function updatedTasks(draft: Draft, key: ServiceKey, service: Service): number {
  return draft.runningOf(key).filter((task) => isUpToDate(service, task.revision)).length;
}

/**
 * Ends the canary once all of its tasks have stayed healthy for its time: the others follow,
 * or the roll-out is paused until a person lets it go on.
 */
export function judgeCanary(draft: Draft, key: ServiceKey, service: Service): void {
  const canary = canaryOf(service);
  const quota = canaryQuota(draft, key, service);
  if (canary === undefined || quota === undefined || service.rollout === "paused") return;
  const { facts } = draft;
  const bakeMs = Math.max(canary.bakeMs, rolloutOf(service).monitorMs);
  let healthy = 0;
  for (const task of draft.runningOf(key)) {
    if (!isUpToDate(service, task.revision)) continue;
    const sinceMs = facts.settledSinceMs(task);
    if (sinceMs === undefined) return;
    if (sinceMs + bakeMs > facts.now) {
      draft.wakeAt(sinceMs + bakeMs);
      return;
    }
    healthy += 1;
  }
  if (healthy < quota) return;
  if (canary.pauses) draft.setRollout(key, "paused", { cause: "canary" });
  else draft.setRollout(key, "normal", { promoted: service.revision });
}

/**
 * What a place gets that lost its task while a canary is judged: what was there before, once
 * there are as many of the new ones as there should be.
 */
export function vacancyOf(
  draft: Draft,
  key: ServiceKey,
  service: Service,
): { readonly revision: number; readonly template: TaskTemplate } {
  const newest = { revision: service.revision, template: service.spec.template };
  if (!holdsOthers(draft, key, service)) return newest;
  const outdated = [...service.templates.keys()].filter((each) => !isUpToDate(service, each));
  const revision = Math.max(...outdated);
  const template = service.templates.get(revision);
  return template === undefined ? newest : { revision, template };
}

function canaryOf(service: Service): Canary | undefined {
  const { strategy } = rolloutOf(service);
  return strategy?.kind === "canary" ? strategy : undefined;
}

function quotaOf({ share }: Canary, places: number): number {
  const wanted = share.kind === "count" ? share.count : Math.ceil((places * share.percent) / 100);
  return Math.min(Math.max(1, wanted), places);
}

function placesOf(draft: Draft, { spec: { mode } }: Service): number {
  return mode.kind === "replicated" ? mode.replicas : draft.facts.nodes.size;
}
