import type { Container } from "../runtime/index.ts";
import { containersOf, type TaskContainer, type TaskTemplate } from "../spec/index.ts";
import type { ContainerHealth } from "./health.ts";
import type { HealthTarget } from "./health-monitor.ts";
import { containerNameOf, restartsOf, type TaskRecord } from "./task-record.ts";

type Present = ReadonlyMap<string, Container>;

/**
 * The containers of a task that came with its present start, by name. One that was created
 * and never ran is none of them: the daemon died in between, it is what remains of a start.
 */
export function presentContainers(
  { history }: TaskRecord,
  containers: readonly Container[],
): Present {
  const present = new Map<string, Container>();
  for (const each of containers) {
    if (each.state.kind === "created" || restartsOf(each) !== history.restarts) continue;
    present.set(containerNameOf(each), each);
  }
  return present;
}

/** Whether a container that stands still has done all that it was there for. */
export function isDone(
  { role, template }: Pick<TaskContainer, "role" | "template">,
  { exitCode }: Extract<Container["state"], { readonly kind: "exited" }>,
): boolean {
  if (role === "main" || exitCode !== 0) return false;
  return role === "init" || template.restart.condition !== "any";
}

/** The next container to start, in the order of the pod; undefined when all have been started. */
export function nextContainer(template: TaskTemplate, present: Present): TaskContainer | undefined {
  const all = containersOf(template);
  const last = all.findLastIndex(({ name }) => present.has(name));
  // What has run to its end before others started may have been removed since.
  return all.find(({ name, role }, i) => !present.has(name) && (role !== "init" || i > last));
}

/** Whether all that comes before a container in its pod is as far as it has to be. */
export function mayStart(
  { healthOf }: { readonly healthOf: (containerId: string) => ContainerHealth | undefined },
  template: TaskTemplate,
  { startsAfterHealthy }: TaskContainer,
  present: Present,
): boolean {
  const isUnderWay = containersOf(template).some(
    ({ name, role }) => role === "init" && present.get(name)?.state.kind === "running",
  );
  if (isUnderWay) return false;
  return startsAfterHealthy.every((name) => {
    const id = present.get(name)?.id;
    return id !== undefined && healthOf(id)?.health === "healthy";
  });
}

/** The containers of a task to be probed. The ports of a pod are those of its main container. */
export function healthTargetsOf(
  template: TaskTemplate,
  containers: readonly Container[],
): readonly HealthTarget[] {
  const known = new Map(containersOf(template).map((each) => [each.name, each]));
  return containers.flatMap((each): HealthTarget[] => {
    const container = known.get(containerNameOf(each));
    const spec = container?.template.healthCheck;
    if (spec === undefined || container?.role === "init" || each.state.kind !== "running")
      return [];
    const main = containers.find(
      (other) =>
        containerNameOf(other) === mainNameOf(template) && restartsOf(other) === restartsOf(each),
    );
    const endpoints = main?.endpoints ?? [];
    return [{ containerId: each.id, spec, startedAtMs: each.state.startedAtMs, endpoints }];
  });
}

function mainNameOf({ pod }: TaskTemplate): string {
  return pod?.main ?? "";
}
