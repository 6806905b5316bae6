import type { TaskTemplate } from "./service-spec.ts";

/** Whether a task holds what two cannot share: a named volume, or a port of its node. */
export function isExclusive({
  mounts,
  hostPorts,
}: Pick<TaskTemplate, "mounts" | "hostPorts">): boolean {
  return (
    mounts.some((mount) => mount.kind === "volume" && mount.source !== undefined) ||
    hostPorts.some((port) => port.published !== undefined)
  );
}
