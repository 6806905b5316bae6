import { rolloutOf, type Service, type Task } from "../cluster/index.ts";
import type { ServiceKey } from "../kernel/index.ts";
import { countByNode, type Draft } from "./draft.ts";
import { mayRunUnseen } from "./fencing.ts";
import { occupiedSlots, type Position } from "./positions.ts";
import { wasStoppedAsFailed, wasStoppedFirst } from "./reasons.ts";
import { hasProven } from "./rollout.ts";

/**
 * Stops what a replicated service has too much of: first what does not serve, then what has not
 * shown for long enough that it does, then what would be replaced anyway, then the newest, then
 * what shares its node with the most siblings.
 */
export function stopExcessReplicas(draft: Draft, key: ServiceKey, service: Service): void {
  const wanted = replicasOf(service);
  let slots = occupiedSlots(draft, key, service);
  while (slots.length > wanted && !draft.isFull) {
    const victim = chooseVictim(draft, service, slots);
    if (victim === undefined) return;
    for (const task of tasksAt(victim)) draft.stop(task, `Scaled down to ${wanted} replicas.`);
    slots = slots.filter((each) => each !== victim);
  }
}

/** Stops the tasks of a global service on nodes that should not run it any more. */
export function stopMisplacedGlobals(
  draft: Draft,
  key: ServiceKey,
  wanted: readonly Position[],
): void {
  const nodes = new Set(wanted.map(({ only }) => only));
  for (const task of draft.runningOf(key)) {
    if (nodes.has(task.nodeId)) continue;
    draft.stop(task, "Its node is draining or does not meet the constraints any more.");
  }
}

/** The slots of a replicated service that have no task, in the order of filling. */
export function vacantSlots(
  draft: Draft,
  key: ServiceKey,
  service: Service,
  occupied: readonly Position[],
): readonly Position[] {
  const missing = replicasOf(service) - occupied.length;
  const taken = new Set(occupied.map(({ slot }) => slot));
  const slots: number[] = [];
  const offer = (slot: number) => {
    if (slots.length >= missing || taken.has(slot)) return;
    taken.add(slot);
    slots.push(slot);
  };
  // A slot that failed is filled before a fresh one, or its back-off would be evaded.
  for (const task of draft.tasksOf(key)) if (leavesTraces(draft, service, task)) offer(task.slot);
  for (let slot = 1; slots.length < missing; slot += 1) offer(slot);
  return slots.map((slot) => ({ service: key, slot, only: undefined, staying: [], leaving: [] }));
}

export function replicasOf(service: Service): number {
  return service.spec.mode.kind === "replicated" ? service.spec.mode.replicas : 0;
}

function leavesTraces(draft: Draft, service: Service, task: Task): boolean {
  if (task.desired === "running") return false;
  if (wasStoppedAsFailed(task)) return task.revision === service.revision;
  if (wasStoppedFirst(task)) return true;
  return (
    rolloutOf(service).order === "stop-first" &&
    (draft.facts.mayStillRun(task) || mayRunUnseen(draft, service, task))
  );
}

function chooseVictim(
  draft: Draft,
  service: Service,
  slots: readonly Position[],
): Position | undefined {
  const siblings = countByNode(slots.flatMap(tasksAt));
  const crowdOf = (slot: Position) =>
    Math.max(0, ...tasksAt(slot).map((task) => siblings.get(task.nodeId) ?? 0));
  const loadOf = (slot: Position) =>
    Math.max(0, ...tasksAt(slot).map((task) => draft.usages.of(task.nodeId).tasks));
  return slots.toSorted(
    (a, b) =>
      standingOf(draft, service, a) - standingOf(draft, service, b) ||
      createdMs(b) - createdMs(a) ||
      crowdOf(b) - crowdOf(a) ||
      loadOf(b) - loadOf(a) ||
      b.slot - a.slot,
  )[0];
}

/** How much a replica is worth keeping: an update on its way must not be begun again by those left. */
function standingOf(draft: Draft, service: Service, slot: Position): number {
  const serving = tasksAt(slot).filter((task) => draft.facts.isSettled(task));
  const proven = serving.filter((task) => hasProven(draft, service, task));
  if (proven.length === 0) return serving.length === 0 ? 0 : 1;
  return slot.staying.some((task) => proven.includes(task)) ? 3 : 2;
}

/** A replica is as old as its oldest task: an update does not make it younger than a new one. */
function createdMs(slot: Position): number {
  return Math.min(...tasksAt(slot).map((task) => task.createdAtMs));
}

function tasksAt({ staying, leaving }: Position): readonly Task[] {
  return [...staying, ...leaving.map(({ task }) => task)];
}
