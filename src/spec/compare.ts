import type { MountSpec, ServiceSpec, TaskTemplate } from "./service-spec.ts";

/**
 * The canonical text of a template: equal for templates that make equal containers,
 * whatever the order of their keys, and different for others.
 */
export function specRevisionFingerprint(template: TaskTemplate): string {
  return canonical(template);
}

/** Whether both make the same container, so that no new revision is needed. */
export function sameTemplate(left: TaskTemplate, right: TaskTemplate): boolean {
  return canonical(left) === canonical(right);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(
      Object.entries(inner).sort(([left], [right]) => (left < right ? -1 : 1)),
    );
  });
}

/** Values of such variables are not shown, because plans end up in logs. */
const secretName = /pass|secret|token|key|credential|auth/i;
const maxShownLength = 60;

/**
 * What changes from one service to another, a line each: `image web:1 -> web:2`.
 * `undefined` stands for a service that is not there. Empty when nothing changes.
 */
export function describeDifference(
  before: ServiceSpec | undefined,
  after: ServiceSpec | undefined,
): readonly string[] {
  if (before === undefined) return after === undefined ? [] : [`new service ${after.name}`];
  if (after === undefined) return [`remove service ${before.name}`];
  const old = facts(before);
  const lines: string[] = [];
  const current = facts(after);
  for (const name of new Set([...old.keys(), ...current.keys()])) {
    const line = describeChange(name, old.get(name), current.get(name));
    if (line !== undefined) lines.push(line);
  }
  return lines;
}

function describeChange(
  name: string,
  before: string | undefined,
  after: string | undefined,
): string | undefined {
  if (before === after) return undefined;
  const isSecret =
    /^(?:container \S+ )?(?:environment|engine logging|extension) /.test(name) &&
    secretName.test(name);
  if (before === undefined) return isSecret ? `${name} added` : `${name} + ${shown(after)}`;
  if (after === undefined) return isSecret ? `${name} removed` : `${name} - ${shown(before)}`;
  return isSecret ? `${name} changed` : `${name} ${shown(before)} -> ${shown(after)}`;
}

function shown(text: string | undefined): string {
  const line = (text ?? "").replace(/\s+/g, " ");
  if (line === "") return '""';
  return line.length > maxShownLength ? `${line.slice(0, maxShownLength - 1)}…` : line;
}

/** Everything that a service says, under the names that a user knows. */
function facts(spec: ServiceSpec): ReadonlyMap<string, string> {
  const { template, mode, placement } = spec;
  const facts = new Map<string, string>();
  const set = (name: string, value: unknown) => flatten(facts, name, value);
  const { pod, ...main } = template;
  set("image", template.image);
  set("mode", mode.kind);
  const { kind: _kind, ...amounts } = mode;
  set("", amounts);
  set("stopped", spec.isStopped);
  set("schedule", spec.schedule);
  each(facts, "service label", Object.entries(spec.labels));
  each(
    facts,
    "port",
    [...spec.ports, ...template.hostPorts].map((port) => [
      `${port.published ?? ""}:${port.target}/${port.protocol}`,
      `${port.mode} ${port.appProtocol}`,
    ]),
  );
  set("exposed ports", template.exposedPorts);
  containerFacts(facts, "", main);
  set("main container", pod?.main);
  set("other containers", pod?.others.map(({ name }) => name).join(", "));
  for (const { name, ...other } of pod?.others ?? []) {
    set(`container ${name} image`, other.image);
    containerFacts(facts, `container ${name} `, other);
  }
  each(
    facts,
    "ingress",
    spec.ingress.map((rule) => [`${rule.host}${rule.path}`, String(rule.port)]),
  );
  set("update", spec.update);
  set("rollback", spec.rollback);
  set("failover", spec.failover);
  each(
    facts,
    "depends on",
    (spec.dependsOn ?? []).map(({ service, condition, isRequired, restart }) => [
      service,
      [condition, !isRequired && "(not required)", restart && "(restarts with it)"]
        .filter((word) => word !== false)
        .join(" "),
    ]),
  );
  each(
    facts,
    "constraint",
    placement.constraints.map(({ key, operator, value }) => [`${key} ${operator} ${value}`, "set"]),
  );
  set("max replicas per node", placement.maxReplicasPerNode);
  set("spread over", placement.preferences?.map(({ spread }) => spread).join(", "));
  set("placement strategy", placement.strategy);
  set("priority", placement.priority);
  each(
    facts,
    "extension",
    Object.entries(spec.extensions ?? {}).map(([key, value]) => [key, JSON.stringify(value)]),
  );
  return facts;
}

/** What one container says beside its image and its ports. */
function containerFacts(
  facts: Map<string, string>,
  prefix: string,
  container: Omit<TaskTemplate, "pod">,
): void {
  const { image: _image, exposedPorts: _exposed, hostPorts: _ports, ...said } = container;
  const { mounts, environment, labels, volumesFrom = [], ...rest } = said;
  each(facts, `${prefix}environment`, Object.entries(environment));
  each(facts, `${prefix}label`, Object.entries(labels));
  each(
    facts,
    `${prefix}mount`,
    mounts.map((mount) => [
      mount.target,
      [mount.kind, mount.source, mount.readOnly && "(read-only)", ...mountOptions(mount)]
        .filter((word) => word !== undefined && word !== false)
        .join(" "),
    ]),
  );
  each(
    facts,
    `${prefix}mounts of`,
    volumesFrom.map((each) => [each.container, each.readOnly ? "read-only" : "writable"]),
  );
  flatten(facts, prefix.trimEnd(), rest);
}

function mountOptions({ propagation, noCopy, sizeBytes, mode }: MountSpec): readonly string[] {
  return [
    ...(propagation === undefined ? [] : [propagation]),
    ...(noCopy === true ? ["nocopy"] : []),
    ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`]),
    ...(mode === undefined ? [] : [`mode=${mode.toString(8)}`]),
  ];
}

function each(
  facts: Map<string, string>,
  name: string,
  entries: readonly (readonly [string, string])[],
): void {
  for (const [key, value] of entries) facts.set(`${name} ${key}`, value);
}

/** `{limits: {memoryBytes: 1}}` as `limits memory bytes`: field names become words. */
function flatten(facts: Map<string, string>, name: string, value: unknown): void {
  if (value === undefined) return;
  if (typeof value !== "object" || value === null) {
    facts.set(name.replace(/ (?:ms|bytes)$/, ""), withUnit(name, value));
  } else if (Array.isArray(value)) {
    facts.set(name, JSON.stringify(value));
  } else {
    for (const [key, inner] of Object.entries(value)) {
      const word = key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
      flatten(facts, name === "" ? word : `${name} ${word}`, inner);
    }
  }
}

function withUnit(name: string, value: unknown): string {
  if (typeof value === "number" && name.endsWith(" ms")) {
    return value % 1_000 === 0 ? `${value / 1_000}s` : `${value}ms`;
  }
  if (typeof value === "number" && name.endsWith(" bytes")) {
    return value % 2 ** 20 === 0 ? `${value / 2 ** 20}M` : `${value}`;
  }
  return String(value);
}
