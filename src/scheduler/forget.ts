import { rolloutOf, type Service, type Task } from "../cluster/index.ts";
import type { ServiceKey } from "../kernel/index.ts";
import { isJobMode } from "../spec/index.ts";
import type { Draft } from "./draft.ts";
import { isUpToDate } from "./facts.ts";
import { maxRememberedFailures, rememberedFailures } from "./failures.ts";
import { wasPreempted, wasStoppedAsFailed, wasStoppedFirst } from "./reasons.ts";
import { wasStoppedForUpdate } from "./rollout.ts";

/** A failure is remembered for so long at most, for the back-off and for people. */
const rememberFailureMs = 600_000;

/** After this long without trouble a place starts with a clean record. */
const cleanAfterMs = 60_000;

/**
 * Forgets the stopped tasks whose containers are gone, except for the little that later
 * plans need: the last failures of each place, and one sign that a roll-out is not over.
 */
export function forgetEnded(draft: Draft, key: ServiceKey, service: Service | undefined): void {
  const ended = draft
    .tasksOf(key)
    .filter((task) => task.desired === "stopped" && draft.facts.hasEnded(task));
  // A job has no roll-out: its runs say what they are made of.
  const hasRollout = service !== undefined && !isJobMode(service.spec.mode);
  const sign = !hasRollout ? undefined : rolloutSign(draft, key, service, ended);
  for (const task of ended) {
    if (draft.isFull) return;
    if (task === sign) continue;
    if (service !== undefined && isRememberedFailure(draft, service, task)) continue;
    if (service !== undefined && isMissed(draft, service, task)) continue;
    draft.forget(task);
  }
}

function rolloutSign(
  draft: Draft,
  key: ServiceKey,
  service: Service,
  ended: readonly Task[],
): Task | undefined {
  const outdated = ended.filter((task) => !isUpToDate(service, task.revision));
  if (outdated.length === 0 || service.rollout === "paused") return undefined;
  if (isProven(draft, key, service)) return undefined;
  return outdated.toSorted((a, b) => (b.stoppedAtIndex ?? 0) - (a.stoppedAtIndex ?? 0))[0];
}

/** Whether all tasks have been serving for as long as the roll-out watches them. */
function isProven(draft: Draft, key: ServiceKey, service: Service): boolean {
  const running = draft.runningOf(key);
  let isProven = running.length > 0;
  for (const task of running) {
    const sinceMs = draft.facts.settledSinceMs(task);
    const provenAtMs = (sinceMs ?? draft.facts.now) + rolloutOf(service).monitorMs;
    if (sinceMs !== undefined) draft.wakeAt(provenAtMs);
    if (sinceMs === undefined || provenAtMs > draft.facts.now) isProven = false;
  }
  return isProven;
}

/**
 * A place whose task had to make room shows why it is empty until it is filled again. So does one
 * that an update has emptied: it counts as one of those that may be empty at a time.
 */
function isMissed(draft: Draft, service: Service, task: Task): boolean {
  const { mode } = service.spec;
  if (isJobMode(mode)) return false;
  const isOfUpdate = wasStoppedForUpdate(draft, service, task);
  if (!isOfUpdate && (!wasPreempted(task) || task.revision !== service.revision)) return false;
  const isSamePlace = (other: Task) =>
    mode.kind === "global" ? other.nodeId === task.nodeId : other.slot === task.slot;
  const running = draft.runningOf(task.service);
  if (running.some(isSamePlace)) return false;
  const isAlike = isOfUpdate ? wasStoppedFirst : wasPreempted;
  const newest = draft.stoppedOf(task.service).filter(isSamePlace).filter(isAlike).at(-1);
  if (newest !== task) return false;
  const isWanted = mode.kind !== "replicated" || running.length < mode.replicas;
  return !isOfUpdate || (isWanted && service.spec.isStopped !== true);
}

function isRememberedFailure(draft: Draft, service: Service, task: Task): boolean {
  const { facts } = draft;
  if (!wasStoppedAsFailed(task) || task.revision !== service.revision) return false;
  if (facts.now - task.createdAtMs > rememberFailureMs) return false;
  const isGlobal = service.spec.mode.kind === "global";
  const place = { ...task, only: isGlobal ? task.nodeId : undefined };
  const isClean = draft
    .runningOf(task.service)
    .filter((other) => (isGlobal ? other.nodeId === task.nodeId : other.slot === task.slot))
    .some((other) => facts.now - (facts.settledSinceMs(other) ?? facts.now) >= cleanAfterMs);
  if (isClean) return false;
  const last = rememberedFailures(draft, place, service.revision).slice(-maxRememberedFailures);
  return last.includes(task);
}
