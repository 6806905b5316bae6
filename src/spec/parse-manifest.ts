import { compileFiles } from "./compile-files.ts";
import { compileVolumes } from "./compile-mounts.ts";
import { compileRelations } from "./compile-relations.ts";
import { type CompiledService, compileService } from "./compile-service.ts";
import { awaitedServices, composeServices } from "./compose-services.ts";
import { Diagnostics } from "./diagnostics.ts";
import { interpolate } from "./interpolate.ts";
import { loadManifest } from "./load-manifest.ts";
import { groupPods } from "./pod-groups.ts";
import { openSection, type Section } from "./section.ts";
import type { Manifest, ParsedManifest, Position } from "./service-spec.ts";
import { shortened, type Tree } from "./tree.ts";
import type { ManifestFile } from "./tree-builder.ts";
import { maxFileLength } from "./yaml-tree.ts";

const maxFiles = 20;
/** As many as the API takes in one request. */
const maxServices = 1_000;
const maxNamespaceLength = 63;

export type ParseManifestOptions = {
  /** Later files override earlier ones, as with `docker compose -f a -f b`. */
  readonly files: readonly ManifestFile[];
  /** What `$NAME` stands for. */
  readonly environment: Readonly<Record<string, string>>;
  /** Overrides the `name` in the files. */
  readonly projectName?: string;
  /** The name of the directory that the files are in, for want of any other name. */
  readonly directory?: string;
  /** Keys that are not supported yet are listed in `ignored`, rather than being problems. */
  readonly allowIgnored?: boolean;
  /** Services with other profiles only are left out; `*` stands for all. */
  readonly profiles?: readonly string[];
  /** For `env_file` and the like; `undefined` when there is no such file. The path is as written. */
  readonly readFile?: (path: string) => string | undefined;
};

/**
 * Reads the Compose files of one project. All problems that can be found are reported at
 * once, each with its place. The result is complete: every default is filled in.
 */
export function parseManifest(options: ParseManifestOptions): ParsedManifest {
  const diagnostics = new Diagnostics({ allowIgnored: options.allowIgnored ?? false });
  const compiled = compileManifest(options, diagnostics);
  const problems = diagnostics.problems();
  if (problems.length > 0 || compiled === undefined) return { kind: "invalid", problems };
  const ignored = diagnostics.ignoredThings();
  const { services, ...rest } = compiled;
  const specs = services.map(({ spec }) => spec).sort((a, b) => (a.name < b.name ? -1 : 1));
  return { kind: "valid", manifest: { ...rest, services: specs }, ignored };
}

/** A manifest whose services still know where they stand. */
export type CompiledManifest = Omit<Manifest, "services"> & {
  readonly services: readonly CompiledService[];
};

/** The files as services, as far as they can be read; what is wrong is in `diagnostics`. */
export function compileManifest(
  options: ParseManifestOptions,
  diagnostics: Diagnostics,
): CompiledManifest | undefined {
  const { environment, readFile } = options;
  const files = options.files.slice(0, maxFiles);
  const start: Position = { file: files[0]?.name ?? "compose.yaml", line: 1, column: 1 };
  if (files.length === 0) diagnostics.problem(start, "there is no file to read");
  if (options.files.length > maxFiles) {
    diagnostics.problem(
      start,
      `there are ${options.files.length} files; at most ${maxFiles} are read`,
    );
  }
  const known = { COMPOSE_PROJECT_NAME: guessName(options), ...environment };
  const tree = loadManifest(files, { environment: known, readFile, diagnostics });
  if (tree === undefined) return undefined;
  const top = openSection(tree, {
    section: "top",
    where: "at the top level",
    prefix: "",
    diagnostics,
  });
  if (top === undefined) return undefined;
  const namespace = chooseNamespace(top, options);
  const volumes = compileVolumes(top, namespace);
  const profiles = new Set(options.profiles);
  // A service that is left out must be written well, but needs nothing that Skein cannot do.
  const leftOut = new Diagnostics({ allowIgnored: true });
  const diagnosticsFor = (service: Tree) => (isWanted(service, profiles) ? diagnostics : leftOut);
  const named = top.named("services", (name) => `in service \`${name}\``, diagnosticsFor);
  checkServices(top, named.length, diagnostics);
  if (named.length > maxServices) return undefined;
  const related = named.map((service) => {
    const relations = compileRelations(service.section);
    return { ...service, relations, diagnostics: service.section.diagnostics };
  });
  const wanted = related.filter((service) => service.diagnostics !== leftOut);
  const groups = groupPods(wanted);
  const awaited = awaitedServices(groups, wanted);
  const compiled = related.map((service) => {
    const isAwaited = awaited.has(service.name);
    const own = service.diagnostics;
    const context = { namespace, volumes, environment, readFile, isAwaited, diagnostics: own };
    checkProfileNames(service.section);
    return { ...service, compiled: compileService(service, context) };
  });
  const members = compiled.filter((service) => service.diagnostics !== leftOut);
  const leftOutNames = new Set(
    related.flatMap(({ name, diagnostics: own }) => (own === leftOut ? [name] : [])),
  );
  const services = composeServices(groups, members, { leftOut: leftOutNames, diagnostics });
  for (const { position, message, hint } of leftOut.problems()) {
    diagnostics.problem(position, message, hint);
  }
  if (services.length === 0 && named.length > 0) {
    const what = "every service belongs to a profile, and none of these is asked for";
    diagnostics.problem(top.positionOf("services"), what, "name one with `--profile`");
  }
  checkUnique(services, diagnostics);
  return {
    namespace,
    services,
    configs: compileFiles(top, "configs", namespace),
    secrets: compileFiles(top, "secrets", namespace),
    extensions: top.extensions(),
  };
}

