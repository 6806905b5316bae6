import type { Diagnostics } from "./diagnostics.ts";
import { type Placed, Section } from "./section.ts";
import { mountKinds, propagations } from "./service-keys.ts";
import type { MountSpec, Position } from "./service-spec.ts";
import { shortened } from "./tree.ts";
import { readBytes } from "./values.ts";

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
  for (const item of service.items("tmpfs")) {
    if (item instanceof Section) continue;
    add(
      mounts,
      { mount: memoryMount(item, context), position: item.position },
      context.diagnostics,
    );
  }
  return [...mounts.values()]
    .map(({ mount }) => mount)
    .sort((left, right) => (left.target < right.target ? -1 : 1));
}

/** `PATH[:OPTIONS]` of `tmpfs`. */
function memoryMount({ text, position }: Placed, { diagnostics }: Context): MountSpec {
  const [target = "", options = ""] = text.split(":");
  const mount: MountSpec = { kind: "tmpfs", target, readOnly: false };
  for (const option of options.split(",").filter(Boolean)) {
    const [name, value = ""] = option.split("=");
    const sizeBytes = name === "size" ? readBytes(value) : undefined;
    const mode = name === "mode" ? readMode(value) : undefined;
    if (sizeBytes !== undefined && sizeBytes > 0) mount.sizeBytes = sizeBytes;
    else if (mode !== undefined) mount.mode = mode;
    else if (option === "ro") mount.readOnly = true;
    else if (option !== "rw") {
      const what = `the option \`${shortened(option)}\` of \`tmpfs\` is not supported yet`;
      diagnostics.problem(position, what, "`size=64m` and `mode=1777` are");
    }
  }
  return mount;
}

/** An octal number, as `chmod` takes it. */
function readMode(text: string): number | undefined {
  const digits = /^(?:0o?)?([0-7]{1,4})$/.exec(text)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
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
  const extra: Partial<MountSpec> = {};
  for (const option of options.split(",")) {
    const isPropagation = propagations.find((word) => word === option);
    if (option === "ro") readOnly = true;
    else if (isPropagation) extra.propagation = isPropagation;
    else if (option === "nocopy") extra.noCopy = true;
    // Hints for desktop machines have no meaning on a server and are passed over by all engines.
    else if (!["", "rw", "cached", "delegated", "consistent"].includes(option)) {
      const what = `the mount option \`${shortened(option)}\` is not supported yet`;
      context.diagnostics.problem(position, what, "`ro` and `rw` are");
    }
  }
  if (source === undefined || source === "") return { kind: "volume", target, readOnly, ...extra };
  const kind = /^[./~]/.test(source) ? "bind" : "volume";
  return withSource({ kind, target, readOnly, ...extra }, { text: source, position }, context);
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
    if (kind !== "bind") return { kind, target, readOnly, ...mountOptions(item, kind, context) };
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
  const mount = { kind, target, readOnly, ...mountOptions(item, kind, context) };
  return withSource(mount, { text: source, position }, context);
}

/** `bind`, `volume` and `tmpfs` of a mount: those of another type would mean nothing. */
function mountOptions(
  item: Section,
  kind: MountSpec["kind"],
  { diagnostics }: Context,
): Partial<MountSpec> {
  const propagation = item.child("bind")?.choice("propagation", propagations);
  const noCopy = item.child("volume")?.boolean("nocopy");
  const memory = item.child("tmpfs");
  const sizeBytes = memory?.bytes("size");
  const modeText = memory?.text("mode");
  const mode = modeText === undefined ? undefined : readMode(modeText);
  if (modeText !== undefined && mode === undefined)
    memory?.reject("mode", "an octal number such as `1777`");
  for (const key of mountKinds) {
    if (key === kind || !item.has(key)) continue;
    const what = `\`${key}\` says nothing about a mount of type \`${kind}\``;
    diagnostics.problem(item.positionOf(key), what, `remove it, or write \`type: ${key}\``);
  }
  return {
    ...(propagation !== undefined && { propagation }),
    ...(noCopy === true && { noCopy }),
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(mode !== undefined && { mode }),
  };
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
