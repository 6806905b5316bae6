import {
  getsTraffic,
  hadTraffic,
  hasMoved,
  rolloutOf,
  type Service,
  type Task,
} from "../cluster/index.ts";
import type { ServiceKey } from "../kernel/index.ts";
import type { Draft } from "./draft.ts";
import { isUpToDate } from "./facts.ts";
import { globalPositions, occupiedSlots } from "./positions.ts";
import { replicasOf } from "./replicas.ts";
import { isEstablished } from "./rollout.ts";

/** Brings what is in view to what the service asks for. */
type Settle = (service: Service) => void;

/**
 * Plans a service whose revisions do not mix. The old tasks and the new ones are each kept as
 * if they were the whole service; when all the new ones are established the traffic moves,
 * and the old ones stand by for a while.
 */
export function planBlueGreen(
  draft: Draft,
  key: ServiceKey,
  { service, keepMs }: { readonly service: Service; readonly keepMs: number },
  settle: Settle,
): void {
  const isNew = (task: Task) => isUpToDate(service, task.revision);
  draft.within(isNew, () => settle(service));
  if (hasMoved(service)) {
    dismissOld(draft, key, service, keepMs);
    return;
  }
  for (const task of draft.runningOf(key)) {
    if (isNew(task) || getsTraffic(service, task.revision)) continue;
    draft.stop(task, `Replaced by revision ${service.revision} before it got traffic.`);
  }
  if (!getsTraffic(service, service.revision)) keepOld(draft, service, settle);
  if (service.rollout !== "paused" && isComplete(draft, key, service)) {
    draft.moveTraffic(key, service.revision);
  }
}

/** Until the traffic moves, what has it is kept at full strength. */
function keepOld(draft: Draft, service: Service, settle: Settle): void {
  const serving = [...service.templates.keys()].filter((each) => getsTraffic(service, each));
  const revision = Math.max(...serving);
  const template = service.templates.get(revision);
  if (template === undefined) return;
  const isOld = (task: Task) => getsTraffic(service, task.revision);
  // Paused, as none of them is to be replaced by another of them.
  const old: Service = {
    ...service,
    revision,
    rollout: "paused",
    spec: { ...service.spec, template },
  };
  draft.within(isOld, () => settle(old));
}

/** The old tasks stand by for `keepMs`; those that never had the traffic need not. */
function dismissOld(draft: Draft, key: ServiceKey, service: Service, keepMs: number): void {
  const { facts } = draft;
  const old = draft.runningOf(key).filter((task) => !isUpToDate(service, task.revision));
  if (old.length === 0) return;
  const isFailure = service.revisions?.at(-1)?.cause === "failed";
  const untilMs = (service.traffic?.sinceMs ?? 0) + (isFailure ? 0 : keepMs);
  draft.wakeAt(untilMs);
  const isReliable = service.rollout !== "paused" && isComplete(draft, key, service);
  for (const task of old) {
    const isOver = !hadTraffic(service, task.revision) || untilMs <= facts.now;
    const isDraining = facts.nodes.get(task.nodeId)?.node.eligibility === "drain";
    if (facts.isLost(task)) draft.stop(task, "Its node was lost.");
    else if (isDraining) draft.stop(task, "Its node is draining.");
    else if (isOver && isReliable) draft.stop(task, `Replaced by revision ${service.revision}.`);
  }
}

/** Whether every place has a new task that is established; places on dead nodes do not count. */
function isComplete(draft: Draft, key: ServiceKey, service: Service): boolean {
  const { monitorMs } = rolloutOf(service);
  let isComplete = true;
  let served = 0;
  draft.within(
    (task) => isUpToDate(service, task.revision),
    () => {
      const isGlobal = service.spec.mode.kind === "global";
      const positions = isGlobal
        ? globalPositions(draft, key, service)
        : occupiedSlots(draft, key, service);
      for (const { only, staying } of positions) {
        if (staying.some((task) => isEstablished(draft, task, monitorMs))) served += 1;
        else if (only === undefined || draft.facts.isAlive(only)) isComplete = false;
      }
    },
  );
  return isComplete && served >= replicasOf(service);
}
