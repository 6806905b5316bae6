import { rolloutOf, type Service, type Task, templateOf } from "../cluster/index.ts";
import type { ServiceKey, TaskId } from "../kernel/index.ts";
import type { TaskTemplate } from "../spec/index.ts";
import { holdsOthers, vacancyOf } from "./canary.ts";
import { whatIsWaitedFor } from "./dependencies.ts";
import type { Draft } from "./draft.ts";
import {
  explainBackOff,
  explainDependency,
  explainUnplaceable,
  explainWaitingForStop,
} from "./explain.ts";
import { failuresByNode, rememberedFailures, retryAtMs } from "./failures.ts";
import { isFenced, mayRunUnseen, originalAt } from "./fencing.ts";
import { staticHostPorts } from "./node-usage.ts";
import { type Placement, place } from "./placement.ts";
import type { PlacementRequest } from "./placement-request.ts";
import type { LeavingCause, Position } from "./positions.ts";
import { makeRoom } from "./preemption.ts";
import { dependencyReason, updateReason, wasPreempted, wasStoppedFirst } from "./reasons.ts";

type Wanted = { readonly revision: number; readonly template: TaskTemplate };

/** Whether the old task has to end before the new one may start. */
function stopsFirst(service: Service): boolean {
  return rolloutOf(service).order === "stop-first";
}

/** The stopped predecessor that a position waits for, where tasks must not overlap. */
function waitsForStop(
  draft: Draft,
  service: Service,
  { service: key, slot, only }: Position,
): Task | undefined {
  const hasHostPorts = staticHostPorts(service.spec.template).length > 0;
  if (!stopsFirst(service) && !hasHostPorts) return undefined;
  return draft
    .stoppedOf(key)
    .filter((task) => draft.facts.mayStillRun(task) || mayRunUnseen(draft, service, task))
    .find((task) => (only === undefined ? task.slot === slot : task.nodeId === only));
}

/**
 * Gives an empty position its task, unless it backs off or its predecessor has not ended.
 * Returns whether the position is on its way: its task was created, or will be shortly.
 */
export function fillPosition(
  draft: Draft,
  service: Service,
  position: Position,
  all: readonly Position[],
): boolean {
  // A node that is away cannot start anything; its global tasks come with its return.
  if (position.only !== undefined && !draft.facts.isAlive(position.only)) return false;
  const before = waitsForStop(draft, service, position);
  if (before !== undefined) {
    draft.explain(explainWaitingForStop(position, before.id));
    return true;
  }
  const wanted = vacancyOf(draft, position.service, service);
  if (wanted.revision === service.revision && waitsForOthers(draft, service, position))
    return false;
  if (backsOff(draft, position, wanted)) return false;
  const placement = placeAt(draft, service, position, all, wanted, []);
  if (placement.kind === "unplaceable") {
    const request = requestOf(draft, service, position, all, wanted, []);
    if (makeRoom(draft, request, placement.refusals)) return true;
    const preempted = whyMissed(draft, service, position);
    draft.explain(explainUnplaceable(position, placement.refusals, preempted));
    return false;
  }
  const failed = rememberedFailures(draft, position, wanted.revision).at(-1);
  const reason =
    failed === undefined
      ? "Fills a free place of the service."
      : `Replaces ${failed.id}, which failed.`;
  createAt(draft, position, placement, wanted, reason);
  return true;
}

/**
 * Starts the successor of the task that leaves a position, or stops it to make room.
 * Returns whether it did.
 */
export function replacePosition(
  draft: Draft,
  service: Service,
  position: Position,
  all: readonly Position[],
): boolean {
  const [first] = position.leaving;
  if (first === undefined) return false;
  if (position.only !== undefined && !draft.facts.isAlive(position.only)) return false;
  if (first.cause === "revision" && waitsForOthers(draft, service, position)) return false;
  if ((first.cause === "revision" && stopsFirst(service)) || first.cause === "dependency") {
    if (backsOff(draft, position, wantedOf(draft, service, first))) return false;
    const reason = first.cause === "revision" ? updateReason(service) : dependencyReason;
    for (const { task } of position.leaving) draft.stop(task, reason);
    return true;
  }
  if (isFenced(service) && first.cause === "lost") {
    for (const { task } of position.leaving) draft.stop(task, "Its node was lost.");
    return true;
  }
  const wanted = wantedOf(draft, service, first);
  if (backsOff(draft, position, wanted)) return false;
  const placement = placeAt(draft, service, position, all, wanted, []);
  if (placement.kind === "placed" && isFenced(service)) {
    for (const { task, cause } of position.leaving) draft.stop(task, fencedReason(cause));
    return true;
  }
  if (placement.kind === "placed") {
    const original = originalAt(draft, service, position);
    const reason = reasonOf(first.cause, first.task);
    createAt(draft, position, placement, wanted, reason, original?.id);
    if (original?.id === first.task.id) return true;
    // A lost task must not run when its node returns. The state holds two running tasks of one
    // revision in a place only while one of them drains, so a move cannot start first.
    if (first.cause === "lost" || first.cause === "constraint") {
      draft.stop(first.task, moveReason(first.cause));
    }
    return true;
  }
  if (blocksItself(draft, service, position, all, wanted)) {
    for (const { task } of position.leaving) draft.stop(task, updateReason(service));
    return true;
  }
  // An update can wait for room; what has lost its node cannot.
  if (first.cause !== "revision") {
    const request = requestOf(draft, service, position, all, wanted, []);
    if (makeRoom(draft, request, placement.refusals)) return true;
  }
  draft.explain(explainUnplaceable(position, placement.refusals));
  return false;
}

