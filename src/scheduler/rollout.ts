import { rolloutOf, type Service, type Task, templateOf } from "../cluster/index.ts";
import type { ServiceKey } from "../kernel/index.ts";
import { canaryQuota } from "./canary.ts";
import type { Draft } from "./draft.ts";
import { isUpToDate } from "./facts.ts";
import { isFailing, rememberedFailures } from "./failures.ts";
import { mayReturn } from "./fencing.ts";
import { fillPosition, replacePosition } from "./fill.ts";
import { unmetConstraint } from "./node-attributes.ts";
import type { Position } from "./positions.ts";
import { wasStoppedFirst } from "./reasons.ts";

/** A new task that serves is relied on after this long, though a proxy has not confirmed it. */
const maxProxyWaitMs = 10_000;

/** So many places that cannot be updated now are passed over in one plan. */
const maxPassedOver = 20;

/**
 * Stops a roll-out that fails too often: pauses it, or asks for the previous revision.
 * Returns whether it did; the rest of the service is then left to the next pass.
 *
 * A roll-out is going on while a task of another revision is remembered, running or
 * stopped; `forget.ts` keeps one until the new tasks have been serving for `monitorMs`.
 */
export function judgeRollout(draft: Draft, key: ServiceKey, service: Service): boolean {
  const { failureAction, maxFailureRatio } = rolloutOf(service);
  if (service.rollout === "paused" || failureAction === "continue") return false;
  const tasks = draft.tasksOf(key);
  if (tasks.every((task) => isUpToDate(service, task.revision))) return false;
  const failing = tasks.filter(
    (task) => task.revision === service.revision && isFailing(draft.facts, service, task),
  );
  const isGlobal = service.spec.mode.kind === "global";
  const places = new Set(failing.map((task) => (isGlobal ? task.nodeId : task.slot)));
  const { mode } = service.spec;
  const all = mode.kind === "replicated" ? mode.replicas : draft.facts.nodes.size;
  const total = canaryQuota(draft, key, service) ?? all;
  if (places.size === 0 || places.size / Math.max(1, total) <= maxFailureRatio) return false;
  // Going back once is help; going back from there would be going round in circles.
  const canGoBack = failureAction === "rollback" && service.rollout === "normal";
  draft.setRollout(key, canGoBack ? "rolled_back" : "paused");
  return true;
}

/**
 * Brings every position to exactly one task that is as it should be. Positions that lost
 * their task, or whose node drains, are served at once; those with an older revision
 * `parallelism` at a time, the next when the ones before serve.
 */
export function settlePositions(
  draft: Draft,
  service: Service,
  positions: readonly Position[],
): void {
  const surviving = positions.map((each) => dropSuperfluous(draft, service, each));
  const isUpdating = surviving.some(({ leaving }) =>
    leaving.some(({ cause }) => cause === "revision"),
  );
  let busy = 0;
  for (const position of surviving) {
    if (draft.isFull) return;
    const isWatched = isUpdating && rolloutOf(service).order === "stop-first";
    if (isOnItsWay(draft, service, position, surviving)) busy += 1;
    else if (isWatched && !hasShown(draft, service, position)) busy += 1;
  }
  rollForward(draft, service, surviving, busy);
}

/**
 * Serves what cannot wait, and tells whether the position has a task that does not serve
 * yet, or is about to: such ones use up the roll-out's parallelism.
 */
function isOnItsWay(
  draft: Draft,
  service: Service,
  position: Position,
  all: readonly Position[],
): boolean {
  const { staying, leaving } = position;
  if (staying.length > 0) {
    // Of a global service, on a node that was lost: it may never come, and holds up nobody.
    return !staying.some(
      (task) => draft.facts.isLost(task) || isProven(draft, service, position, task),
    );
  }
  if (leaving.length === 0) {
    return fillPosition(draft, service, position, all) || isOwed(draft, service, position);
  }
  const isUrgent = leaving.some(({ cause }) => cause === "lost" || cause === "drain");
  return isUrgent && replacePosition(draft, service, position, all);
}

/**
 * Whether an update has emptied the place and nothing could be started there since, for want of
 * room. Nothing is owed where it was tried and failed: for that there is `failureAction`.
 */
function isOwed(draft: Draft, service: Service, position: Position): boolean {
  const { service: key, slot, only } = position;
  if (rememberedFailures(draft, position, service.revision).length > 0) return false;
  return draft
    .stoppedOf(key)
    .filter((task) => (only === undefined ? task.slot === slot : task.nodeId === only))
    .some((task) => wasStoppedForUpdate(draft, service, task));
}

