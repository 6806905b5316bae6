import type { CompiledService } from "./compile-service.ts";
import type { Related } from "./pod-groups.ts";

type Member = Related & { readonly compiled: CompiledService };

/** Keys of a service that speak of the whole pod, not of one container. */
const podKeys = [
  "scale",
  "x-schedule",
  "x-job",
  "x-placement",
  "x-machines",
  "platform",
  "x-update",
  "x-failover",
];
/** Of `deploy`, these speak of one container. */
const containerKeysOfDeploy = ["resources"];
/** Those of a network: a container on another's has none of its own. */
const networkKeys = ["hostname", "domainname", "dns", "dns_opt", "dns_search", "extra_hosts"];

/** The one container at which the keys of the whole pod stand, if any does. */
export function chooseHead(members: readonly Member[]): Member | undefined {
  const [head, ...others] = members.filter(({ compiled }) => keysOfPod(compiled).length > 0);
  for (const { compiled, diagnostics } of others) {
    for (const { key, position } of keysOfPod(compiled)) {
      const what = `\`${key}\` is said of the whole pod, whose other such keys stand at \`${head?.name}\``;
      diagnostics.problem(position, what, `move it there`);
    }
  }
  return head;
}

function keysOfPod({ section }: CompiledService) {
  const plain = podKeys
    .filter((key) => section.has(key))
    .map((key) => ({ key, position: section.positionOf(key) }));
  const deploy = section.tree("deploy");
  const inDeploy =
    deploy?.kind !== "map"
      ? []
      : [...deploy.entries]
          .filter(([key]) => !key.startsWith("x-") && !containerKeysOfDeploy.includes(key))
          .map(([key, { keyPosition }]) => ({ key: `deploy.${key}`, position: keyPosition }));
  return [...plain, ...inDeploy];
}

/** What a container that runs beside the main one must not say. */
export function checkGuest({ compiled, diagnostics }: Member, main: string): void {
  const { section } = compiled;
  for (const key of networkKeys) {
    if (!section.has(key)) continue;
    const what = `\`${key}\` cannot be set here, because the network is that of \`${main}\``;
    diagnostics.problem(section.positionOf(key), what, "set it there");
  }
  if (!/^on-failure:/.test(section.text("restart") ?? "")) return;
  const what = `the pod of \`${main}\` is started again as a whole, so a container has no attempts of its own`;
  diagnostics.problem(section.positionOf("restart"), what, "write `on-failure`");
}

/** What a container that runs before the others must not say. */
export function checkSetup(
  { name, compiled, relations, diagnostics }: Member,
  byName: ReadonlyMap<string, Member>,
  setups: ReadonlySet<string>,
): void {
  const { section } = compiled;
  const why = `\`${name}\` runs to its end before the others of its pod`;
  if (relations.networkOf !== undefined) {
    const what = `${why}, so it cannot be on the network of one of them`;
    diagnostics.problem(relations.networkOf.position, what, "write `x-pod: NAME` at all of them");
  }
  const others = [...relations.dependsOn, ...relations.volumesFrom];
  for (const other of others) {
    if (!byName.has(other.name) || setups.has(other.name)) continue;
    diagnostics.problem(other.position, `${why}, so it cannot wait for \`${other.name}\``);
  }
  for (const key of ["ports", "expose", "x-ports", "x-ingress", "healthcheck", "x-healthcheck"]) {
    if (!section.has(key)) continue;
    diagnostics.problem(section.positionOf(key), `${why}, so \`${key}\` means nothing`);
  }
  if (/^(?:always|unless-stopped)$/.test(section.text("restart") ?? "")) {
    const what = `${why}, so it cannot be started again always`;
    diagnostics.problem(section.positionOf("restart"), what, "write `on-failure`");
  }
}
