import type { Service, Task } from "../cluster/index.ts";
import type { NodeId, ServiceKey } from "../kernel/index.ts";
import { holdsOthers } from "./canary.ts";
import { restartsSince } from "./dependencies.ts";
import type { Draft } from "./draft.ts";
import { type Facts, isUpToDate } from "./facts.ts";
import { unmetConstraint } from "./node-attributes.ts";

/** Why a task has to make room for another one. `lost` ones run nowhere that we know of. */
export type LeavingCause = "lost" | "drain" | "constraint" | "revision" | "dependency";

/**
 * A place of a service where exactly one task is wanted: a slot of a replicated service,
 * a node of a global one.
 */
export type Position = {
  readonly service: ServiceKey;
  readonly slot: number;
  /** The node of a global service's position. */
  readonly only: NodeId | undefined;
  /** Tasks that are as they should be; more than one only by accident. */
  readonly staying: readonly Task[];
  /** Tasks that stop once a staying one does their work. */
  readonly leaving: readonly { readonly task: Task; readonly cause: LeavingCause }[];
};

/** The slots of a replicated service that have a task that should run, in order. */
export function occupiedSlots(
  draft: Draft,
  key: ServiceKey,
  service: Service,
): readonly Position[] {
  const sinceIndex = restartsSince(draft, service);
  const bySlot = new Map<number, Task[]>();
  for (const task of draft.runningOf(key)) {
    bySlot.set(task.slot, [...(bySlot.get(task.slot) ?? []), task]);
  }
  const isHeld = holdsOthers(draft, key, service);
  return [...bySlot]
    .sort(([a], [b]) => a - b)
    .map(([slot, tasks]) => {
      const place = { service: key, slot, only: undefined };
      const mayUpdate = !isHeld || hasNewest(service, tasks);
      const causeOf = (task: Task) =>
        leavingCause(draft.facts, service, { task, mayUpdate, sinceIndex });
      return { ...place, ...sortOut(tasks, causeOf) };
    });
}

/**
 * The nodes that should run one task of a global service, with what runs there. A node that
 * failed keeps its task: nobody else takes its place, so it may simply go on when it returns.
 */
export function globalPositions(
  draft: Draft,
  key: ServiceKey,
  service: Service,
): readonly Position[] {
  const running = draft.runningOf(key);
  const sinceIndex = restartsSince(draft, service);
  const isHeld = holdsOthers(draft, key, service);
  return draft.facts.nodesInOrder
    .filter((each) => each.node.eligibility === "active")
    .filter((each) => unmetConstraint(service.spec, each) === undefined)
    .map(({ node }) => {
      const place = { service: key, slot: 1, only: node.id };
      const tasks = running.filter((task) => task.nodeId === node.id);
      const mayUpdate = !isHeld || hasNewest(service, tasks);
      const causeOf = (task: Task) => revisionCause(service, { task, mayUpdate, sinceIndex });
      return { ...place, ...sortOut(tasks, causeOf) };
    });
}

function sortOut(
  tasks: readonly Task[],
  causeOf: (task: Task) => LeavingCause | undefined,
): Pick<Position, "staying" | "leaving"> {
  const staying: Task[] = [];
  const leaving: { readonly task: Task; readonly cause: LeavingCause }[] = [];
  for (const task of tasks) {
    const cause = causeOf(task);
    if (cause === undefined) staying.push(task);
    else leaving.push({ task, cause });
  }
  return { staying, leaving };
}

type Placed = {
  readonly task: Task;
  /** Whether its place has the newest revision by now, or may get it. */
  readonly mayUpdate: boolean;
  /** Tasks from before this index of the log are to be made anew. */
  readonly sinceIndex: number;
};

function hasNewest(service: Service, tasks: readonly Task[]): boolean {
  return tasks.some((task) => isUpToDate(service, task.revision));
}

function leavingCause(facts: Facts, service: Service, placed: Placed): LeavingCause | undefined {
  const { task } = placed;
  if (facts.isLost(task)) return "lost";
  const node = facts.nodes.get(task.nodeId);
  if (node?.node.eligibility === "drain") return "drain";
  if (node !== undefined && unmetConstraint(service.spec, node) !== undefined) return "constraint";
  return revisionCause(service, placed);
}

/**
 * A paused roll-out replaces nothing: both revisions are as they should be. While a canary is
 * judged, so are the places that it leaves alone. Nor is a task replaced whose making was not
 * noted by an older daemon, or is decided by this very plan.
 */
function revisionCause(
  service: Service,
  { task, mayUpdate, sinceIndex }: Placed,
): LeavingCause | undefined {
  if (service.rollout === "paused") return undefined;
  if (!isUpToDate(service, task.revision)) return mayUpdate ? "revision" : undefined;
  return (task.createdAtIndex ?? sinceIndex) < sinceIndex ? "dependency" : undefined;
}
