import type { FailoverSpec, TaskTemplate } from "./service-spec.ts";

/** Whether a task holds what two cannot share: a named volume, or a port of its node. */
function isExclusive({ mounts, hostPorts }: Pick<TaskTemplate, "mounts" | "hostPorts">): boolean {
  return (
    mounts.some((mount) => mount.kind === "volume" && mount.source !== undefined) ||
    hostPorts.some((port) => port.published !== undefined)
  );
}

/** Whether the old task of a service stops first when its manifest does not say. */
export function stopsFirst(
  template: Pick<TaskTemplate, "mounts" | "hostPorts">,
  failover: FailoverSpec | undefined,
): boolean {
  return isExclusive(template) || failover?.isFenced === true;
}
