import {
  compileBlockRates,
  compileBlockWeights,
  compileDevices,
  compileExtraHosts,
  compileLogging,
  compilePidsLimit,
  compileSwap,
  compileUlimits,
} from "./compile-engine-parts.ts";
import { cgroupModes, ipcModes } from "./container-keys.ts";
import type { Diagnostics } from "./diagnostics.ts";
import type { Section } from "./section.ts";
import type { EngineOptions } from "./service-spec.ts";
import { shortened } from "./tree.ts";

/** The keys that the engine acts on as they stand; `undefined` when there are none. */
export function compileEngine(
  service: Section,
  context: { readonly deploy: Section | undefined; readonly diagnostics: Diagnostics },
): EngineOptions | undefined {
  const { diagnostics } = context;
  const blkio = service.child("blkio_config");
  const options: { [Key in keyof EngineOptions]: EngineOptions[Key] | undefined } = {
    domainName: service.text("domainname"),
    dnsServers: addresses(service, diagnostics),
    dnsOptions: list(service, "dns_opt"),
    dnsSearch: list(service, "dns_search"),
    extraHosts: compileExtraHosts(service, diagnostics),
    groups: list(service, "group_add")?.sort(),
    ulimits: compileUlimits(service, diagnostics),
    sysctls: map(service, "sysctls"),
    devices: compileDevices(service, diagnostics),
    deviceRules: list(service, "device_cgroup_rules"),
    privileged: service.boolean("privileged") || undefined,
    // In whatever order they stand, they make the same container.
    securityOptions: list(service, "security_opt")?.sort(),
    shmBytes: service.bytes("shm_size"),
    tty: service.boolean("tty") || undefined,
    openStdin: service.boolean("stdin_open") || undefined,
    ipc: service.choice("ipc", ipcModes),
    pid: service.choice("pid", ["host"]),
    uts: service.choice("uts", ["host"]),
    userNamespace: service.choice("userns_mode", ["host"]),
    cgroupNamespace: service.choice("cgroup", cgroupModes),
    cgroupParent: service.text("cgroup_parent"),
    ociRuntime: service.text("runtime"),
    ...cpuOptions(service, diagnostics),
    memorySwapBytes: compileSwap(service),
    memorySwappiness: service.integer("mem_swappiness"),
    oomKillDisable: service.boolean("oom_kill_disable") || undefined,
    oomScoreAdjustment: service.integer("oom_score_adj"),
    pidsLimit: compilePidsLimit(service, context),
    blockWeight: blkio?.integer("weight"),
    blockWeights: compileBlockWeights(blkio, diagnostics),
    blockReadBytes: compileBlockRates(blkio, "device_read_bps", diagnostics),
    blockWriteBytes: compileBlockRates(blkio, "device_write_bps", diagnostics),
    blockReads: compileBlockRates(blkio, "device_read_iops", diagnostics),
    blockWrites: compileBlockRates(blkio, "device_write_iops", diagnostics),
    logging: compileLogging(service),
    storageOptions: map(service, "storage_opt"),
  };
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : (Object.fromEntries(given) as EngineOptions);
}

function cpuOptions(service: Section, diagnostics: Diagnostics) {
  for (const key of ["cpu_period", "cpu_quota"]) {
    if (!service.has(key) || !service.has("cpus")) continue;
    const what = `\`${key}\` and \`cpus\` cannot both be there`;
    diagnostics.problem(service.positionOf(key), what, "keep `cpus`");
  }
  const cpuSet = service.text("cpuset");
  if (cpuSet !== undefined && !/^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$/.test(cpuSet)) {
    service.reject("cpuset", "CPUs such as `0-3` or `0,1`");
  }
  return {
    cpuShares: service.integer("cpu_shares"),
    cpuPeriodMicros: service.integer("cpu_period"),
    cpuQuotaMicros: service.integer("cpu_quota"),
    cpuRealtimePeriodMicros: service.integer("cpu_rt_period"),
    cpuRealtimeRuntimeMicros: service.integer("cpu_rt_runtime"),
    cpuSet,
  };
}

function addresses(service: Section, diagnostics: Diagnostics): string[] | undefined {
  for (const { text, position } of service.texts("dns")) {
    if (/^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:.]*:[0-9a-f:.]*)$/i.test(text)) continue;
    const what = `\`${shortened(text)}\` is not the address of a DNS server`;
    diagnostics.problem(position, what, "write an address such as `9.9.9.9`");
  }
  return list(service, "dns");
}

function list(service: Section, key: string): string[] | undefined {
  const texts = service.texts(key).map(({ text }) => text);
  return texts.length === 0 ? undefined : [...new Set(texts)];
}

function map(service: Section, key: string): Record<string, string> | undefined {
  const pairs = [...service.pairs(key)].map(([name, { text }]) => [name, text ?? ""] as const);
  return pairs.length === 0 ? undefined : Object.fromEntries(pairs.sort(byName));
}

function byName(left: readonly [string, string], right: readonly [string, string]): number {
  return left[0] < right[0] ? -1 : 1;
}
