import type { ContainerStatus, TaskHealth } from "../cluster/index.ts";
import type { Container } from "../runtime/index.ts";
import { containersOf, type TaskContainer, type TaskTemplate } from "../spec/index.ts";
import type { ContainerHealth } from "./health.ts";
import { presentContainers } from "./pod.ts";
import { newTaskRecord, type TaskRecord } from "./task-record.ts";

type HealthOf = (containerId: string) => ContainerHealth | undefined;

/** The containers of a pod, in the order in which they start. */
export function containerStatuses(
  template: TaskTemplate,
  record: TaskRecord | undefined,
  containers: readonly Container[],
  healthOf: HealthOf,
): readonly ContainerStatus[] {
  const present = presentContainers(record ?? newTaskRecord, containers);
  return containersOf(template).map((each) => statusOf(each, present.get(each.name), healthOf));
}

function statusOf(
  { name, role, template }: TaskContainer,
  container: Container | undefined,
  healthOf: HealthOf,
): ContainerStatus {
  const known = { name, role } as const;
  if (container === undefined) return { ...known, state: "waiting", health: "none" };
  const { id, state } = container;
  if (state.kind === "exited") {
    const { exitCode } = state;
    const outcome = exitCode === 0 ? "succeeded" : "failed";
    return { ...known, state: outcome, health: "none", containerId: id, exitCode };
  }
  const isChecked = template.healthCheck !== undefined && role !== "init";
  const health = isChecked ? (healthOf(id)?.health ?? "starting") : "none";
  return { ...known, state: "running", health, containerId: id };
}

/** Whether all that run as long as the pod does have been started, and none has failed. */
export function isPodUp(containers: readonly ContainerStatus[]): boolean {
  return containers.every(
    ({ role, state }) =>
      role === "init" || state === "running" || (role === "companion" && state === "succeeded"),
  );
}

/** A pod is healthy when all of its containers are that have a check. */
export function healthOfPod(containers: readonly ContainerStatus[]): TaskHealth {
  const all = new Set(containers.map(({ health }) => health));
  const worst = (["unhealthy", "starting", "healthy"] as const).find((each) => all.has(each));
  return worst ?? "none";
}