/** Whether a service has no profile, or one that is asked for. */
function isWanted(service: Tree, wanted: ReadonlySet<string>): boolean {
  const given = service.kind === "map" ? service.entries.get("profiles")?.value : undefined;
  if (given === undefined || wanted.has("*")) return true;
  const items = given.kind === "list" ? given.items : [given];
  const names = items.flatMap((item) =>
    item.kind === "scalar" && item.text !== "" ? [item.text] : [],
  );
  return names.length === 0 || names.some((name) => wanted.has(name));
}

function checkProfileNames(service: Section): void {
  for (const { text, position } of service.texts("profiles")) {
    if (/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(text)) continue;
    const hint = "use letters, digits, `_`, `.` and `-`";
    service.diagnostics.problem(
      position,
      `\`${shortened(text)}\` cannot be the name of a profile`,
      hint,
    );
  }
}

function checkServices(top: Section, count: number, diagnostics: Diagnostics): void {
  const given = top.tree("services");
  const position = top.positionOf("services");
  if (count > maxServices) {
    const what = `the manifest has ${count} services; at most ${maxServices} are allowed`;
    diagnostics.problem(position, what, "split it into several projects");
  }
  const isEmpty = given?.kind === "map" && given.entries.size === 0;
  if (given === undefined || isEmpty || (given.kind === "scalar" && given.type === "null")) {
    const hint = "write `services:` and under it a name and an `image`";
    diagnostics.problem(position, "the manifest has no services", hint);
  }
}

/**
 * The project name before any file is read, because files may use it as a variable. Only a
 * `name` on a line of its own is seen.
 */
function guessName({ files, projectName, directory, environment }: ParseManifestOptions): string {
  const written = files.flatMap(({ text }) => {
    const name = /^name:[ \t]+(["']?)([^"'#\n]+?)\1[ \t]*(?:#.*)?$/m.exec(
      text.slice(0, maxFileLength),
    )?.[2];
    const result = name === undefined ? undefined : interpolate(name, environment);
    return result?.kind === "text" ? [result.text] : [];
  });
  const names = [projectName, written.at(-1), directory].map((name) => normalise(name ?? ""));
  return names.find((name) => name !== "") ?? "default";
}

/** The project name by the rules of Compose. */
function chooseNamespace(top: Section, options: ParseManifestOptions): string {
  const key = top.has("name") ? "name" : "x-namespace";
  const written = top.text(key);
  if (
    written !== undefined &&
    (normalise(written) !== written || written.length > maxNamespaceLength)
  ) {
    const better = normalise(written);
    top.reject(
      key,
      `at most ${maxNamespaceLength} lower-case letters, digits, \`-\` and \`_\``,
      better === "" ? undefined : `write \`${better}\``,
    );
  }
  for (const candidate of [options.projectName, written, options.directory]) {
    const name = normalise(candidate ?? "");
    if (name !== "") return name;
  }
  return "default";
}

function normalise(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9_-]/g, "")
    .replace(/^[_-]+/, "")
    .slice(0, maxNamespaceLength);
}

/** A port of all nodes, and a route, can belong to one service only. */
function checkUnique(services: readonly CompiledService[], diagnostics: Diagnostics): void {
  const claims = services.flatMap(({ spec, ports, rules }) => [
    ...ports.flatMap(({ port, position }) =>
      port.published === undefined
        ? []
        : [
            {
              key: `port ${port.published}/${port.protocol}`,
              position,
              owner: spec.name,
              // Tasks of two services may bind the same port on different nodes.
              isShareable: port.mode === "host",
            },
          ],
    ),
    ...rules.map(({ rule, position }) => ({
      key: `route ${rule.host}${rule.path}`,
      position,
      owner: spec.name,
      isShareable: false,
    })),
  ]);
  const first = new Map<string, (typeof claims)[number]>();
  for (const claim of claims) {
    const other = first.get(claim.key);
    if (other === undefined) {
      first.set(claim.key, claim);
    } else if (claim.owner === other.owner || !claim.isShareable || !other.isShareable) {
      const { file, line } = other.position;
      diagnostics.problem(
        claim.position,
        `the ${claim.key} is taken already by \`${other.owner}\`, at ${file}:${line}`,
      );
    }
  }
}
