import { isJobMode } from "./compile-job.ts";
import type { Dependency } from "./compile-relations.ts";
import { compileRolling } from "./compile-rolling.ts";
import type { CompiledService } from "./compile-service.ts";
import type { Diagnostics } from "./diagnostics.ts";
import type { PodGroup, Related } from "./pod-groups.ts";
import { checkGuest, checkSetup, chooseHead } from "./pod-keys.ts";
import { maxPodContainers, type PodContainer, type TaskTemplate } from "./service-spec.ts";
import { startOrder } from "./start-order.ts";

type Member = Related & { readonly compiled: CompiledService };

/**
 * Makes one service of the containers of a pod. Those that others of it wait for to complete
 * run before all others; the first of the others is the main one, whose network all share.
 */
export function compilePod(
  group: PodGroup,
  members: readonly Member[],
  diagnostics: Diagnostics,
): CompiledService {
  const byName = new Map(members.map((each) => [each.name, each]));
  const setups = setupsOf(members);
  const ordered = inStartOrder(members, setups, diagnostics);
  const runsFirst = ordered.filter(({ name }) => setups.has(name));
  const [main, ...companions] = ordered.filter(({ name }) => !setups.has(name));
  const [any] = members;
  if (main === undefined || any === undefined) return fallback(members);
  for (const each of runsFirst) checkSetup(each, byName, setups);
  for (const each of companions) checkGuest(each, main.name);
  const head = chooseHead(members) ?? main;
  const { spec } = head.compiled;
  const isJob = isJobMode(spec.mode);
  const own = main.compiled.spec.template;
  const others: PodContainer[] = [
    ...runsFirst.map((each) => containerOf(each, { role: "init", byName, isJob })),
    ...companions.map((each) => containerOf(each, { role: "companion", byName, isJob })),
  ];
  if (others.length > maxPodContainers) {
    const what = `the pod \`${group.name}\` has ${others.length + 1} containers; at most ${maxPodContainers + 1} are allowed`;
    diagnostics.problem(main.position, what);
  }
  const together = [main, ...companions].map(({ compiled }) => compiled);
  const template: TaskTemplate = {
    ...own,
    // One network has one set of ports, whichever container listens.
    exposedPorts: numbers(together.flatMap((each) => each.spec.template.exposedPorts)),
    hostPorts: together.flatMap((each) => each.spec.template.hostPorts),
    restart: spec.template.restart,
    ...mountSources(main, byName),
    ...(others.length > 0 && { pod: { main: main.name, others } }),
  };
  const rolling = compileRolling(head.compiled.section, head.compiled.section.child("deploy"), {
    kind: spec.mode.kind,
    template,
    position: head.position,
    diagnostics: head.diagnostics,
  });
  const extensions = extensionsOf(main, [...runsFirst, ...companions]);
  const { extensions: _own, rollback: _rollback, failover: _failover, ...rest } = spec;
  return {
    ...main.compiled,
    ports: together.flatMap(({ ports }) => ports),
    rules: together.flatMap(({ rules }) => rules),
    spec: {
      ...rest,
      name: group.name,
      template,
      ports: together.flatMap((each) => each.spec.ports),
      ingress: together.flatMap((each) => each.spec.ingress),
      ...rolling,
      ...extensions,
    },
  };
}

/** What is wrong has been reported; whatever stands for the pod is not looked at. */
function fallback([first]: readonly Member[]): CompiledService {
  if (first === undefined) throw new Error("A pod has at least one container.");
  return first.compiled;
}

/** The containers that others of the pod wait for to run to their end. */
function setupsOf(members: readonly Member[]): ReadonlySet<string> {
  const names = new Set(members.map(({ name }) => name));
  return new Set(
    members.flatMap(({ relations }) =>
      relations.dependsOn
        .filter(({ name, condition }) => condition === "completed" && names.has(name))
        .map(({ name }) => name),
    ),
  );
}

