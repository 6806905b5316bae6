import type { ContainerCreateOptions } from "dockerode";
import type { EngineOptions } from "../../spec/index.ts";

type HostConfig = NonNullable<ContainerCreateOptions["HostConfig"]>;

/** Settings of the container itself. */
export function configOf(engine: EngineOptions | undefined): Partial<ContainerCreateOptions> {
  return defined({
    Domainname: engine?.domainName,
    Tty: engine?.tty,
    OpenStdin: engine?.openStdin,
  });
}

/** Settings of how this machine runs it. What is not set is left out, for the engine to choose. */
export function hostConfigOf(engine: EngineOptions | undefined): Partial<HostConfig> {
  if (engine === undefined) return {};
  return defined({
    ...networkOf(engine),
    ...processorOf(engine),
    ...memoryOf(engine),
    ...blocksOf(engine),
    GroupAdd: engine.groups,
    Ulimits: listOf(engine.ulimits, (Name, { soft, hard }) => ({ Name, Soft: soft, Hard: hard })),
    Sysctls: engine.sysctls,
    Devices: engine.devices?.map(({ source, target, permissions }) => ({
      PathOnHost: source,
      PathInContainer: target,
      CgroupPermissions: permissions,
    })),
    DeviceCgroupRules: engine.deviceRules,
    Privileged: engine.privileged,
    SecurityOpt: engine.securityOptions,
    IpcMode: engine.ipc,
    PidMode: engine.pid,
    UTSMode: engine.uts,
    UsernsMode: engine.userNamespace,
    CgroupnsMode: engine.cgroupNamespace,
    CgroupParent: engine.cgroupParent,
    Runtime: engine.ociRuntime,
    PidsLimit: engine.pidsLimit,
    LogConfig: engine.logging && {
      // Without a driver the engine takes its own and gives it the options.
      Type: engine.logging.driver ?? "",
      Config: engine.logging.options,
    },
    StorageOpt: engine.storageOptions,
  });
}

function networkOf(engine: EngineOptions) {
  return {
    Dns: engine.dnsServers,
    DnsOptions: engine.dnsOptions,
    DnsSearch: engine.dnsSearch,
    ExtraHosts: engine.extraHosts?.map(({ host, address }) => `${host}:${address}`),
  };
}

function processorOf(engine: EngineOptions) {
  return {
    CpuShares: engine.cpuShares,
    CpuPeriod: engine.cpuPeriodMicros,
    CpuQuota: engine.cpuQuotaMicros,
    CpuRealtimePeriod: engine.cpuRealtimePeriodMicros,
    CpuRealtimeRuntime: engine.cpuRealtimeRuntimeMicros,
    CpusetCpus: engine.cpuSet,
  };
}

function memoryOf(engine: EngineOptions) {
  return {
    ShmSize: engine.shmBytes,
    MemorySwap: engine.memorySwapBytes,
    MemorySwappiness: engine.memorySwappiness,
    OomKillDisable: engine.oomKillDisable,
    OomScoreAdj: engine.oomScoreAdjustment,
  };
}

function blocksOf(engine: EngineOptions) {
  const rates = (list: EngineOptions["blockReads"]) =>
    list?.map(({ path, rate }) => ({ Path: path, Rate: rate }));
  return {
    BlkioWeight: engine.blockWeight,
    BlkioWeightDevice: engine.blockWeights?.map(({ path, weight }) => ({
      Path: path,
      Weight: weight,
    })),
    BlkioDeviceReadBps: rates(engine.blockReadBytes),
    BlkioDeviceWriteBps: rates(engine.blockWriteBytes),
    BlkioDeviceReadIOps: rates(engine.blockReads),
    BlkioDeviceWriteIOps: rates(engine.blockWrites),
  };
}

function listOf<Value, Item>(
  record: Readonly<Record<string, Value>> | undefined,
  itemOf: (name: string, value: Value) => Item,
): Item[] | undefined {
  return record && Object.entries(record).map(([name, value]) => itemOf(name, value));
}

/** Without the keys that are not set. */
function defined<Values extends object>(
  values: Values,
): { [Key in keyof Values]?: NonNullable<Values[Key]> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Values]?: NonNullable<Values[Key]>;
  };
}
