import type { Diagnostics } from "./diagnostics.ts";
import { Section } from "./section.ts";
import type { EngineOptions } from "./service-spec.ts";
import { shortened } from "./tree.ts";
import { readBytes, readInteger } from "./values.ts";

/** `HOST:ADDRESS` or `HOST=ADDRESS`; a host may have several addresses. */
export function compileExtraHosts(
  service: Section,
  diagnostics: Diagnostics,
): EngineOptions["extraHosts"] {
  const hosts = service.hosts("extra_hosts").flatMap(({ text, position }) => {
    const [, host = "", written = ""] = /^([^\s:=]+)[:=](.+)$/.exec(text) ?? [];
    const address = written.replace(/^\[(.*)\]$/, "$1");
    if (/^(?:host-gateway|\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:.]*:[0-9a-f:.]*)$/i.test(address)) {
      return [{ host, address }];
    }
    const what = `\`${shortened(text)}\` is not a host and its address`;
    diagnostics.problem(position, what, "write for example `db.example.com=10.0.0.5`");
    return [];
  });
  return hosts.length === 0 ? undefined : hosts;
}

/** `nofile: 1024`, or `nofile: {soft: 1024, hard: 2048}`. */
export function compileUlimits(
  service: Section,
  diagnostics: Diagnostics,
): EngineOptions["ulimits"] {
  const limits: Record<string, { soft: number; hard: number }> = {};
  for (const { name, value } of service.namedOrShort("ulimits")) {
    if (!/^[a-z]{2,20}$/.test(name)) {
      const what = `\`${shortened(name)}\` is not a limit of a process`;
      diagnostics.problem(value.position, what, "write a name such as `nofile`");
    }
    if (value instanceof Section) {
      const soft = value.integer("soft");
      const hard = value.integer("hard");
      for (const key of ["soft", "hard"]) {
        if (!value.has(key)) diagnostics.problem(value.position, `the limit has no \`${key}\``);
      }
      if (soft === undefined || hard === undefined) continue;
      if (hard !== -1 && (soft > hard || soft === -1)) {
        const what = `the soft limit ${soft} is above the hard limit ${hard}`;
        diagnostics.problem(value.position, what);
      }
      limits[name] = { soft, hard };
      continue;
    }
    const both = readInteger(value.text, { minimum: -1, maximum: Number.MAX_SAFE_INTEGER });
    if (both === undefined) {
      const what = `\`ulimits.${name}\` must be a whole number, not \`${shortened(value.text)}\``;
      diagnostics.problem(value.position, what, "-1 means no limit");
    } else limits[name] = { soft: both, hard: both };
  }
  return Object.keys(limits).length === 0 ? undefined : limits;
}

/** `SOURCE[:TARGET[:PERMISSIONS]]`, or a map. */
export function compileDevices(
  service: Section,
  diagnostics: Diagnostics,
): EngineOptions["devices"] {
  const devices = service.items("devices").flatMap((item) => {
    const [source, second, third] =
      item instanceof Section
        ? [item.text("source"), item.text("target"), item.text("permissions")]
        : item.text.split(":");
    const isOnlyPermissions = third === undefined && /^[rwm]{1,3}$/.test(second ?? "");
    const target = (isOnlyPermissions ? undefined : second) ?? source ?? "";
    const permissions = (isOnlyPermissions ? second : third) ?? "rwm";
    if (source?.startsWith("/") && target.startsWith("/") && /^[rwm]{1,3}$/.test(permissions)) {
      return [{ source, target, permissions }];
    }
    const what =
      item instanceof Section
        ? "the device needs a `source` that is an absolute path"
        : `\`${shortened(item.text)}\` is not a device`;
    diagnostics.problem(item.position, what, "write `/dev/SOURCE:/dev/TARGET:rwm`");
    return [];
  });
  return devices.length === 0 ? undefined : devices;
}

/** `memswap_limit`, where `-1` lifts the limit. */
export function compileSwap(service: Section): number | undefined {
  const text = service.text("memswap_limit");
  if (text === undefined) return undefined;
  const bytes = text === "-1" ? -1 : readBytes(text);
  if (bytes === undefined || bytes === 0) {
    service.reject("memswap_limit", "an amount of memory such as `512M`, or -1");
    return undefined;
  }
  const memory = service.bytes("mem_limit");
  if (bytes > 0 && memory !== undefined && memory > bytes) {
    service.reject(
      "memswap_limit",
      "at least as much as `mem_limit`, because it counts memory too",
    );
  }
  return bytes;
}

/** `pids_limit`, or `deploy.resources.limits.pids`. */
export function compilePidsLimit(
  service: Section,
  context: { readonly deploy: Section | undefined; readonly diagnostics: Diagnostics },
): number | undefined {
  const short = service.integer("pids_limit");
  const long = context.deploy?.child("resources")?.child("limits")?.integer("pids");
  if (short !== undefined && long !== undefined && short !== long) {
    const what = "`pids_limit` and `deploy.resources` do not say the same";
    context.diagnostics.problem(service.positionOf("pids_limit"), what, "keep one of them");
  }
  return long ?? short;
}

export function compileBlockWeights(
  blkio: Section | undefined,
  diagnostics: Diagnostics,
): EngineOptions["blockWeights"] {
  const weights = onlySections(blkio, "weight_device", diagnostics).flatMap((item) => {
    const path = devicePath(item, "weight", diagnostics);
    const weight = item.integer("weight");
    return path === undefined || weight === undefined ? [] : [{ path, weight }];
  });
  return weights.length === 0 ? undefined : weights;
}

export function compileBlockRates(
  blkio: Section | undefined,
  key: string,
  diagnostics: Diagnostics,
): EngineOptions["blockReads"] {
  const rates = onlySections(blkio, key, diagnostics).flatMap((item) => {
    const path = devicePath(item, "rate", diagnostics);
    const rate = item.bytes("rate");
    return path === undefined || rate === undefined ? [] : [{ path, rate }];
  });
  return rates.length === 0 ? undefined : rates;
}

function onlySections(
  blkio: Section | undefined,
  key: string,
  diagnostics: Diagnostics,
): readonly Section[] {
  return (blkio?.items(key) ?? []).flatMap((item) => {
    if (item instanceof Section) return [item];
    const what = `\`blkio_config.${key}\` holds text where a map is expected`;
    diagnostics.problem(item.position, what, "write `{path: /dev/sda, …}`");
    return [];
  });
}

function devicePath(item: Section, other: string, diagnostics: Diagnostics): string | undefined {
  for (const key of ["path", other]) {
    if (!item.has(key)) diagnostics.problem(item.position, `the entry has no \`${key}\``);
  }
  const path = item.text("path");
  if (path !== undefined && !path.startsWith("/")) item.reject("path", "an absolute path");
  return path;
}

export function compileLogging(service: Section): EngineOptions["logging"] {
  const logging = service.child("logging");
  if (logging === undefined) return undefined;
  const driver = logging.text("driver");
  const options: Record<string, string> = {};
  for (const [name, { text }] of logging.pairs("options")) options[name] = text ?? "";
  return { ...(driver !== undefined && { driver }), options };
}
