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
  /** Its name in its pod; absent where a task has one container. */
  container: "skein.container",
  /** Written by the runtimes themselves: the exposed ports, which the image's own would blur. */
  exposedPorts: "skein.ports",
} as const;

export function makeContainerLabels(of: {
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly taskId: TaskId;
  readonly service: ServiceKey;
  readonly slot: number;
  readonly revision: number;
  readonly restarts: number;
  /** Empty where the task has one container. */
  readonly container?: string;
}): Readonly<Record<string, string>> {
  return {
    [containerLabels.clusterId]: of.clusterId,
    [containerLabels.nodeId]: of.nodeId,
    [containerLabels.taskId]: of.taskId,
    [containerLabels.service]: of.service,
    [containerLabels.slot]: String(of.slot),
    [containerLabels.revision]: String(of.revision),
    [containerLabels.restarts]: String(of.restarts),
    ...(of.container ? { [containerLabels.container]: of.container } : {}),
  };
}

/** The user's labels and Skein's: whatever the user names `skein.*` is left out. */
export function mergeContainerLabels(
  users: Readonly<Record<string, string>>,
  ours: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const allowed = Object.entries(users).filter(([name]) => !name.startsWith("skein."));
  return { ...Object.fromEntries(allowed), ...ours };
}
