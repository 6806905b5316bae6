import { bytes, present } from "./render-values.ts";
import type { EngineOptions, Json } from "./service-spec.ts";

/** What the engine is told, as the keys of a service. */
export function renderEngine(engine: EngineOptions | undefined): Readonly<Record<string, Json>> {
  if (engine === undefined) return {};
  const rates = (list: EngineOptions["blockReads"], isBytes: boolean) =>
    list?.map(({ path, rate }) => ({ path, rate: isBytes ? bytes(rate) : rate }));
  return present({
    domainname: engine.domainName,
    dns: engine.dnsServers,
    dns_opt: engine.dnsOptions,
    dns_search: engine.dnsSearch,
    extra_hosts: engine.extraHosts?.map(({ host, address }) => `${host}:${address}`),
    group_add: engine.groups,
    ulimits: engine.ulimits,
    sysctls: engine.sysctls,
    devices: engine.devices?.map(
      ({ source, target, permissions }) => `${source}:${target}:${permissions}`,
    ),
    device_cgroup_rules: engine.deviceRules,
    privileged: engine.privileged,
    security_opt: engine.securityOptions,
    shm_size: engine.shmBytes === undefined ? undefined : bytes(engine.shmBytes),
    tty: engine.tty,
    stdin_open: engine.openStdin,
    ipc: engine.ipc,
    pid: engine.pid,
    "x-uts": engine.uts,
    userns_mode: engine.userNamespace,
    "x-cgroup": engine.cgroupNamespace,
    cgroup_parent: engine.cgroupParent,
    runtime: engine.ociRuntime,
    cpu_shares: engine.cpuShares,
    cpu_period: engine.cpuPeriodMicros,
    cpu_quota: engine.cpuQuotaMicros,
    cpu_rt_period: engine.cpuRealtimePeriodMicros,
    cpu_rt_runtime: engine.cpuRealtimeRuntimeMicros,
    cpuset: engine.cpuSet,
    memswap_limit:
      engine.memorySwapBytes === undefined || engine.memorySwapBytes < 0
        ? engine.memorySwapBytes
        : bytes(engine.memorySwapBytes),
    mem_swappiness: engine.memorySwappiness,
    oom_kill_disable: engine.oomKillDisable,
    oom_score_adj: engine.oomScoreAdjustment,
    pids_limit: engine.pidsLimit,
    blkio_config: present({
      weight: engine.blockWeight,
      weight_device: engine.blockWeights,
      device_read_bps: rates(engine.blockReadBytes, true),
      device_write_bps: rates(engine.blockWriteBytes, true),
      device_read_iops: rates(engine.blockReads, false),
      device_write_iops: rates(engine.blockWrites, false),
    }),
    logging: engine.logging && { ...engine.logging },
    storage_opt: engine.storageOptions,
  });
}
