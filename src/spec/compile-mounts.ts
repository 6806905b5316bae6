import type { Diagnostics } from "./diagnostics.ts";
import { type Placed, Section } from "./section.ts";
import { mountKinds } from "./service-keys.ts";
import type { MountSpec, Position } from "./service-spec.ts";
import { shortened } from "./tree.ts";

/** The names of the declared volumes, by their keys under the top-level `volumes`. */
export type VolumeNames = ReadonlyMap<string, string>;

type Context = { readonly volumes: VolumeNames; readonly diagnostics: Diagnostics };
type PlacedMount = { readonly mount: MountSpec; readonly position: Position };

/** The top-level `volumes`. */
export function compileVolumes(top: Section, namespace: string): VolumeNames {
  const names = new Map<string, string>();
  for (const { name, section } of top.named("volumes", (key) => `in volume \`${key}\``)) {
    section.choice("driver", ["local"]);
    const isExternal = section.boolean("external") ?? false;
    names.set(name, section.text("name") ?? (isExternal ? name : `${namespace}_${name}`));
  }
  return names;
}

/** The `volumes` and `tmpfs` of a service, by target. */
export function compileMounts(service: Section, context: Context): readonly MountSpec[] {
  const mounts = new Map<string, PlacedMount>();
  for (const item of service.items("volumes")) {
    const mount = item instanceof Section ? longMount(item, context) : shortMount(item, context);
    if (mount !== undefined) add(mounts, { mount, position: item.position }, context.diagnostics);
  }
  for (const { text, position } of service.texts("tmpfs")) {
    const [target = "", options] = text.split(":");
    if (options !== undefined) {
      const what = `the options \`${shortened(options)}\` of \`tmpfs\` are not supported yet`;
      context.diagnostics.problem(position, what);
    }
    const mount: MountSpec = { kind: "tmpfs", target, readOnly: false };
    add(mounts, { mount, position }, context.diagnostics);
  }
  return [...mounts.values()]
    .map(({ mount }) => mount)
    .sort((left, right) => (left.target < right.target ? -1 : 1));
}

/** A later file may put another source at the same place; the same file may not. */
function add(
  mounts: Map<string, PlacedMount>,
  placed: PlacedMount,
  diagnostics: Diagnostics,
): void {
  const { mount, position } = placed;
  if (!mount.target.startsWith("/")) {
    const what = `the mount point \`${shortened(mount.target)}\` is not an absolute path`;
    diagnostics.problem(position, what, "it is a path in the container and starts with `/`");
    return;
  }
  const target = mount.target.replace(/(?<=.)\/+$/, "");
  const first = mounts.get(target);
  if (first !== undefined && first.position.file === position.file) {
    const line = first.position.line;
    diagnostics.problem(position, `something is mounted at \`${target}\` already, in line ${line}`);
  }
  mounts.set(target, { mount: { ...mount, target }, position });
}

/** `[SOURCE:]TARGET[:OPTIONS]`. */
function shortMount(item: Placed, context: Context): MountSpec | undefined {
  const { position } = item;
  const parts = item.text.split(":");
  const [source, target, options = "", ...rest] = parts.length === 1 ? ["", ...parts] : parts;
  if (target === undefined || target === "" || rest.length > 0) {
    const what = `\`${shortened(item.text)}\` is not a mount`;
    context.diagnostics.problem(position, what, "write `SOURCE:TARGET` or `SOURCE:TARGET:ro`");
    return undefined;
  }
  let readOnly = false;
  for (const option of options.split(",")) {
    if (option === "ro") readOnly = true;
    // Hints for desktop machines have no meaning on a server and are passed over by all engines.
    else if (!["", "rw", "cached", "delegated", "consistent"].includes(option)) {
      const what = `the mount option \`${shortened(option)}\` is not supported yet`;
      context.diagnostics.problem(position, what, "`ro` and `rw` are");
    }
  }
  if (source === undefined || source === "") return { kind: "volume", target, readOnly };
  const kind = /^[./~]/.test(source) ? "bind" : "volume";
  return withSource({ kind, target, readOnly }, { text: source, position }, context);
}

function longMount(item: Section, context: Context): MountSpec | undefined {
  const kind = item.choice("type", mountKinds);
  const source = item.text("source");
  const target = item.text("target");
  const readOnly = item.boolean("read_only") ?? false;
  for (const key of ["type", "target"]) {
    if (!item.has(key)) context.diagnostics.problem(item.position, `the mount has no \`${key}\``);
  }
  if (kind === undefined || target === undefined) return undefined;
  if (source === undefined) {
    if (kind !== "bind") return { kind, target, readOnly };
    const hint = "name the node's directory";
    context.diagnostics.problem(item.position, "the bind mount has no `source`", hint);
    return undefined;
  }
  if (kind === "tmpfs") {
    const what = "a mount of type `tmpfs` has no source";
    context.diagnostics.problem(item.positionOf("source"), what, "remove `source`");
    return undefined;
  }
  const position = item.positionOf("source");
  return withSource({ kind, target, readOnly }, { text: source, position }, context);
}

function withSource(mount: MountSpec, source: Placed, context: Context): MountSpec | undefined {
  const { text, position } = source;
  if (mount.kind === "bind") {
    if (text.startsWith("/")) return { ...mount, source: text };
    context.diagnostics.problem(
      position,
      `the source \`${shortened(text)}\` is not an absolute path`,
      "tasks run on any node, so name a directory as the nodes see it",
    );
    return undefined;
  }
  const name = context.volumes.get(text);
  if (name !== undefined) return { ...mount, source: name };
  context.diagnostics.problem(
    position,
    `the volume \`${shortened(text)}\` is not declared`,
    `add \`${shortened(text)}:\` under the top-level \`volumes:\``,
  );
  return undefined;
}
