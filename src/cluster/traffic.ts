import { isAlike } from "./alike.ts";
import type { Service } from "./cluster-state.ts";
import { sameValue } from "./same-value.ts";

/** Whether tasks of this revision get traffic. */
export function getsTraffic(service: Service, revision: number): boolean {
  return service.traffic === undefined || isAmong(service, revision, service.traffic.revisions);
}

/** Whether tasks of this revision had the traffic before it was moved the last time. */
export function hadTraffic(service: Service, revision: number): boolean {
  return service.traffic !== undefined && isAmong(service, revision, service.traffic.before);
}

/** Whether the traffic is where it should end up: at the newest revision only. */
export function hasMoved({ traffic, revision }: Service): boolean {
  return traffic === undefined || sameValue(traffic.revisions, [revision]);
}

/** A new revision gets none before the planner says so; what has it keeps it. */
export function withTrafficHeld(before: Service, next: Service): Service {
  if (next.spec.update.strategy?.kind !== "blue-green") {
    const { traffic: _traffic, ...mixed } = next;
    return mixed;
  }
  if (next.revision === before.revision || next.traffic !== undefined) return next;
  const revisions = [...before.templates.keys()];
  return { ...next, traffic: { revisions, before: [], sinceMs: next.updatedAtMs } };
}

function isAmong(service: Service, revision: number, revisions: readonly number[]): boolean {
  return revisions.some((each) => isAlike(service, revision, each));
}