function inStartOrder(
  members: readonly Member[],
  setups: ReadonlySet<string>,
  diagnostics: Diagnostics,
): readonly Member[] {
  const byName = new Map(members.map((each) => [each.name, each]));
  const before = (name: string): readonly string[] => {
    const { dependsOn = [], networkOf, volumesFrom = [] } = byName.get(name)?.relations ?? {};
    return [
      ...(networkOf === undefined ? [] : [networkOf.text]),
      ...dependsOn.map((each) => each.name),
      ...volumesFrom.map((each) => each.name),
    ];
  };
  // The file's order decides among those that run first and which one is the main container;
  // that of the companions means nothing, so the same pod is always the same.
  const isFirst = new Set<string>(setups);
  const written = members.map(({ name }) => name);
  const order = startOrder(written, before);
  if (order.kind === "circle") {
    reportCircle(order.items, members, diagnostics);
    return members;
  }
  const main = order.items.find((name) => !setups.has(name));
  if (main !== undefined) isFirst.add(main);
  const companions = written.filter((name) => !isFirst.has(name)).sort();
  const all = startOrder(
    [...order.items.filter((name) => isFirst.has(name)), ...companions],
    before,
  );
  return all.items.flatMap((name) => byName.get(name) ?? []);
}

/** `a`, `b` and `a` again: each waits for the next one. */
export function reportCircle(
  circle: readonly string[],
  members: readonly Related[],
  diagnostics: Diagnostics,
): void {
  const [first = "", second = first] = circle;
  const one = members.find(({ name }) => name === first);
  const place =
    one?.relations.dependsOn.find(({ name }) => name === second)?.position ??
    one?.relations.networkOf?.position ??
    one?.position;
  if (place === undefined) return;
  const names = [...circle, first].map((name) => `\`${name}\``).join(" -> ");
  diagnostics.problem(place, `these wait for each other: ${names}`, "take one of them out");
}

function containerOf(
  member: Member,
  of: {
    readonly role: PodContainer["role"];
    readonly byName: ReadonlyMap<string, Member>;
    readonly isJob: boolean;
  },
): PodContainer {
  const { name, compiled, relations } = member;
  const { pod: _pod, ...template } = compiled.spec.template;
  const healthy = relations.dependsOn
    .filter((each) => each.condition === "healthy" && of.byName.has(each.name))
    .map((each) => each.name);
  return {
    ...template,
    name,
    role: of.role,
    // They are the main container's.
    exposedPorts: [],
    hostPorts: [],
    restart: restartOf(member, of),
    ...mountSources(member, of.byName),
    ...(healthy.length > 0 && { startsAfterHealthy: [...new Set(healthy)].sort() }),
  };
}

/** The pod is started again as a whole; all that counts is whether a container may end well. */
function restartOf(
  { compiled }: Member,
  { role, isJob }: { readonly role: PodContainer["role"]; readonly isJob: boolean },
): TaskTemplate["restart"] {
  const { condition } = compiled.spec.template.restart;
  const isSaid = compiled.section.has("restart");
  const mayEnd = role === "init" || (isSaid ? condition !== "any" : isJob);
  return { condition: mayEnd ? "on-failure" : "any", delayMs: 0, windowMs: 0 };
}

function mountSources(
  { relations, diagnostics }: Member,
  byName: ReadonlyMap<string, Member>,
): Pick<TaskTemplate, "volumesFrom"> {
  const sources = relations.volumesFrom.filter(({ name, position }) => {
    if (byName.has(name)) return true;
    const what = `\`${name}\` is not a container of the same pod`;
    diagnostics.problem(position, what, "put both in one with `x-pod: NAME`");
    return false;
  });
  // A later entry about the same container takes the place of an earlier one.
  const unique = new Map(sources.map(({ name, readOnly }) => [name, readOnly]));
  const volumesFrom = [...unique].map(([container, readOnly]) => ({ container, readOnly }));
  return volumesFrom.length > 0 ? { volumesFrom } : {};
}

function extensionsOf(main: Member, others: readonly Member[]) {
  const { extensions } = main.compiled.spec;
  const theirs = others.flatMap(({ name, compiled }) =>
    compiled.spec.extensions === undefined ? [] : [[name, compiled.spec.extensions] as const],
  );
  return {
    ...(extensions !== undefined && { extensions }),
    ...(theirs.length > 0 && { containerExtensions: Object.fromEntries(theirs) }),
  };
}

function numbers(all: readonly number[]): number[] {
  return [...new Set(all)].sort((left, right) => left - right);
}

/** Of other services than those of the pod itself. */
export function outerDependencies(
  group: PodGroup,
  members: readonly Related[],
): readonly Dependency[] {
  const own = new Set(group.members);
  return members.flatMap(({ relations }) =>
    relations.dependsOn.filter(({ name }) => !own.has(name)),
  );
}
