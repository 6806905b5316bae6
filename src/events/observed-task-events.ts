import type { ClusterState, TaskStatus } from "../cluster/index.ts";
import type { TaskId } from "../kernel/index.ts";
import { type EventDraft, type EventObject, taskObject } from "./event.ts";

/**
 * What happened to this node's containers, from what it says of its tasks before and after.
 * Of containers that ran before the daemon began nothing is told but what changes.
 */
export function taskStatusEvents(
  before: readonly TaskStatus[],
  after: readonly TaskStatus[],
  about: (task: TaskId) => Pick<EventDraft, "object" | "node" | "revision">,
  { startedAtMs }: { readonly startedAtMs: number },
): readonly EventDraft[] {
  const known = new Map(before.map((status) => [status.taskId, status]));
  const drafts: EventDraft[] = [];
  for (const status of after) {
    const was = known.get(status.taskId);
    known.delete(status.taskId);
    if (was === status) continue;
    const found = changesOf(was, status, startedAtMs);
    if (found.length === 0) continue;
    const where = about(status.taskId);
    for (const [reason, message] of found) drafts.push({ reason, ...where, message });
  }
  for (const { taskId, phase } of known.values()) {
    if (phase === "completed" || phase === "failed") continue;
    drafts.push({ reason: "Stopped", ...about(taskId), message: "The container has ended." });
  }
  return drafts;
}

type Told = readonly [reason: EventDraft["reason"], message: string];

function changesOf(
  was: TaskStatus | undefined,
  now: TaskStatus,
  startedAtMs: number,
): readonly Told[] {
  const told: Told[] = [];
  const isAdopted = was === undefined && now.phase === "running" && now.sinceMs < startedAtMs;
  // A container that came and went between two looks is told of as well.
  const restarts = now.restarts - (was?.restarts ?? (isAdopted ? now.restarts : 0));
  if (restarts > 0 && was !== undefined) told.push(restarted(was, now));
  const isNewContainer = was?.phase !== "running" || restarts > 0;
  if (now.phase === "running" && isNewContainer && !isAdopted) {
    told.push(["Started", `Container ${now.containerId?.slice(0, 12) ?? ""} runs.`]);
  }
  const wasHealth = isNewContainer ? "starting" : was.health;
  if (now.phase === "running" && now.health !== wasHealth) {
    // The first probe of a container from before says nothing new: it has passed them. Once it
    // has, the container counts as up since then.
    const isFromBefore = isAdopted || (!isNewContainer && was.sinceMs < startedAtMs);
    const isFirst = wasHealth === "starting" && isFromBefore;
    if (now.health === "healthy" && !isFirst) told.push(["Healthy", "The health check passes."]);
    if (now.health === "unhealthy") told.push(["Unhealthy", now.message]);
  }
  if (now.phase === "failed" && was?.phase !== "failed" && now.sinceMs >= startedAtMs) {
    told.push(["Failed", `${now.message || "It ended."}${codeText(now)}`]);
  }
  if (now.phase === "completed" && was?.phase !== "completed" && now.sinceMs >= startedAtMs) {
    told.push(["Completed", `It ended${codeText(now)}.`]);
  }
  return told;
}

function restarted(was: TaskStatus, now: TaskStatus): Told {
  const hasRun = was.phase === "running" || was.phase === "stopping";
  const pauseMs = Math.max(0, (now.retryAtMs ?? 0) - now.sinceMs);
  const after = pauseMs === 0 ? "at once" : `in ${Math.round(pauseMs / 100) / 10} s`;
  const why = now.message || "The container ended.";
  return hasRun
    ? ["Restarted", `${why}${codeText(now)} Restart ${now.restarts}, ${after}.`]
    : ["StartFailed", `${why} Attempt ${now.restarts + 1}, ${after}.`];
}

/** The message names it mostly. */
function codeText({ exitCode, message }: TaskStatus): string {
  if (exitCode === undefined || message.includes(`exit code ${exitCode}`)) return "";
  return ` (exit code ${exitCode})`;
}

/** What a status is about; of a task that is not agreed any more its id is all there is. */
export function aboutTask(
  state: ClusterState,
  id: TaskId,
): { readonly object: EventObject; readonly revision?: number } {
  const task = state.tasks.get(id);
  return task === undefined
    ? { object: { kind: "task", name: id, id } }
    : { object: taskObject(state, task), revision: task.revision };
}
