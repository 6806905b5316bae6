import type { ClusterState, Observations } from "../cluster/index.ts";
import { Cell, type Clock, type NodeId, type ReadableCell } from "../kernel/index.ts";

/** A member that never answers must not keep this node from routing. */
const atMostMs = 3_000;

/**
 * Becomes true once this node has heard from its own agent and from every other member, or
 * after {@link atMostMs}. A proxy that outlived the last daemon goes on with its table until
 * then: routes that are planned from nothing would empty it.
 */
export function watchFactsKnown(options: {
  readonly self: NodeId;
  readonly state: ReadableCell<ClusterState>;
  readonly observations: ReadableCell<Observations>;
  readonly isSettled: ReadableCell<boolean>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): ReadableCell<boolean> & Disposable {
  const { self, state, observations, isSettled, clock, signal } = options;
  const known = new Cell(false);
  const look = () => {
    if (known.get()) return;
    if (isSettled.get() && areKnown(self, state.get(), observations.get())) known.set(true);
  };
  const stops = [state, observations, isSettled].map((cell) => cell.subscribe(look));
  clock.sleep(atMostMs, { signal }).then(
    () => known.set(true),
    () => undefined,
  );
  look();
  return {
    get: () => known.get(),
    subscribe: (listener) => known.subscribe(listener),
    [Symbol.dispose]: () => {
      for (const stop of stops) stop();
    },
  };
}

function areKnown(self: NodeId, state: ClusterState, { members, reports }: Observations): boolean {
  for (const node of state.nodes.keys()) {
    const status = members.get(node)?.status;
    if (status !== "failed" && status !== "left" && !reports.has(node)) return false;
  }
  const said = new Set(reports.get(self)?.tasks.map(({ taskId }) => taskId));
  for (const task of state.tasks.values()) {
    if (task.nodeId === self && task.desired === "running" && !said.has(task.id)) return false;
  }
  return reports.has(self);
}
