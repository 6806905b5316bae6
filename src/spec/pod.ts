import type { Amounts, MountSpec, TaskTemplate } from "./service-spec.ts";

/** One container of a task, as it is to be started. */
export type TaskContainer = {
  /** Empty where the task has only one container. */
  readonly name: string;
  readonly role: "init" | "main" | "companion";
  readonly template: TaskTemplate;
  /** Containers of the task that have to be healthy before it starts. */
  readonly startsAfterHealthy: readonly string[];
};

/** The containers of a task in the order in which they start; in most services there is one. */
export function containersOf(template: TaskTemplate): readonly TaskContainer[] {
  const { pod } = template;
  const main = { name: pod?.main ?? "", role: "main", template, startsAfterHealthy: [] } as const;
  if (pod === undefined) return [main];
  const others = pod.others.map((each): TaskContainer => {
    const { name, role, startsAfterHealthy = [], ...own } = each;
    return { name, role, template: own, startsAfterHealthy };
  });
  return [
    ...others.filter(({ role }) => role === "init"),
    main,
    ...others.filter(({ role }) => role === "companion"),
  ];
}

/**
 * What a task reserves: those of its containers that run together together, or the greatest
 * of those that run alone before them.
 */
export function reservationOf(template: TaskTemplate): Amounts {
  if (template.pod === undefined) return template.reservations;
  const { pod } = template;
  const together = pod.others.filter(({ role }) => role === "companion");
  const alone = pod.others.filter(({ role }) => role === "init");
  const amountOf = (key: keyof Amounts) =>
    Math.max(
      [template, ...together].reduce((sum, { reservations }) => sum + (reservations[key] ?? 0), 0),
      ...alone.map(({ reservations }) => reservations[key] ?? 0),
    );
  const [cpuMillis, memoryBytes] = [amountOf("cpuMillis"), amountOf("memoryBytes")];
  return {
    ...(cpuMillis > 0 && { cpuMillis }),
    ...(memoryBytes > 0 && { memoryBytes }),
  };
}

/** How long a task may take to stop: that with the network of all is stopped last. */
export function stopTimeMs({ stopGracePeriodMs, pod }: TaskTemplate): number {
  const others = (pod?.others ?? []).map((each) => each.stopGracePeriodMs);
  return stopGracePeriodMs + Math.max(0, ...others);
}

/** What all containers of a task mount. */
export function mountsOf({
  mounts,
  pod,
}: Pick<TaskTemplate, "mounts" | "pod">): readonly MountSpec[] {
  return pod === undefined ? mounts : [...mounts, ...pod.others.flatMap((each) => each.mounts)];
}
