import type { Service } from "../cluster/index.ts";
import type { NodeId, TaskId } from "../kernel/index.ts";
import type { TaskTemplate } from "../spec/index.ts";

/** One more task that needs a node. */
export type PlacementRequest = {
  readonly service: Service;
  readonly template: TaskTemplate;
  readonly slot: number;
  /** How many tasks of the service each node has that will stay. */
  readonly siblings: ReadonlyMap<NodeId, number>;
  /** How often this replica failed on each node lately. */
  readonly failures: ReadonlyMap<NodeId, number>;
  /** The only node in question: a task of a global service. */
  readonly only: NodeId | undefined;
  /** Tasks whose host ports will be free by then. */
  readonly leaving: ReadonlySet<TaskId>;
};
