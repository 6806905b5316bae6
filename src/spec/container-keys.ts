import {
  boolean,
  bytes,
  choice,
  integer,
  pairs,
  type SectionRules,
  section,
  supported,
  text,
  texts,
} from "./key-rule.ts";

/** Keys of a service that the container engine acts on, as it is told. */

export const ipcModes = ["host", "private", "shareable", "none"] as const;
export const cgroupModes = ["host", "private"] as const;
const hostOnly = ["host"] as const;
const maxInt32 = 2 ** 31 - 1;
const weight = integer(10, 1_000);
const weights = {
  kind: "items",
  section: "blkio_weight",
  shape: "PATH:WEIGHT",
} as const;
const rates = {
  kind: "items",
  section: "blkio_rate",
  shape: "PATH:RATE",
} as const;

export const containerKeys: SectionRules = {
  blkio_config: supported(
    section("blkio_config"),
    "{weight: 300}",
    "Weights and limits of block devices.",
  ),
  cgroup: supported(choice(cgroupModes), "host", "The cgroup namespace. Default: the engine's."),
  cgroup_parent: supported(text, "m-executor-abcd", "The parent cgroup."),
  cpu_period: supported(
    integer(1_000, 1_000_000),
    "100000",
    "The period of the CPU scheduler, in microseconds. Cannot be combined with `cpus`.",
  ),
  cpu_quota: supported(
    integer(1_000, maxInt32),
    "50000",
    "CPU time in each period, in microseconds. Cannot be combined with `cpus`.",
  ),
  cpu_rt_period: supported(
    integer(1, 1_000_000),
    "100000",
    "The period of the real-time scheduler, in microseconds.",
  ),
  cpu_rt_runtime: supported(
    integer(1, 1_000_000),
    "95000",
    "Real-time CPU time in each period, in microseconds.",
  ),
  cpu_shares: supported(integer(2, 262_144), "512", "The weight among containers. Default 1024."),
  cpuset: supported(text, '"0-1"', "The CPUs that may be used, such as `0-3` or `0,1`."),
  device_cgroup_rules: supported(texts, '["c 1:3 mr"]', "Rules for devices."),
  devices: supported(
    {
      kind: "items",
      section: "device",
      shape: "SOURCE[:TARGET[:PERMISSIONS]]",
      identity: "target",
    },
    '["/dev/null:/dev/xnull:r"]',
    "Devices of the node.",
  ),
  dns: supported(texts, "9.9.9.9", "Other DNS servers, by address."),
  dns_opt: supported(texts, '["ndots:2"]', "Options of the resolver."),
  dns_search: supported(texts, "example.com", "Domains to search."),
  domainname: supported(text, "example.com", "The container's domain name."),
  extra_hosts: supported(
    { kind: "hosts" },
    '["db.example.com=10.0.0.5"]',
    "More names in `/etc/hosts`; `host-gateway` stands for the node's address.",
  ),
  group_add: supported(texts, '["44"]', "More groups of the user."),
  ipc: supported(choice(ipcModes), "host", "The IPC namespace. Default: the engine's."),
  logging: supported(
    section("logging"),
    '{driver: local, options: {max-size: "10m"}}',
    "The engine's log driver. Default: the engine's. `skein logs` needs one that can be read, such as `json-file` or `local`.",
  ),
  mem_swappiness: supported(
    integer(0, 100),
    "0",
    "How readily memory is swapped, where the kernel can tell it for one container.",
  ),
  memswap_limit: supported(
    text,
    "512m",
    "Memory and swap together; `-1` means unlimited swap. Needs a limit of memory.",
  ),
  oom_kill_disable: supported(
    boolean,
    "true",
    "Keeps the container from being killed for want of memory. Default false.",
  ),
  oom_score_adj: supported(
    integer(-1_000, 1_000),
    "500",
    "How soon it is killed for want of memory, compared with others. Default 0.",
  ),
  pid: supported(choice(hostOnly), "host", "`host` shows it the node's processes."),
  pids_limit: supported(
    integer(-1, 2 ** 22),
    "100",
    "The same as `deploy.resources.limits.pids`; -1 means no limit.",
  ),
  privileged: supported(boolean, "true", "Gives it all privileges of the node. Default false."),
  runtime: supported(text, "runc", "Another OCI runtime that the nodes' engines know."),
  security_opt: supported(texts, '["no-new-privileges:true"]', "Security labels."),
  shm_size: supported(bytes(), "64m", "The size of `/dev/shm`. Default: the engine's, 64M."),
  stdin_open: supported(boolean, "true", "Keeps standard input open. Default false."),
  storage_opt: supported(pairs, "{size: 1G}", "Options of the engine's storage driver."),
  sysctls: supported(pairs, "{net.core.somaxconn: 1024}", "Kernel parameters."),
  tty: supported(boolean, "true", "Gives it a terminal. Default false."),
  ulimits: supported(
    { kind: "named", section: "ulimit", shape: "NUMBER" },
    "{nproc: 65535, nofile: {soft: 1024, hard: 2048}}",
    "Limits of its processes.",
  ),
  userns_mode: supported(choice(hostOnly), "host", "`host` switches user namespaces off."),
  uts: supported(choice(hostOnly), "host", "`host` gives it the node's host name."),
};

const limit = integer(-1, Number.MAX_SAFE_INTEGER);

export const ulimitKeys: SectionRules = {
  soft: supported(limit, "1024", "What a process starts with. Required."),
  hard: supported(limit, "4096", "How far it may raise that. Required."),
};

export const deviceKeys: SectionRules = {
  source: supported(text, "/dev/zero", "The device of the node. Required."),
  target: supported(text, "/dev/xzero", "Where it appears. Default: as on the node."),
  permissions: supported(text, "r", "Any of `r`, `w` and `m`. Default `rwm`."),
};

export const loggingKeys: SectionRules = {
  driver: supported(text, "local", "The driver's name. Default: the engine's."),
  options: supported(pairs, '{max-size: "10m"}', "Options of the driver."),
};

export const blkioKeys: SectionRules = {
  weight: supported(weight, "300", "The share of block input and output, 10 to 1000."),
  weight_device: supported(weights, "[{path: /dev/sda, weight: 400}]", "The same for a device."),
  device_read_bps: supported(rates, '[{path: /dev/sda, rate: "12mb"}]', "Bytes read a second."),
  device_write_bps: supported(rates, '[{path: /dev/sda, rate: "1mb"}]', "Bytes written a second."),
  device_read_iops: supported(rates, "[{path: /dev/sda, rate: 120}]", "Reads a second."),
  device_write_iops: supported(rates, "[{path: /dev/sda, rate: 30}]", "Writes a second."),
};

export const blkioWeightKeys: SectionRules = {
  path: supported(text, "/dev/sdb", "The device. Required."),
  weight: supported(weight, "500", "10 to 1000. Required."),
};

export const blkioRateKeys: SectionRules = {
  path: supported(text, "/dev/sdb", "The device. Required."),
  rate: supported(bytes(), "24mb", "Per second. Required."),
};