/** Why the place is empty, where its last task had to make room. */
function whyMissed(draft: Draft, { spec }: Service, position: Position): string | undefined {
  const isGlobal = spec.mode.kind === "global";
  return draft
    .stoppedOf(position.service)
    .filter(wasPreempted)
    .findLast(({ nodeId, slot }) => (isGlobal ? nodeId === position.only : slot === position.slot))
    ?.stopReason;
}

/**
 * Whether only the leaving tasks' own host ports are in the way: then starting first is
 * impossible for good, and the position is updated by stopping first.
 */
function blocksItself(
  draft: Draft,
  service: Service,
  position: Position,
  all: readonly Position[],
  wanted: Wanted,
): boolean {
  if (staticHostPorts(wanted.template).length === 0) return false;
  const tasks = position.leaving.map(({ task }) => task);
  return placeAt(draft, service, position, all, wanted, tasks).kind === "placed";
}

function placeAt(
  draft: Draft,
  ...wanted: [Service, Position, readonly Position[], Wanted, readonly Task[]]
): Placement {
  return place(draft.facts, draft.usages, requestOf(draft, ...wanted));
}

function requestOf(
  draft: Draft,
  service: Service,
  position: Position,
  all: readonly Position[],
  { revision, template }: Wanted,
  leaving: readonly Task[],
): PlacementRequest {
  const key = position.service;
  // Leaving tasks are no siblings: their successors spread as if they were gone already.
  const going = new Set(all.flatMap((each) => each.leaving.map(({ task }) => task.id)));
  return {
    service,
    template,
    slot: position.slot,
    siblings: draft.siblingsOf(key, going),
    failures: failuresByNode(rememberedFailures(draft, position, revision)),
    only: position.only,
    leaving: new Set(leaving.map(({ id }) => id)),
  };
}

function createAt(
  draft: Draft,
  { service, slot, only }: Position,
  { nodeId, why }: Extract<Placement, { readonly kind: "placed" }>,
  { revision, template }: Wanted,
  reason: string,
  replaces?: TaskId,
): void {
  const instead = replaces === undefined ? {} : { replaces };
  if (only === undefined) forgetDebt(draft, service, slot);
  draft.create({ service, slot, revision, nodeId, reason, placement: why, ...instead }, template);
}

/**
 * The room of a place that an update has emptied may go to another place of the service, whose
 * node was lost or drains: then no fewer run because of the update, which need not wait for more.
 */
function forgetDebt(draft: Draft, service: ServiceKey, slot: number): void {
  const emptied = draft.stoppedOf(service).filter(wasStoppedFirst);
  if (emptied.length === 0 || emptied.some((task) => task.slot === slot)) return;
  const filled = new Set(draft.runningOf(service).map((task) => task.slot));
  const owed = emptied.find((task) => !filled.has(task.slot) && draft.facts.hasEnded(task));
  if (owed !== undefined) draft.forget(owed);
}

function backsOff(draft: Draft, position: Position, { revision }: Wanted): boolean {
  const failures = rememberedFailures(draft, position, revision);
  const atMs = retryAtMs(draft.facts, failures);
  const { now } = draft.facts;
  if (failures.length === 0 || atMs <= now) return false;
  draft.explain(explainBackOff(position, { failures: failures.length, retryAtMs: atMs, now }));
  draft.wakeAt(atMs);
  return true;
}

/** Whether the newest revision has not been started yet, and must not be now. */
function waitsForOthers(draft: Draft, service: Service, position: Position): boolean {
  const what = whatIsWaitedFor(draft, position.service, service);
  if (what !== undefined) draft.explain(explainDependency(position, what));
  return what !== undefined;
}

/**
/**
 * While a roll-out is paused, its canary is judged, or it waits for another service, a task
 * that only has to move keeps its revision: what worked there is not traded for what may not.
 */
function wantedOf(
  draft: Draft,
  service: Service,
  { task: leaving, cause }: Position["leaving"][number],
): Wanted {
  const isHeld =
    service.rollout === "paused" ||
    whatIsWaitedFor(draft, leaving.service, service) !== undefined ||
    (cause !== "revision" && holdsOthers(draft, leaving.service, service));
  const own = isHeld ? templateOf(draft.facts.state, leaving) : undefined;
  return own === undefined
    ? { revision: service.revision, template: service.spec.template }
    : { revision: leaving.revision, template: own };
}

function reasonOf(cause: LeavingCause, before: Task): string {
  switch (cause) {
    case "lost":
      return `Replaces ${before.id}, whose node was lost.`;
    case "drain":
      return `Replaces ${before.id}, whose node is draining.`;
    case "constraint":
      return `Replaces ${before.id}, whose node does not meet the constraints any more.`;
    case "dependency":
    case "revision":
      return `Updates ${before.id} from revision ${before.revision}.`;
  }
}

function fencedReason(cause: LeavingCause): string {
  return cause === "drain"
    ? "Its node is draining; it stops before another one starts."
    : "Its node does not meet the constraints any more; it stops before another one starts.";
}

function moveReason(cause: "lost" | "constraint"): string {
  return cause === "lost"
    ? "Its node was lost."
    : "Its node does not meet the constraints any more.";
}
