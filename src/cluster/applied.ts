import type { ClusterState } from "./cluster-state.ts";
import type { Command, Outcome, RejectionCode } from "./command.ts";
import type { Task } from "./task.ts";

/** What applying one command gives. */
export type Applied = { readonly state: ClusterState; readonly outcome: Outcome };

export type CommandOf<Kind extends Command["kind"]> = Extract<Command, { kind: Kind }>;

export function accepted(state: ClusterState): Applied {
  return { state, outcome: { kind: "accepted", index: state.index } };
}

export function rejected(state: ClusterState, code: RejectionCode, message: string): Applied {
  return { state, outcome: { kind: "rejected", code, message } };
}

export function withEntry<Key, Value>(
  map: ReadonlyMap<Key, Value>,
  key: Key,
  value: Value,
): ReadonlyMap<Key, Value> {
  return new Map(map).set(key, value);
}

/** A task that should no longer run. What was stopped before keeps its index and reason. */
export function stopped(task: Task, index: number, stopReason: string): Task {
  if (task.desired === "stopped") return task;
  return { ...task, desired: "stopped", stoppedAtIndex: index, stopReason };
}
