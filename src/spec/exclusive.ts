import { mountsOf } from "./pod.ts";
import type { FailoverSpec, TaskTemplate } from "./service-spec.ts";

/** Whether a task holds what two cannot share: a named volume, or a port of its node. */
function isExclusive(template: Pick<TaskTemplate, "mounts" | "hostPorts" | "pod">): boolean {
  const { hostPorts } = template;
  return (
    mountsOf(template).some((mount) => mount.kind === "volume" && mount.source !== undefined) ||
    hostPorts.some((port) => port.published !== undefined)
  );
}

/** Whether the old task of a service stops first when its manifest does not say. */
export function stopsFirst(
  template: Pick<TaskTemplate, "mounts" | "hostPorts" | "pod">,
  failover: FailoverSpec | undefined,
): boolean {
  return isExclusive(template) || failover?.isFenced === true;
}
