import type { ServiceKey, TaskId } from "../kernel/index.ts";
import { runsPerNode, type TaskTemplate } from "../spec/index.ts";
import { type Applied, accepted, type CommandOf, rejected, stopped } from "./applied.ts";
import { withRunChanges } from "./apply-jobs.ts";
import { keptRevisions } from "./apply-rollback.ts";
import { withRollout } from "./apply-rollout.ts";
import { removeServices } from "./apply-services.ts";
import type { ClusterState, Service } from "./cluster-state.ts";
import type { Task } from "./task.ts";
import { withNewHomes } from "./volume-homes.ts";

export function updateTasks(state: ClusterState, command: CommandOf<"update_tasks">): Applied {
  for (const [key, version] of Object.entries(command.basedOn)) {
    const now = state.services.get(key as ServiceKey)?.version ?? 0;
    if (now !== version) {
      return rejected(state, "stale", `Service ${key} has changed since the plan was made.`);
    }
  }
  const tasks = new Map<TaskId, Task>(state.tasks);
  for (const { id, reason } of command.stop) {
    const task = tasks.get(id);
    if (task !== undefined) tasks.set(id, stopped(task, state.index, reason));
  }
  for (const { id, result } of command.results ?? []) {
    const task = tasks.get(id);
    // The first result stands: what has succeeded stays so.
    if (task !== undefined && task.result === undefined) tasks.set(id, { ...task, result });
  }
  for (const id of command.forget) tasks.delete(id);
  // A plan creates many tasks of few services: only their own are to be looked through each time.
  const siblings = tasksByService(tasks, new Set(command.create.map(({ service }) => service)));
  for (const task of command.create) {
    if (tasks.has(task.id)) return rejected(state, "stale", `Task ${task.id} exists already.`);
    const others = siblings.get(task.service) ?? [];
    const problem = problemOfNew(task, state, others);
    if (problem !== undefined) return rejected(state, "stale", problem);
    tasks.set(task.id, { ...task, createdAtIndex: state.index });
    others.push(task);
  }
  const volumeHomes = homesAfter(state, command.create);
  const services = new Map<ServiceKey, Service>(state.services);
  for (const change of command.rollouts) {
    const service = services.get(change.service);
    if (service === undefined) continue;
    services.set(change.service, withRollout(service, change, state.index));
  }
  for (const { service: key, revision, atMs } of command.traffic ?? []) {
    const service = services.get(key);
    if (service === undefined || !service.templates.has(revision)) continue;
    const before = service.traffic?.revisions ?? [];
    services.set(key, { ...service, traffic: { revisions: [revision], before, sinceMs: atMs } });
  }
  if (!withRunChanges(services, command.runs ?? [])) {
    return rejected(state, "stale", "A run of a job was started already.");
  }
  const kept = withoutUnusedTemplates(services, tasks);
  const after = { ...state, tasks, services: kept, volumeHomes };
  const ended = (command.remove ?? []).filter((key) => kept.has(key));
  if (ended.length === 0) return accepted(after);
  return removeServices(after, { kind: "remove_services", services: ended });
}

function homesAfter(state: ClusterState, created: readonly Task[]): ClusterState["volumeHomes"] {
  const bound = created.flatMap((task) => {
    const service = state.services.get(task.service);
    const template = service?.templates.get(task.revision);
    if (service === undefined || template === undefined) return [];
    return [{ task, mode: service.spec.mode, template }];
  });
  return withNewHomes(state.volumeHomes, bound);
}

function tasksByService(
  tasks: ReadonlyMap<TaskId, Task>,
  wanted: ReadonlySet<ServiceKey>,
): Map<ServiceKey, Task[]> {
  const groups = new Map([...wanted].map((key): [ServiceKey, Task[]] => [key, []]));
  for (const task of tasks.values()) groups.get(task.service)?.push(task);
  return groups;
}

/**
 * Two leaders can both believe, for a moment, that a replica is missing. Only one of their
 * plans may create it: at most one running task per slot (per node, where global) and revision.
 * A task on a draining node is no rival: its successor starts before it stops. Neither is one
 * that a lost node may still run, and that the new one stands in for.
 */
function problemOfNew(
  task: Task,
  state: ClusterState,
  siblings: readonly Task[],
): string | undefined {
  const service = state.services.get(task.service);
  if (service === undefined) return `Service ${task.service} does not exist.`;
  if (!state.nodes.has(task.nodeId)) return `Node ${task.nodeId} does not exist.`;
  if (!service.templates.has(task.revision)) return `Revision ${task.revision} does not exist.`;
  const isGlobal = runsPerNode(service.spec.mode);
  for (const other of siblings) {
    const isSamePlace = isGlobal ? other.nodeId === task.nodeId : other.slot === task.slot;
    if (!isSamePlace || other.run !== task.run) continue;
    // What was stopped belongs to a service of that name that was removed, or to an old run.
    if (other.desired === "running" && other.result?.outcome === "succeeded") {
      return `Slot ${task.slot} of ${task.service} has been completed already.`;
    }
    const isRival =
      other.desired === "running" &&
      other.result === undefined &&
      other.revision === task.revision &&
      other.id !== task.replaces &&
      state.nodes.get(other.nodeId)?.eligibility !== "drain";
    if (isRival) return `Slot ${task.slot} of ${task.service} has a task already.`;
  }
  return undefined;
}

/** Keeps the newest templates (to roll back to), and those that tasks and runs still use. */
function withoutUnusedTemplates(
  services: ReadonlyMap<ServiceKey, Service>,
  tasks: ReadonlyMap<TaskId, Task>,
): ReadonlyMap<ServiceKey, Service> {
  const used = new Map<ServiceKey, Set<number>>();
  for (const task of tasks.values()) {
    const revisions = used.get(task.service) ?? new Set();
    used.set(task.service, revisions.add(task.revision));
  }
  const result = new Map<ServiceKey, Service>();
  for (const [key, service] of services) {
    const newest = [...service.templates.keys()].sort((a, b) => b - a).slice(0, keptRevisions);
    const running = (service.runs ?? []).flatMap(({ state: run, revision }) =>
      run === "active" ? [revision] : [],
    );
    const kept = new Set([...newest, ...running, ...(used.get(key) ?? [])]);
    const isTidy = [...service.templates.keys()].every((revision) => kept.has(revision));
    if (isTidy) {
      result.set(key, service);
      continue;
    }
    const templates = new Map<number, TaskTemplate>();
    for (const [revision, template] of service.templates) {
      if (kept.has(revision)) templates.set(revision, template);
    }
    result.set(key, { ...service, templates });
  }
  return result;
}