/** Whether it would still be running but for an update: its node is there, and should run it. */
export function wasStoppedForUpdate({ facts }: Draft, service: Service, task: Task): boolean {
  const node = facts.nodes.get(task.nodeId);
  if (!wasStoppedFirst(task) || node === undefined || facts.isLost(task)) return false;
  if (service.spec.mode.kind !== "global") return true;
  // Nobody else takes the place of one that is away, drains, or meets the constraints no more.
  const isFit = unmetConstraint(service.spec, node) === undefined;
  return isFit && node.status === "alive" && node.node.eligibility === "active";
}

/**
 * Whether what an update has started where the old task had stopped first has been serving for
 * `monitorMs`, or has failed and was judged by that.
 */
function hasShown(draft: Draft, service: Service, { staying }: Position): boolean {
  return staying.every(
    (task) =>
      task.revision !== service.revision ||
      draft.facts.isLost(task) ||
      isFailing(draft.facts, service, task) ||
      isEstablished(draft, task, rolloutOf(service).monitorMs),
  );
}

/**
 * Whether a task may be relied on. One that takes the place of another by an update has to
 * serve for `monitorMs` first: until then the old one stays, and the next batch waits.
 */
function isProven(draft: Draft, service: Service, position: Position, task: Task): boolean {
  const { facts } = draft;
  if (!facts.isSettled(task)) return false;
  // Also where the old one's node drains meanwhile: the new revision has to show first.
  const isUpdate = position.leaving.some(
    (each) => each.cause !== "lost" && !isUpToDate(service, each.task.revision),
  );
  if (!isUpdate || task.revision !== service.revision) return true;
  return isEstablished(draft, task, rolloutOf(service).monitorMs);
}

/**
 * Whether a task has been serving for so long, and every proxy knows it by now. A proxy that
 * does not say so is waited for in bounds: one broken node must not end all roll-outs.
 */
export function isEstablished(draft: Draft, task: Task, forMs: number): boolean {
  const { facts } = draft;
  const sinceMs = facts.settledSinceMs(task);
  if (sinceMs === undefined) return false;
  const provenAtMs = sinceMs + forMs;
  if (provenAtMs > facts.now) {
    draft.wakeAt(provenAtMs);
    return false;
  }
  if (provenAtMs + maxProxyWaitMs <= facts.now || facts.isKnownEverywhere(task)) return true;
  draft.wakeAt(provenAtMs + maxProxyWaitMs);
  return false;
}

/**
 * Stops what is doubled, and what leaves once its work is done by another. While a roll-out is
 * paused, both revisions may stay: the new one has to have shown that it works, or else a crash
 * loop that is up for a moment would take the place of what served.
 */
function dropSuperfluous(draft: Draft, service: Service, position: Position): Position {
  const { facts } = draft;
  const isPaused = service.rollout === "paused";
  const [kept, ...doubles] = position.staying.toSorted(
    (a, b) =>
      Number(facts.isSettled(b)) - Number(facts.isSettled(a)) ||
      Number(hasProven(draft, service, b)) - Number(hasProven(draft, service, a)) ||
      (isPaused ? a.revision - b.revision : b.revision - a.revision) ||
      a.createdAtMs - b.createdAtMs ||
      (a.id < b.id ? -1 : 1),
  );
  for (const task of doubles) {
    if (!isLookedAt(draft, task)) draft.stop(task, "Another task does the same work.");
  }
  if (kept === undefined) {
    return withoutOutdatedDoubles(draft, service, withoutLostDoubles(draft, service, position));
  }
  const isDone = isProven(draft, service, position, kept);
  const leaving = position.leaving.filter(({ task, cause }) => {
    if (mayReturn(service, task, cause) && isUpToDate(service, task.revision)) return true;
    const mayStop = isDone || cause === "lost";
    if (mayStop) draft.stop(task, stopReasonOf(service, cause, kept));
    return !mayStop;
  });
  return { ...position, staying: [kept], leaving };
}

/** Whether a task serves, and has done so for the time of `monitor`. */
export function hasProven({ facts }: Draft, service: Service, task: Task): boolean {
  const sinceMs = facts.settledSinceMs(task);
  return sinceMs !== undefined && facts.now - sinceMs >= rolloutOf(service).monitorMs;
}

/** Where an older task still serves, one that was lost with its node needs no care of its own. */
function withoutLostDoubles(draft: Draft, service: Service, position: Position): Position {
  const present = position.leaving.filter(({ cause }) => cause !== "lost");
  if (present.length === 0) {
    const [first, ...others] = position.leaving.toSorted(
      (a, b) => a.task.createdAtMs - b.task.createdAtMs,
    );
    for (const { task } of others) draft.stop(task, "Its node was lost.");
    return { ...position, leaving: first === undefined ? [] : [first] };
  }
  for (const { task, cause } of position.leaving) {
    if (cause !== "lost" || mayReturn(service, task, cause)) continue;
    draft.stop(task, "Its node was lost.");
  }
  return { ...position, leaving: present };
}

