import type { CompiledService } from "./compile-service.ts";
import { Diagnostics } from "./diagnostics.ts";
import { compileManifest, type ParseManifestOptions } from "./parse-manifest.ts";
import type { ManifestProblem, Position, ServiceSpec } from "./service-spec.ts";

export type LintedManifest =
  | { readonly kind: "invalid"; readonly problems: readonly ManifestProblem[] }
  | { readonly kind: "valid"; readonly warnings: readonly ManifestProblem[] };

/** What is allowed in a manifest, but rarely meant. */
export function lintManifest(options: ParseManifestOptions): LintedManifest {
  const diagnostics = new Diagnostics({ allowIgnored: options.allowIgnored ?? false });
  const compiled = compileManifest(options, diagnostics);
  const problems = diagnostics.problems();
  if (problems.length > 0 || compiled === undefined) return { kind: "invalid", problems };
  const found = new Diagnostics({ allowIgnored: false });
  for (const { position, message, hint } of diagnostics.ignoredThings()) {
    found.problem(position, message, hint);
  }
  for (const service of compiled.services) {
    const warn = warner(service, found);
    for (const check of checks) check(service, warn);
  }
  return { kind: "valid", warnings: found.problems() };
}

type Warn = (key: string, message: string, hint: string) => void;
type Check = (service: CompiledService, warn: Warn) => void;

/** Places a warning at a key of the service, or at its name where it has no such key. */
function warner({ section, position }: CompiledService, found: Diagnostics): Warn {
  return (key, message, hint) => {
    const place: Position = section.has(key) ? section.positionOf(key) : position;
    found.problem(place, message, hint);
  };
}

const checks: readonly Check[] = [
  checkImage,
  checkHealth,
  checkLimits,
  checkReplicas,
  checkPrivileges,
  checkSecrets,
  checkRollout,
];

function checkImage({ spec }: CompiledService, warn: Warn): void {
  const { image } = spec.template;
  if (image.startsWith("/") || image.includes("@")) return;
  const name = image.slice(image.lastIndexOf("/") + 1);
  if (name.includes(":") && !name.endsWith(":latest")) return;
  const what = `the image \`${image}\` is whatever was pushed last`;
  warn("image", what, "name a version, so that every node runs the same");
}

function checkHealth({ spec }: CompiledService, warn: Warn): void {
  const { healthCheck } = spec.template;
  if (healthCheck === undefined && isServing(spec)) {
    const what = `the service \`${spec.name}\` takes requests as soon as it runs, because it has no health check`;
    warn("healthcheck", what, "add `healthcheck`, or `x-healthcheck` where the image has no tools");
  }
  if (healthCheck === undefined) return;
  const key = healthCheck.test.kind === "command" ? "healthcheck" : "x-healthcheck";
  if (healthCheck.intervalMs < 1_000) {
    const what = `the health check runs every ${healthCheck.intervalMs} ms`;
    warn(key, what, "checks cost as much as requests; 1s is seldom too slow");
  }
  if (healthCheck.timeoutMs > healthCheck.intervalMs) {
    const what = "one health check may take longer than the time between two";
    warn(key, what, "make `timeout` at most as long as `interval`");
  }
}

function isServing({ ports, ingress, template }: ServiceSpec): boolean {
  return ports.length > 0 || ingress.length > 0 || template.hostPorts.length > 0;
}

function checkLimits({ spec }: CompiledService, warn: Warn): void {
  const { limits, reservations } = spec.template;
  if (limits.memoryBytes === undefined) {
    const what = `the service \`${spec.name}\` may use all memory of its node`;
    warn("deploy", what, "set `deploy.resources.limits.memory`");
  }
  if (reservations.memoryBytes === undefined && reservations.cpuMillis === undefined) {
    const what = `nothing is kept free for the service \`${spec.name}\`, so its nodes may be overbooked`;
    warn("deploy", what, "set `deploy.resources.reservations`");
  }
}

function checkReplicas({ spec }: CompiledService, warn: Warn): void {
  if (spec.mode.kind !== "replicated" || spec.mode.replicas !== 1 || !isServing(spec)) return;
  if (spec.template.mounts.some(({ kind, source }) => kind === "volume" && source)) return;
  const what = `the service \`${spec.name}\` has one replica, so it is away while its node is replaced`;
  warn("deploy", what, "set `deploy.replicas` to 2 or more");
}

function checkPrivileges({ spec }: CompiledService, warn: Warn): void {
  const { engine, mounts, capAdd } = spec.template;
  const all = capAdd.includes("ALL") ? "cap_add" : undefined;
  const key = engine?.privileged ? "privileged" : all;
  if (key !== undefined) {
    const what = `the service \`${spec.name}\` has all privileges of its node`;
    warn(key, what, "add only the capabilities that it needs, with `cap_add`");
  }
  const socket = mounts.find(({ source }) =>
    /(?:docker|containerd|podman)\.sock$/.test(source ?? ""),
  );
  if (socket !== undefined) {
    const what = `\`${socket.source}\` lets the service \`${spec.name}\` control the node's containers`;
    warn("volumes", what, "mount it only into what you trust with the node");
  }
}

const secretName = /pass|secret|token|credential|private_?key|api_?key/i;

function checkSecrets({ spec }: CompiledService, warn: Warn): void {
  for (const [name, value] of Object.entries(spec.template.environment)) {
    if (!secretName.test(name) || /_FILE$/.test(name) || value === "" || value.startsWith("/"))
      continue;
    const what = `the variable \`${name}\` looks like a secret, and is shown to all who see the service`;
    warn("environment", what, "read it from a file, where the image can");
  }
}

function checkRollout({ spec }: CompiledService, warn: Warn): void {
  const { update, template } = spec;
  if (
    update.order === "stop-first" &&
    spec.mode.kind === "replicated" &&
    spec.mode.replicas === 1
  ) {
    if (isServing(spec) && template.healthCheck !== undefined) {
      const what = `each update of the service \`${spec.name}\` stops its only task before the new one starts`;
      warn("deploy", what, "write `order: start-first`, where two tasks can run at once");
    }
  }
  if (update.failureAction === "continue") {
    const what = `an update of the service \`${spec.name}\` goes on although its tasks fail`;
    warn("deploy", what, "write `failure_action: rollback`");
  }
}
