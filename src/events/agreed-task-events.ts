import { type ClusterState, type Service, sameValue, type Task } from "../cluster/index.ts";
import type { ServiceKey } from "../kernel/index.ts";
import { isJobMode, runsPerNode } from "../spec/index.ts";
import type { AgreedStep } from "./agreed-step.ts";
import {
  type ClusterEvent,
  type EventDraft,
  eventOf,
  nodeNameIn,
  serviceObject,
  taskObject,
} from "./event.ts";
import { type EventSelection, isSelected } from "./selection.ts";

/** What was decided about tasks, with the scheduler's own words. */
export function taskEvents({ before, after }: AgreedStep): readonly EventDraft[] {
  if (before.tasks === after.tasks) return [];
  const created: Task[] = [];
  const drafts: EventDraft[] = [];
  const touched = new Set<ServiceKey>();
  for (const task of after.tasks.values()) {
    const known = before.tasks.get(task.id);
    if (known === task) continue;
    if (known === undefined) created.push(task);
    else if (known.desired === "running" && task.desired === "stopped") {
      drafts.push(stopping(after, task, task.stopReason ?? ""));
    }
  }
  for (const task of before.tasks.values()) {
    if (after.tasks.has(task.id)) continue;
    touched.add(task.service);
    // Tasks end with the membership of their node.
    if (task.desired === "running" && task.result === undefined) {
      drafts.push(stopping(before, task, "Its node was removed."));
    }
  }
  const predecessors = predecessorsOf(after, created);
  for (const task of created) drafts.push(placed(after, task, predecessors.get(placeOf(task))));
  return [...drafts, ...rolledOut(before, after, touched)];
}

function stopping(state: ClusterState, task: Task, message: string): EventDraft {
  return { reason: "Stopping", ...about(state, task), message };
}

function placed(state: ClusterState, task: Task, predecessor: Task | undefined): EventDraft {
  const words = [task.reason, task.placement].filter((text) => text !== undefined && text !== "");
  const moved = predecessor !== undefined && isMove(state, predecessor, task);
  const from = moved ? [`From ${nodeNameIn(state, predecessor.nodeId)}.`] : [];
  const message = [...from, ...words].join(" ");
  return { reason: moved ? "Moved" : "Placed", ...about(state, task), message };
}

/** The event of a task's creation, made of what the task itself says; undefined if not selected. */
export function placedEvent(
  state: ClusterState,
  task: Task,
  selection: EventSelection,
): ClusterEvent | undefined {
  const draft = placed(state, task, undefined);
  const place = { index: task.createdAtIndex ?? 0, timeMs: task.createdAtMs, sequence: 0 };
  const event = eventOf(draft, { by: "log", ...place });
  return isSelected(event, selection) ? event : undefined;
}

function about(state: ClusterState, task: Task) {
  const node = nodeNameIn(state, task.nodeId);
  return { object: taskObject(state, task), node, revision: task.revision };
}

function placeOf({ service, slot, run }: Task): string {
  return `${service}.${slot}.${run ?? ""}`;
}

/** The newest task before, of each place that got one. */
function predecessorsOf(
  state: ClusterState,
  created: readonly Task[],
): ReadonlyMap<string, Task | undefined> {
  const found = new Map<string, Task | undefined>(
    created.map((task) => [placeOf(task), undefined]),
  );
  if (found.size === 0) return found;
  const isNew = new Set(created.map(({ id }) => id));
  for (const task of state.tasks.values()) {
    const place = placeOf(task);
    if (!found.has(place) || isNew.has(task.id)) continue;
    const known = found.get(place);
    if (known === undefined || createdAt(known) <= createdAt(task)) found.set(place, task);
  }
  return found;
}

function createdAt({ createdAtIndex = 0 }: Task): number {
  return createdAtIndex;
}

/** Whether a task goes on elsewhere with what another did, rather than being one more. */
function isMove(state: ClusterState, before: Task, task: Task): boolean {
  const service = state.services.get(task.service);
  if (service === undefined || runsPerNode(service.spec.mode)) return false;
  if (before.nodeId === task.nodeId || before.revision !== task.revision) return false;
  if (before.desired === "running") return true;
  // What was stopped before the service's last change was not wanted any more, by scaling it.
  return (before.stoppedAtIndex ?? 0) >= service.version;
}

/**
 * Services of which this entry forgot the last task of another version. The scheduler keeps one
 * until the new tasks have proven themselves: the roll-out is over.
 */
function rolledOut(
  before: ClusterState,
  after: ClusterState,
  touched: ReadonlySet<ServiceKey>,
): readonly EventDraft[] {
  if (touched.size === 0) return [];
  const [tasksBefore, tasksAfter] = [before, after].map((state) => tasksOfAll(state, touched));
  return [...touched].flatMap((key): EventDraft[] => {
    const service = after.services.get(key);
    if (service === undefined || isJobMode(service.spec.mode)) return [];
    const tasks = tasksAfter?.get(key) ?? [];
    const wasUnderWay = (tasksBefore?.get(key) ?? []).some((task) => isOutdated(service, task));
    if (!wasUnderWay || tasks.some((task) => isOutdated(service, task))) return [];
    const { revision, rollout } = service;
    const running = tasks.filter(({ desired }) => desired === "running").length;
    if (running === 0 || rollout === "paused") return [];
    const message = `All tasks (${running}) are as revision ${revision} says, and serve.`;
    return [{ reason: "RolledOut", object: serviceObject(key), revision, message }];
  });
}

/** In one go, however many services an entry touches. */
function tasksOfAll(
  { tasks }: ClusterState,
  services: ReadonlySet<ServiceKey>,
): ReadonlyMap<ServiceKey, readonly Task[]> {
  return Map.groupBy(
    [...tasks.values()].filter(({ service }) => services.has(service)),
    ({ service }) => service,
  );
}

/** A revision that was brought back leaves the tasks alone that are like it. */
function isOutdated({ revision, templates, spec }: Service, task: Task): boolean {
  return task.revision !== revision && !sameValue(templates.get(task.revision), spec.template);
}
