import { stringify } from "yaml";
import { mountsOf } from "./pod.ts";
import { renderServices } from "./render-pod.ts";
import type { Json, Manifest, ServiceSpec } from "./service-spec.ts";

export type RenderedManifest = Pick<Manifest, "namespace" | "services"> &
  Partial<Pick<Manifest, "extensions">>;

/**
 * The Compose file that means the same: parsed again, it gives equal services. It keeps to
 * what `docker-compose` has known since its version 1.29; what that does not know stands
 * under keys that start with `x-`. Defaults are left out.
 */
export function renderManifest(manifest: RenderedManifest): Readonly<Record<string, Json>> {
  const { namespace, services, extensions = {} } = manifest;
  const volumes = volumeKeys(manifest);
  const declared = [...volumes].map(([name, key]): readonly [string, Json] => [
    key,
    name === `${namespace}_${key}` ? {} : { name: escaped(name) },
  ]);
  return {
    "x-namespace": namespace,
    ...escapedAll(extensions),
    services: Object.fromEntries(
      services
        .flatMap((spec) => renderServices(spec, services, { volumes }))
        .map(([name, keys]) => [name, escapedAll(keys)]),
    ),
    ...(declared.length > 0 && { volumes: Object.fromEntries(declared) }),
  };
}

/** The same as text. */
export function renderManifestText(manifest: RenderedManifest): string {
  // By the older rules more texts need quotes, which all readers understand.
  return stringify(renderManifest(manifest), {
    version: "1.1",
    lineWidth: 0,
    aliasDuplicateObjects: false,
  });
}

/** A key for each named volume: short where its name is made of the namespace and a key. */
function volumeKeys({ namespace, services }: RenderedManifest): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  const taken = new Set<string>();
  for (const name of services.flatMap(volumesOf).sort()) {
    if (keys.has(name)) continue;
    const short = name.startsWith(`${namespace}_`) ? name.slice(namespace.length + 1) : name;
    let key = short.replace(/[^A-Za-z0-9._-]/g, "-") || "volume";
    while (taken.has(key)) key += "-";
    taken.add(key);
    keys.set(name, key);
  }
  return keys;
}

function volumesOf({ template }: ServiceSpec): readonly string[] {
  return mountsOf(template).flatMap(({ kind, source }) =>
    kind === "volume" && source !== undefined ? [source] : [],
  );
}

/** A dollar sign would be read as the beginning of a variable. */
function escaped(text: string): string {
  return text.replaceAll("$", "$$$$");
}

function escapedAll<Value extends Json | Readonly<Record<string, Json>>>(value: Value): Value {
  const visit = (inner: Json): Json => {
    if (typeof inner === "string") return escaped(inner);
    if (Array.isArray(inner)) return inner.map(visit);
    if (typeof inner !== "object" || inner === null) return inner;
    return Object.fromEntries(Object.entries(inner).map(([key, each]) => [key, visit(each)]));
  };
  return visit(value as Json) as Value;
}
