import type { NodeId, ServiceKey, TaskId } from "../kernel/index.ts";

/** The labels from which a container can be adopted again after a restart of the daemon. */
export const containerLabels = {
  clusterId: "skein.cluster",
  nodeId: "skein.node",
  taskId: "skein.task",
  service: "skein.service",
  slot: "skein.slot",
  revision: "skein.revision",
  /** How often this task's container was started again before this one. */
  restarts: "skein.restarts",
} as const;

export function makeContainerLabels(of: {
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly taskId: TaskId;
  readonly service: ServiceKey;
  readonly slot: number;
  readonly revision: number;
  readonly restarts: number;
}): Readonly<Record<string, string>> {
  return {
    [containerLabels.clusterId]: of.clusterId,
    [containerLabels.nodeId]: of.nodeId,
    [containerLabels.taskId]: of.taskId,
    [containerLabels.service]: of.service,
    [containerLabels.slot]: String(of.slot),
    [containerLabels.revision]: String(of.revision),
    [containerLabels.restarts]: String(of.restarts),
  };
}
