import { isJobMode } from "./compile-job.ts";
import { compilePod, outerDependencies, reportCircle } from "./compile-pods.ts";
import type { Dependency } from "./compile-relations.ts";
import type { CompiledService } from "./compile-service.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { type PodGroup, type Related, reportUnknown } from "./pod-groups.ts";
import type { DependencySpec } from "./service-spec.ts";
import { startOrder } from "./start-order.ts";

type Member = Related & { readonly compiled: CompiledService };

/** A service of the cluster, and the services of the file that it is made of. */
type Composed = {
  readonly group: PodGroup;
  readonly members: readonly Member[];
  readonly service: CompiledService;
};

/** The services, by the file's names, that others than those of their own pod wait for to end. */
export function awaitedServices(
  groups: readonly PodGroup[],
  services: readonly Related[],
): ReadonlySet<string> {
  const podOf = podsByMember(groups);
  return new Set(
    services.flatMap(({ name, relations }) =>
      relations.dependsOn
        .filter(
          (each) => each.condition === "completed" && podOf.get(each.name) !== podOf.get(name),
        )
        .map((each) => each.name),
    ),
  );
}

/** Makes services of the cluster of those of the file, and says which of them come first. */
export function composeServices(
  groups: readonly PodGroup[],
  members: readonly Member[],
  context: { readonly leftOut: ReadonlySet<string>; readonly diagnostics: Diagnostics },
): readonly CompiledService[] {
  const byName = new Map(members.map((each) => [each.name, each]));
  const composed = groups.map((group): Composed => {
    const own = group.members.flatMap((name) => byName.get(name) ?? []);
    const service = composeOne(group, own, context.diagnostics);
    return { group, members: own, service };
  });
  checkNames(composed, context.diagnostics);
  const byMember = new Map(
    composed.flatMap((each) => each.group.members.map((name) => [name, each] as const)),
  );
  const services = composed.map((each): CompiledService => {
    checkHealthChecks(each, byName);
    const dependsOn = dependenciesOf(each, byMember, context);
    if (dependsOn.length === 0) return each.service;
    const { service } = each;
    return { ...service, spec: { ...service.spec, dependsOn } };
  });
  checkCircles(composed, services, context.diagnostics);
  return services;
}

function composeOne(
  group: PodGroup,
  members: readonly Member[],
  diagnostics: Diagnostics,
): CompiledService {
  const [only, ...others] = members;
  const isPlain =
    only !== undefined &&
    others.length === 0 &&
    only.relations.pod === undefined &&
    only.relations.networkOf === undefined &&
    only.relations.volumesFrom.length === 0 &&
    !only.relations.dependsOn.some(({ name }) => name === only.name);
  return isPlain ? only.compiled : compilePod(group, members, diagnostics);
}

/** A pod must not have the name of a service that is not in it. */
function checkNames(composed: readonly Composed[], diagnostics: Diagnostics): void {
  const first = new Map<string, Composed>();
  for (const each of composed) {
    const { name } = each.group;
    const other = first.get(name);
    first.set(name, other ?? each);
    if (other === undefined) continue;
    const said = [...each.members, ...other.members].find(({ relations }) => relations.pod);
    const position = said?.relations.pod?.position ?? each.service.position;
    const what = `\`${name}\` is the name of a pod and of a service that is not in it`;
    diagnostics.problem(position, what, "name the pod otherwise");
  }
}

function dependenciesOf(
  { group, members }: Composed,
  byMember: ReadonlyMap<string, Composed>,
  context: { readonly leftOut: ReadonlySet<string>; readonly diagnostics: Diagnostics },
): DependencySpec[] {
  const found = new Map<string, DependencySpec>();
  for (const each of outerDependencies(group, members)) {
    const target = byMember.get(each.name);
    if (target === undefined) {
      if (each.isRequired) reportMissing(each, byMember.keys(), context);
      continue;
    }
    checkCompletion(each, target, context.diagnostics);
    const { condition, isRequired, restart } = each;
    const service = target.group.name;
    const before = found.get(service);
    found.set(service, {
      service,
      // Of two containers of a pod, the one that waits for more decides.
      condition: further(condition, before?.condition ?? condition),
      isRequired: isRequired || (before?.isRequired ?? false),
      restart: restart || (before?.restart ?? false),
    });
  }
  return [...found].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, each]) => each);
}

const progress = ["started", "healthy", "completed"] as const;

function further(
  left: DependencySpec["condition"],
  right: DependencySpec["condition"],
): DependencySpec["condition"] {
  return progress.indexOf(left) < progress.indexOf(right) ? right : left;
}

function reportMissing(
  { name, position }: Dependency,
  known: Iterable<string>,
  {
    leftOut,
    diagnostics,
  }: { readonly leftOut: ReadonlySet<string>; readonly diagnostics: Diagnostics },
): void {
  if (!leftOut.has(name)) {
    reportUnknown({ text: name, position }, known, diagnostics);
    return;
  }
  const what = `the service \`${name}\` is left out, because its profile is not asked for`;
  diagnostics.problem(position, what, "ask for it with `--profile`, or write `required: false`");
}

/** What is waited for to end must be a job. */
function checkCompletion(
  { condition, name, position }: Dependency,
  { service }: Composed,
  diagnostics: Diagnostics,
): void {
  if (condition !== "completed" || isJobMode(service.spec.mode)) return;
  const what = `\`${name}\` runs all the time, so it never completes`;
  diagnostics.problem(position, what, "write `deploy: {mode: replicated-job}` at it");
}

/** Who waits for health must be able to see it. */
function checkHealthChecks({ members }: Composed, byName: ReadonlyMap<string, Member>): void {
  for (const { relations, diagnostics } of members) {
    for (const { name, condition, position } of relations.dependsOn) {
      const target = byName.get(name);
      if (condition !== "healthy" || target === undefined) continue;
      if (target.compiled.spec.template.healthCheck !== undefined) continue;
      const what = `\`${name}\` has no health check, so it never becomes healthy`;
      const hint =
        "add `healthcheck` to it (that of its image is not used), or wait for `service_started`";
      diagnostics.problem(position, what, hint);
    }
  }
}

function checkCircles(
  composed: readonly Composed[],
  services: readonly CompiledService[],
  diagnostics: Diagnostics,
): void {
  const before = new Map(
    services.map(({ spec }) => [spec.name, (spec.dependsOn ?? []).map(({ service }) => service)]),
  );
  const order = startOrder([...before.keys()], (name) => before.get(name) ?? []);
  if (order.kind === "ordered") return;
  const podOf = podsByMember(composed.map(({ group }) => group));
  const related = composed.flatMap(({ group, members }) =>
    // As the circle names pods, so have the places to be found by their names.
    members.map((each) => ({
      ...each,
      name: group.name,
      relations: {
        ...each.relations,
        dependsOn: each.relations.dependsOn.map((one) => ({
          ...one,
          name: podOf.get(one.name) ?? one.name,
        })),
      },
    })),
  );
  reportCircle(order.items, related, diagnostics);
}

function podsByMember(groups: readonly PodGroup[]): ReadonlyMap<string, string> {
  return new Map(
    groups.flatMap(({ name, members }) => members.map((member) => [member, name] as const)),
  );
}