/**
 * An update that is overtaken by another leaves the old task and its unfinished successor. One
 * of them is enough until the newest serves; both might take the room that the newest needs.
 * The one that has been serving for `monitorMs` stays: the other may have come up just now, only
 * to crash again.
 */
function withoutOutdatedDoubles(draft: Draft, service: Service, position: Position): Position {
  const { facts } = draft;
  const [kept, ...doubles] = position.leaving.toSorted(
    (a, b) =>
      Number(facts.isSettled(b.task)) - Number(facts.isSettled(a.task)) ||
      Number(hasProven(draft, service, b.task)) - Number(hasProven(draft, service, a.task)) ||
      Number(a.cause === "drain") - Number(b.cause === "drain") ||
      a.task.createdAtMs - b.task.createdAtMs ||
      (a.task.id < b.task.id ? -1 : 1),
  );
  if (kept === undefined) return position;
  const isServed = facts.isSettled(kept.task);
  const superfluous = doubles.filter(({ task, cause }) => {
    // What is not heard of may serve all the same.
    const mayStop = cause !== "lost" && (isServed || facts.isAlive(task.nodeId));
    return mayStop && !isLookedAt(draft, task);
  });
  for (const { task } of superfluous) draft.stop(task, "Another task does the same work.");
  return { ...position, leaving: position.leaving.filter((each) => !superfluous.includes(each)) };
}

/** Whether it stays though it is unhealthy and another does its work: somebody wants to see why. */
function isLookedAt(draft: Draft, task: Task): boolean {
  const isKept = templateOf(draft.facts.state, task)?.healthCheck?.keepUnhealthy === true;
  return isKept && draft.facts.status(task)?.health === "unhealthy";
}

function rollForward(
  draft: Draft,
  service: Service,
  positions: readonly Position[],
  busy: number,
): void {
  const due = positions.filter(
    ({ staying, leaving }) =>
      staying.length === 0 &&
      leaving.length > 0 &&
      leaving.every(({ cause }) => cause !== "lost" && cause !== "drain"),
  );
  if (due.length === 0) return;
  const { parallelism, delayMs } = rolloutOf(service);
  const [{ service: key } = { service: undefined }] = positions;
  const quota = key === undefined ? undefined : canaryQuota(draft, key, service);
  const forCanary = quota === undefined ? positions.length : quota - updatedPlaces(positions);
  const budget = Math.min((parallelism === 0 ? positions.length : parallelism) - busy, forCanary);
  if (budget <= 0 || isTooSoon(draft, service, positions, delayMs)) return;
  // What does not serve is replaced first: that costs nothing.
  const order = due.toSorted(
    (a, b) => Number(isServing(draft, a)) - Number(isServing(draft, b)) || a.slot - b.slot,
  );
  let left = budget;
  // A place that backs off after a failure, or has no room, must not hold up all others.
  for (const position of order.slice(0, budget + maxPassedOver)) {
    if (draft.isFull || left === 0) return;
    if (replacePosition(draft, service, position, positions)) left -= 1;
  }
}

/** Whether the tasks of the batch before have not been serving for `delayMs` yet. */
function isTooSoon(
  draft: Draft,
  service: Service,
  positions: readonly Position[],
  delayMs: number,
): boolean {
  const since = positions
    .flatMap(({ staying }) => staying)
    .filter((task) => task.revision === service.revision)
    .map((task) => draft.facts.settledSinceMs(task) ?? 0);
  const nextMs = Math.max(0, ...since) + delayMs;
  draft.wakeAt(nextMs);
  return nextMs > draft.facts.now;
}

function isServing(draft: Draft, { leaving }: Position): boolean {
  return leaving.some(({ task }) => draft.facts.isSettled(task));
}

function stopReasonOf(
  service: Service,
  cause: Position["leaving"][number]["cause"],
  kept: Task,
): string {
  switch (cause) {
    case "lost":
      return `Its node was lost; ${kept.id} replaces it.`;
    case "drain":
      return `Its node is draining; ${kept.id} replaces it.`;
    case "constraint":
      return `Its node does not meet the constraints any more; ${kept.id} replaces it.`;
    case "dependency":
      return `A service that it depends on was updated; ${kept.id} replaces it.`;
    case "revision":
      return `Updated to revision ${service.revision} by ${kept.id}.`;
  }
}

/** How many of these places have a task that is as the newest revision says, or are free for one. */
function updatedPlaces(positions: readonly Position[]): number {
  return positions.filter(({ staying, leaving }) => staying.length > 0 || leaving.length === 0)
    .length;
}
