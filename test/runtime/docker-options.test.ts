import t from "tap";
import { silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { createOptionsOf } from "../../src/runtime/io/docker-create.ts";
import { openDockerRuntime } from "../../src/runtime/io/docker-runtime.ts";
import { containerKeys } from "../../src/spec/container-keys.ts";
import { parseManifest } from "../../src/spec/index.ts";
import {
  collect,
  containerRequest,
  contractOwner,
} from "../contracts/container-runtime.contract.ts";
import { docker, testImage, whyNoDocker } from "./docker-fixture.ts";

/**
 * From a key of a manifest to what a process in the container sees, on a real engine. Where
 * the kernel of this machine may lack a feature, what the engine wrote down is looked at.
 */

type Case = {
  readonly key: string;
  /** What stands in the service. */
  readonly lines: string;
  /** Run inside; its output must match. */
  readonly inside?: string;
  /** `docker inspect --format`, where looking inside is not possible. */
  readonly inspect?: string;
  readonly output: RegExp;
};

const cases: readonly Case[] = [
  {
    key: "cgroup",
    lines: "cgroup: host",
    inspect: "{{.HostConfig.CgroupnsMode}}",
    output: /^host$/,
  },
  {
    key: "cgroup_parent",
    lines: "cgroup_parent: /skein-test",
    inspect: "{{.HostConfig.CgroupParent}}",
    output: /^\/skein-test$/,
  },
  {
    key: "cpu_period",
    lines: "cpu_period: 50000",
    inspect: "{{.HostConfig.CpuPeriod}}",
    output: /^50000$/,
  },
  {
    key: "cpu_quota",
    lines: "cpu_quota: 25000",
    inspect: "{{.HostConfig.CpuQuota}}",
    output: /^25000$/,
  },
  {
    key: "cpu_shares",
    lines: "cpu_shares: 512",
    inspect: "{{.HostConfig.CpuShares}}",
    output: /^512$/,
  },
  {
    key: "cpuset",
    lines: 'cpuset: "0"',
    inside: "grep Cpus_allowed_list /proc/self/status",
    output: /\t0$/,
  },
  {
    key: "devices",
    lines: "devices: [/dev/zero:/dev/other:r]",
    inside: "head -c 3 /dev/other | wc -c",
    output: /^3$/,
  },
  {
    key: "device_cgroup_rules",
    lines: 'device_cgroup_rules: ["c 1:3 mr"]',
    inspect: "{{.HostConfig.DeviceCgroupRules}}",
    output: /^\[c 1:3 mr\]$/,
  },
  {
    key: "dns",
    lines: "dns: [192.0.2.1]",
    inside: "cat /etc/resolv.conf",
    output: /nameserver 192\.0\.2\.1/,
  },
  {
    key: "dns_opt",
    lines: 'dns_opt: ["ndots:3"]',
    inside: "cat /etc/resolv.conf",
    output: /options ndots:3/,
  },
  {
    key: "dns_search",
    lines: "dns_search: shop.example",
    inside: "cat /etc/resolv.conf",
    output: /search shop\.example/,
  },
  {
    key: "domainname",
    lines: "domainname: shop.example",
    inside: "cat /proc/sys/kernel/domainname",
    output: /^shop\.example$/,
  },
  {
    key: "extra_hosts",
    lines: 'extra_hosts: ["db=192.0.2.9", "db:2001:db8::1"]',
    inside: "cat /etc/hosts",
    output: /192\.0\.2\.9\tdb\n2001:db8::1\tdb/,
  },
  { key: "group_add", lines: 'group_add: ["4242"]', inside: "id -G", output: /\b4242\b/ },
  {
    key: "ipc",
    lines: "ipc: shareable",
    inspect: "{{.HostConfig.IpcMode}}",
    output: /^shareable$/,
  },
  {
    key: "logging",
    lines: 'logging: {driver: local, options: {max-size: "2m"}}',
    inspect: "{{.HostConfig.LogConfig}}",
    output: /^\{local map\[max-size:2m\]\}$/,
  },
  {
    key: "mem_swappiness",
    lines: "mem_swappiness: 0",
    inspect: "{{.HostConfig.MemorySwappiness}}",
    output: /^(0|<nil>)$/,
  },
  {
    key: "memswap_limit",
    lines: "mem_limit: 16m\nmemswap_limit: 32m",
    inspect: "{{.HostConfig.MemorySwap}}",
    output: /^33554432$/,
  },
  {
    key: "oom_score_adj",
    lines: "oom_score_adj: 500",
    inside: "cat /proc/self/oom_score_adj",
    output: /^500$/,
  },
  { key: "pid", lines: "pid: host", inspect: "{{.HostConfig.PidMode}}", output: /^host$/ },
  {
    key: "pids_limit",
    lines: "pids_limit: 77",
    inspect: "{{.HostConfig.PidsLimit}}",
    output: /^77$/,
  },
  { key: "runtime", lines: "runtime: runc", inspect: "{{.HostConfig.Runtime}}", output: /^runc$/ },
  {
    key: "security_opt",
    lines: 'security_opt: ["no-new-privileges:true"]',
    inside: "grep NoNewPrivs /proc/self/status",
    output: /\t1$/,
  },
  {
    key: "shm_size",
    lines: "shm_size: 12m",
    inside: "df -k /dev/shm | tail -1",
    output: /\b12288\b/,
  },
  {
    key: "stdin_open",
    lines: "stdin_open: true",
    inspect: "{{.Config.OpenStdin}}",
    output: /^true$/,
  },
  {
    key: "sysctls",
    lines: "sysctls: {net.ipv4.ip_unprivileged_port_start: 81}",
    inside: "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    output: /^81$/,
  },
  { key: "tty", lines: "tty: true", inspect: "{{.Config.Tty}}", output: /^true$/ },
  {
    key: "ulimits",
    lines: "ulimits: {nofile: {soft: 333, hard: 444}}",
    // Those of the container's own process: at times runc gives the process of an `exec` the hard
    // limit for the soft one.
    inside: "grep 'open files' /proc/1/limits",
    output: /\b333 +444\b/,
  },
  {
    key: "userns_mode",
    lines: "userns_mode: host",
    inspect: "{{.HostConfig.UsernsMode}}",
    output: /^host$/,
  },
  { key: "uts", lines: "uts: host", inspect: "{{.HostConfig.UTSMode}}", output: /^host$/ },
  {
    key: "tmpfs",
    lines: 'tmpfs: ["/run:size=3m,mode=0750"]',
    inside: "df -k /run | tail -1; stat -c %a /run",
    output: /\b3072\b[\s\S]*\n750$/,
  },
  {
    key: "volumes.tmpfs",
    lines: "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 5m}}]",
    inside: "df -k /t | tail -1",
    output: /\b5120\b/,
  },
  {
    key: "volumes.bind",
    lines: "volumes: [{type: bind, source: /tmp, target: /t, bind: {propagation: private}}]",
    inspect: "{{(index .Mounts 0).Propagation}}",
    output: /^private$/,
  },
  {
    key: "volumes.nocopy",
    lines: "volumes: [{type: volume, target: /bin2, volume: {nocopy: true}}]",
    inspect: "{{(index .HostConfig.Mounts 0).VolumeOptions.NoCopy}}",
    output: /^true$/,
  },
  {
    key: "deploy.resources.limits.pids",
    lines: "deploy: {resources: {limits: {pids: 55}}}",
    inspect: "{{.HostConfig.PidsLimit}}",
    output: /^55$/,
  },
];

/** What this machine's kernel may be unable to do: what the engine would be told is checked. */
const onlyTranslated: readonly {
  readonly key: string;
  readonly lines: string;
  readonly hostConfig: object;
}[] = [
  {
    key: "blkio_config",
    lines:
      "blkio_config: {weight: 300, weight_device: [{path: /dev/sda, weight: 400}], device_read_bps: [{path: /dev/sda, rate: 12mb}], device_write_iops: [{path: /dev/sda, rate: 30}]}",
    hostConfig: {
      BlkioWeight: 300,
      BlkioWeightDevice: [{ Path: "/dev/sda", Weight: 400 }],
      BlkioDeviceReadBps: [{ Path: "/dev/sda", Rate: 12 * 2 ** 20 }],
      BlkioDeviceWriteIOps: [{ Path: "/dev/sda", Rate: 30 }],
    },
  },
  {
    key: "cpu_rt_period",
    lines: "cpu_rt_period: 100000",
    hostConfig: { CpuRealtimePeriod: 100_000 },
  },
  {
    key: "cpu_rt_runtime",
    lines: "cpu_rt_runtime: 95000",
    hostConfig: { CpuRealtimeRuntime: 95_000 },
  },
  {
    key: "oom_kill_disable",
    lines: "oom_kill_disable: true",
    hostConfig: { OomKillDisable: true },
  },
  { key: "privileged", lines: "privileged: true", hostConfig: { Privileged: true } },
  {
    key: "storage_opt",
    lines: "storage_opt: {size: 1G}",
    hostConfig: { StorageOpt: { size: "1G" } },
  },
];

function templateOf(lines: string) {
  const indented = lines.split("\n").map((line) => `    ${line}`);
  const text = ["services:", "  web:", `    image: ${testImage}`, ...indented].join("\n");
  const parsed = parseManifest({ files: [{ name: "c.yaml", text }], environment: {} });
  if (parsed.kind === "invalid") {
    throw new Error(parsed.problems.map(({ message }) => message).join("\n"));
  }
  const template = parsed.manifest.services[0]?.template;
  if (template === undefined) throw new Error("There is no service.");
  return template;
}

t.test("every key that the engine acts on has a case", async (t) => {
  const tried = [...cases.map(({ key }) => key), ...onlyTranslated.map(({ key }) => key)];
  t.strictSame(
    Object.keys(containerKeys).filter((key) => !tried.includes(key)),
    [],
  );
});

t.test("what the kernel may lack is told to the engine", async (t) => {
  const placement = { ...contractOwner, network: "bridge", hostAddress: "" };
  for (const { key, lines, hostConfig } of onlyTranslated) {
    const options = createOptionsOf(containerRequest(templateOf(lines)), placement);
    t.match(options.HostConfig, hostConfig, key);
  }
});

const skip = (await whyNoDocker()) ?? false;

t.test("on a real engine", { skip, timeout: 180_000 }, async (t) => {
  const runtime = await openDockerRuntime({
    ...contractOwner,
    logger: silentLogger,
    clock: systemClock,
  });
  const signal = AbortSignal.timeout(170_000);
  t.teardown(async () => await runtime[Symbol.asyncDispose]());

  for (const { key, lines, inside, inspect, output } of cases) {
    t.test(`${key} has its effect`, async (t) => {
      const template = { ...templateOf(lines), entrypoint: ["sleep"], command: ["100"] };
      const id = await runtime.run(containerRequest(template), { signal });
      t.teardown(async () => await runtime.remove(id, { signal }));
      const found =
        inside === undefined
          ? await docker("inspect", "--format", inspect ?? "", id)
          : await docker("exec", id, "sh", "-c", inside);
      t.match(found, output);
    });
  }

  t.test("the log of a container with a terminal is read line by line", async (t) => {
    const template = {
      ...templateOf("tty: true"),
      entrypoint: ["sh", "-c"],
      command: ["tty; echo two; printf three"],
    };
    const id = await runtime.run(containerRequest(template), { signal });
    t.teardown(async () => await runtime.remove(id, { signal }));
    await docker("wait", id);
    const lines = await collect(runtime.logs(id, { follow: false, signal }));
    t.strictSame(
      lines.map(({ text }) => text),
      ["/dev/pts/0", "two", "three"],
    );
    t.ok(lines.every(({ timeMs }) => timeMs > 0));
  });
});
