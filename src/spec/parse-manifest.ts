import { compileVolumes } from "./compile-mounts.ts";
import { type CompiledService, compileService } from "./compile-service.ts";
import { Diagnostics } from "./diagnostics.ts";
import { mergeTrees } from "./merge-trees.ts";
import { openSection, type Section } from "./section.ts";
import type { ParsedManifest, Position } from "./service-spec.ts";
import type { Tree } from "./tree.ts";
import type { ManifestFile } from "./tree-builder.ts";
import { readYaml } from "./yaml-tree.ts";

const maxFiles = 20;
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
  /** For `env_file`; `undefined` when there is no such file. The path is as written. */
  readonly readFile?: (path: string) => string | undefined;
};

/**
 * Reads the Compose files of one project. All problems that can be found are reported at
 * once, each with its place. The result is complete: every default is filled in.
 */
export function parseManifest(options: ParseManifestOptions): ParsedManifest {
  const diagnostics = new Diagnostics({ allowIgnored: options.allowIgnored ?? false });
  const services = readServices(options, diagnostics);
  const problems = diagnostics.problems();
  if (problems.length > 0 || services === undefined) return { kind: "invalid", problems };
  const ignored = diagnostics.ignoredThings();
  const { namespace, compiled } = services;
  const specs = compiled.map(({ spec }) => spec).sort((a, b) => (a.name < b.name ? -1 : 1));
  return { kind: "valid", manifest: { namespace, services: specs }, ignored };
}

function readServices(options: ParseManifestOptions, diagnostics: Diagnostics) {
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
  const trees = files.map((file) => readYaml(file, { environment, diagnostics }));
  // What a file that cannot be read would add or replace is unknown, so the rest is not judged.
  if (!trees.every((tree) => tree !== undefined)) return undefined;
  const [first, ...others] = trees;
  if (first === undefined) return undefined;
  const merged = others.reduce<Tree>(
    (base, over) => mergeTrees(base, over, { kind: "section", section: "top" }),
    first,
  );
  const top = openSection(merged, {
    section: "top",
    where: "at the top level",
    prefix: "",
    diagnostics,
  });
  if (top === undefined) return undefined;
  const namespace = chooseNamespace(top, options);
  const volumes = compileVolumes(top, namespace);
  const named = top.named("services", (name) => `in service \`${name}\``);
  const given = top.tree("services");
  if (given === undefined || (given.kind === "scalar" && given.type === "null")) {
    const hint = "write `services:` and under it a name and an `image`";
    diagnostics.problem(top.positionOf("services"), "the manifest has no services", hint);
  }
  const context = { namespace, volumes, environment, readFile, diagnostics };
  const compiled = named.map((service) => compileService(service, context));
  checkUnique(compiled, diagnostics);
  return { namespace, compiled };
}

/** The project name by the rules of Compose. */
function chooseNamespace(top: Section, options: ParseManifestOptions): string {
  const written = top.text("name");
  if (
    written !== undefined &&
    (normalise(written) !== written || written.length > maxNamespaceLength)
  ) {
    const better = normalise(written);
    top.reject(
      "name",
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
