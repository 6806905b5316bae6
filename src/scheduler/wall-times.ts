import type { ClusterState, Member, Observations, Task, TaskStatus } from "../cluster/index.ts";
import type { NodeId, TaskId } from "../kernel/index.ts";

type Now = { readonly wallMs: number; readonly monotonicMs: number };

/**
 * Makes facts fit for a planner that reckons with wall clocks: clocks differ between machines,
 * and this one's may be set back. Something that began in the future by our clock counts as
 * begun when it was first seen; else whoever waits for it to have lasted a second would wait until
 * the clock has caught up, which may be a day.
 */
export class WallTimes {
  #firstSeenMs = new Map<string, number>();

  /** The same facts, with no time in the future. Those that have none are given back as they are. */
  inThePast(
    { state, observations }: { readonly state: ClusterState; readonly observations: Observations },
    now: Now,
  ): { readonly state: ClusterState; readonly observations: Observations } {
    const before = this.#firstSeenMs;
    const after = new Map<string, number>();
    const past = (key: string, atMs: number) => {
      if (atMs <= now.wallMs) return atMs;
      const seenMs = before.get(`${key} ${atMs}`) ?? now.monotonicMs;
      after.set(`${key} ${atMs}`, seenMs);
      return now.wallMs - (now.monotonicMs - seenMs);
    };
    const tasks = changed(state.tasks, (task) => taskInThePast(task, past));
    const members = changed(observations.members, (member, node): Member => {
      const sinceMs = past(`member ${node} ${member.status}`, member.sinceMs);
      return sinceMs === member.sinceMs ? member : { ...member, sinceMs };
    });
    const reports = changed(observations.reports, (report) => {
      if (report.tasks.every(({ sinceMs }) => sinceMs <= now.wallMs)) return report;
      return { ...report, tasks: report.tasks.map((status) => statusInThePast(status, past)) };
    });
    this.#firstSeenMs = after;
    const isSame = members === observations.members && reports === observations.reports;
    return {
      state: tasks === state.tasks ? state : { ...state, tasks },
      observations: isSame ? observations : { members, reports },
    };
  }
}

type Past = (key: string, atMs: number) => number;

function taskInThePast(task: Task, past: Past): Task {
  const createdAtMs = past(`task ${task.id}`, task.createdAtMs);
  const { result } = task;
  const atMs = result === undefined ? undefined : past(`result ${task.id}`, result.atMs);
  if (createdAtMs === task.createdAtMs && atMs === result?.atMs) return task;
  const ended = result === undefined || atMs === undefined ? {} : { result: { ...result, atMs } };
  return { ...task, createdAtMs, ...ended };
}

function statusInThePast(status: TaskStatus, past: Past): TaskStatus {
  const { taskId, phase, health } = status;
  const sinceMs = past(`status ${taskId} ${phase} ${health}`, status.sinceMs);
  return sinceMs === status.sinceMs ? status : { ...status, sinceMs };
}

/** The map with each value as `change` gives it; the very same map when nothing changes. */
function changed<Key extends NodeId | TaskId, Value>(
  map: ReadonlyMap<Key, Value>,
  change: (value: Value, key: Key) => Value,
): ReadonlyMap<Key, Value> {
  let next: Map<Key, Value> | undefined;
  for (const [key, value] of map) {
    const other = change(value, key);
    if (other === value) continue;
    next ??= new Map(map);
    next.set(key, other);
  }
  return next ?? map;
}
