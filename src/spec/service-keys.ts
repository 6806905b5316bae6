import { containerKeys } from "./container-keys.ts";
import { maxReplicas, minMemoryLimitBytes } from "./deploy-keys.ts";
import {
  boolean,
  bytes,
  choice,
  command,
  cpus,
  duration,
  integer,
  noEffect,
  notYet,
  pairs,
  path,
  type SectionRules,
  section,
  supported,
  text,
  texts,
} from "./key-rule.ts";
import { maxPriority } from "./service-spec.ts";

export const protocols = ["tcp", "udp"] as const;
export const portModes = ["ingress", "host"] as const;
export const appProtocols = ["auto", "http", "tcp"] as const;
export const pullPolicies = ["missing", "if_not_present"] as const;
export const mountKinds = ["bind", "volume", "tmpfs"] as const;

const supportedServiceKeys: SectionRules = {
  image: supported(
    text,
    "example/web:2",
    "The image to run. Required. With the process runtime: a command or an absolute path of the machine.",
  ),
  command: supported(
    command,
    '["serve", "--verbose"]',
    "Replaces the image's command. Text is split as a shell would split words, but no shell runs it.",
  ),
  entrypoint: supported(command, "/bin/tini --", "Replaces the image's entrypoint. As `command`."),
  environment: supported(
    pairs,
    "{MESSAGE: hello}",
    "Overrides `env_file`. A key without a value takes it from the environment of the command that reads the file. Numbers are passed on as they are written: `1.10` stays `1.10`.",
  ),
  env_file: supported(
    { kind: "items", section: "env_file", shape: "PATH", isPath: true },
    "./web.env",
    "Files of `KEY=value` lines, read by the command that reads the manifest; later ones override earlier ones.",
  ),
  working_dir: supported(text, "/srv", "The directory in which the command runs."),
  user: supported(text, '"1000:1000"', "The user, or `user:group`, that runs the command."),
  hostname: supported(text, "web-host", "The container's own host name."),
  extends: supported(
    { kind: "short", section: "extends", shape: "SERVICE" },
    "{service: base, file: ./base.yaml}",
    "Another service, of this file or another one, that this one is laid over by the rules for several files.",
  ),
  profiles: supported(
    texts,
    "[debug]",
    "The service is left out unless one of these is asked for, by `--profile` or `COMPOSE_PROFILES`.",
  ),
  label_file: supported(
    { kind: "texts", isPath: true },
    "./web.labels",
    "Files of `KEY=value` lines that become labels; `labels` override them.",
  ),
  labels: supported(
    pairs,
    "{team: shop}",
    "Labels of the container. Keys that start with `skein.` are taken.",
  ),
  ports: supported(
    {
      kind: "items",
      section: "port",
      shape: "[PUBLISHED:]TARGET[/PROTOCOL]",
      identity: "port",
    },
    '["8080:80"]',
    "`8080:80` answers on port 8080 of every node and is balanced over all tasks. `80` alone gives each task a free port of its own node. Ranges (`8000-8002:80-82`) are allowed.",
  ),
  expose: supported(
    texts,
    '["3000"]',
    "Ports, or ranges, that other services may reach. Those of `ports` and `x-ingress` need not be repeated.",
  ),
  volumes: supported(
    { kind: "items", section: "mount", shape: "[SOURCE:]TARGET[:ro]", identity: "target" },
    '["/srv/data:/data:ro"]',
    "A source that starts with `/` is a directory of the node; another one is a volume declared under the top-level `volumes`; without a source the volume lives as long as the container.",
  ),
  tmpfs: supported(
    { kind: "items", shape: "PATH[:OPTIONS]", identity: "target" },
    "/run:size=64m,mode=1777",
    "Directories kept in memory. The options are `size` and `mode`.",
  ),
  healthcheck: supported(
    section("healthcheck"),
    '{test: ["CMD", "true"]}',
    "A command, run inside the container, that says whether it is healthy.",
  ),
  "x-healthcheck": supported(
    section("x-healthcheck"),
    '{http: ":8080/healthz"}',
    "A check by HTTP or TCP, made by the daemon, so that the image needs no tools.",
  ),
  "x-ingress": supported(
    { kind: "items", section: "ingress", shape: "HOST[/PATH][:PORT]" },
    '["shop.example.com/api:8080"]',
    "Routes requests for a host name, on the HTTP port of every node, to a port of the container. `*.example.com` matches one label. The port may be left out when the service has only one.",
  ),
  "x-ports": supported(
    { kind: "items", shape: "HOST:PORT/http" },
    '["shop.example.com:8080/http"]',
    "The same as `x-ingress` in the words of uncloud, for plain HTTP only; and `PUBLISHED:TARGET[/PROTOCOL]@host`, the same as a port in mode `host`.",
  ),
  "x-machines": supported(
    texts,
    "[n1, n2]",
    "In the words of uncloud: the machines, by name, that may run the service's tasks.",
  ),
  depends_on: supported(
    { kind: "references", section: "depends_on" },
    "[api]",
    "Services that come first: a new revision of this one is not started before they run, or are as far as `condition` says. Later restarts wait for nothing. In a pod: containers that start first.",
  ),
  network_mode: supported(
    text,
    "service:api",
    "Only `service:NAME`: the container becomes part of the pod of that service, on its network.",
  ),
  volumes_from: supported(
    texts,
    "[api:ro]",
    "Containers of the same pod whose mounts this one has as well: `NAME`, or `NAME:ro` to read only.",
  ),
  "x-pod": supported(
    text,
    "shop",
    "Services with the same name here are the containers of one pod of that name: always on one node, on one network, started and stopped together.",
  ),
  deploy: supported(
    section("deploy"),
    "{replicas: 3}",
    "How many tasks run, where, and how they are updated.",
  ),
  "x-placement": supported(
    section("x-placement"),
    "{strategy: pack}",
    "How nodes are chosen among those that may run a task.",
  ),
  "x-failover": supported(
    section("x-failover"),
    "{after: 1m}",
    "When tasks of a lost node start elsewhere, and what happens when it comes back.",
  ),
  "x-update": supported(
    section("x-update"),
    "{strategy: blue-green}",
    "How a new revision comes to be everywhere, beyond `deploy.update_config`.",
  ),
  "x-priority": supported(
    integer(-maxPriority, maxPriority),
    "100",
    "Where not everything fits, tasks of a lower priority make room for those of a higher one, and wait. Default 0.",
  ),
  "x-schedule": supported(
    { kind: "short", section: "x-schedule", shape: "MINUTE HOUR DAY MONTH WEEKDAY" },
    '"0 3 * * *"',
    "Makes the service a job that runs at these times, each time once in the whole cluster.",
  ),
  "x-job": supported(
    section("x-job"),
    "{parallelism: 2}",
    "How a job (`deploy.mode: replicated-job`) runs.",
  ),
  scale: supported(integer(0, maxReplicas), "2", "The same as `deploy.replicas`."),
  restart: supported(
    text,
    "on-failure:3",
    "`no`, `always`, `on-failure`, `on-failure:ATTEMPTS` or `unless-stopped`. Default `always`.",
  ),
  stop_signal: supported(
    text,
    "SIGINT",
    "The signal that asks the process to end. Default: the image's.",
  ),
  stop_grace_period: supported(
    duration(),
    "30s",
    "How long it may take to end before it is killed. Default 10s.",
  ),
  init: supported(boolean, "true", "Runs a small init process as the first one. Default false."),
  read_only: supported(
    boolean,
    "true",
    "Makes the container's root file system read-only. Default false.",
  ),
  cap_add: supported(texts, "[NET_ADMIN]", "Linux capabilities to add."),
  cap_drop: supported(texts, "[ALL]", "Linux capabilities to take away."),
  ...containerKeys,
  platform: supported(
    text,
    "linux/arm64",
    "`OS/ARCH`: the same as constraints on `node.platform.os` and `node.platform.arch`.",
  ),
  pull_policy: supported(
    choice(pullPolicies, ["always", "never", "build", "daily", "weekly", "refresh"]),
    "missing",
    "An image is pulled when the node does not have it.",
  ),
  cpus: supported(cpus, "0.5", "The same as `deploy.resources.limits.cpus`."),
  mem_limit: supported(
    bytes(minMemoryLimitBytes),
    "256m",
    "The same as `deploy.resources.limits.memory`.",
  ),
  mem_reservation: supported(
    bytes(),
    "128m",
    "The same as `deploy.resources.reservations.memory`.",
  ),
};

const notYetServiceKeys: Readonly<Record<string, string>> = {
  annotations: "Annotations of the container.",
  attach: "Whether logs are shown by `up`.",
  build: "Building an image. Build and push it first, and name it in `image`.",
  configs: "Configuration files. Use `environment`, or a bind mount of a file of the nodes.",
  container_name: "A fixed container name; Skein names containers itself.",
  cpu_count: "The number of usable CPUs on Windows. Use `cpus`.",
  cpu_percent: "A share of the usable CPUs on Windows. Use `cpus`.",
  credential_spec: "Credentials of managed accounts.",
  develop: "Watching files while developing.",
  driver_opts: "Options of a driver.",
  external_links: "Links to containers elsewhere.",
  gpus: "GPUs.",
  isolation: "The isolation technology.",
  links: "Links to other services. Reach them by name.",
  mac_address: "A fixed MAC address.",
  models: "AI models.",
  networks: "Separate networks. Leave the key out; all services of a cluster reach each other.",
  post_start: "Commands to run after the start.",
  pre_stop: "Commands to run before the stop.",
  provider: "Services that another program provides.",
  secrets: "Secrets as files. Use a bind mount of a file of the nodes.",
  use_api_socket: "The engine's API inside the container.",
  "x-autoscale": "Scaling by itself. Set `deploy.replicas`, or use `skein scale`.",
  "x-caddy": "Settings that uncloud hands to Caddy.",
  "x-driver": "Another way to run tasks on some nodes.",
  "x-network": "Who may reach the service.",
};

export const serviceKeys: SectionRules = {
  ...supportedServiceKeys,
  ...Object.fromEntries(
    Object.entries(notYetServiceKeys).map(([key, note]) => [key, notYet(note)]),
  ),
};

export const envFileKeys: SectionRules = {
  path: supported(path, "./other.env", "The file, seen from the manifest. Required."),
  required: supported(boolean, "false", "Whether it must exist. Default true."),
  format: supported(
    choice(["raw"]),
    "raw",
    "`raw` takes values as they stand, with their quotes and dollar signs.",
  ),
};

export const portKeys: SectionRules = {
  target: supported(integer(1, 65_535), "81", "The port of the container. Required."),
  published: supported(
    text,
    '"8081"',
    "The port, or range, that answers; 0 means a free one. Default: a free port of the task's node.",
  ),
  protocol: supported(choice(protocols), "udp", "Default `tcp`."),
  mode: supported(
    choice(portModes),
    "host",
    "`ingress` (the default) answers on every node and is balanced; `host` is bound on the node of each task.",
  ),
  app_protocol: supported(
    choice(appProtocols, ["https", "http2", "grpc"]),
    "http",
    "What travels. Default `auto`: the first bytes of each connection tell.",
  ),
  name: noEffect("A name for people."),
  host_ip: notYet("Binding to one address; a port answers on all addresses of a node."),
};

export const mountKeys: SectionRules = {
  type: supported(
    choice(mountKinds, ["npipe", "cluster", "image"]),
    "tmpfs",
    "What is mounted. Required.",
  ),
  source: supported(text, "/srv/other", "The node's directory, or the volume's name."),
  target: supported(text, "/other", "Where it appears in the container. Required."),
  read_only: supported(boolean, "true", "Default false."),
  consistency: noEffect("A hint for desktop machines."),
  bind: supported(section("bind"), "{propagation: rslave}", "Options of a bind mount."),
  volume: supported(section("mount_volume"), "{nocopy: true}", "Options of a volume mount."),
  tmpfs: supported(section("mount_tmpfs"), "{size: 64m}", "Options of a mount in memory."),
  image: notYet("Options of an image mount."),
};

export const propagations = [
  "rprivate",
  "private",
  "rshared",
  "shared",
  "rslave",
  "slave",
] as const;

export const bindKeys: SectionRules = {
  propagation: supported(
    choice(propagations),
    "rslave",
    "Whether mounts inside are passed on. Default: the engine's.",
  ),
  create_host_path: notYet("Creating the directory. It must exist on the nodes.", boolean),
  selinux: notYet("SELinux labels."),
  recursive: notYet("Mounts inside."),
};

export const mountVolumeKeys: SectionRules = {
  nocopy: supported(
    boolean,
    "true",
    "Leaves a new volume empty, rather than copying what the image has there. Default false.",
  ),
  labels: notYet("Labels of the volume."),
  subpath: notYet("A directory in the volume."),
};

export const mountTmpfsKeys: SectionRules = {
  size: supported(bytes(), "64m", "How much it may hold. Default: no bound."),
  mode: supported(text, "0o1777", "Its permissions, an octal number. Default `1777`."),
};

export const extendsKeys: SectionRules = {
  service: supported(text, "base", "The service to take over. Required."),
  file: supported(path, "./base.yaml", "The manifest that it is in. Default: this one."),
};

export const ingressKeys: SectionRules = {
  host: supported(text, "other.example.com", "The host name, or `*.` and a domain. Required."),
  path: supported(text, "/api", "A prefix of the path. Default `/`."),
  port: supported(
    integer(1, 65_535),
    "9000",
    "The port of the container. Default: the only port of the service.",
  ),
};

const timingKeys: SectionRules = {
  interval: supported(duration(1), "10s", "Between two checks. Default 30s."),
  timeout: supported(duration(1), "3s", "How long one check may take. Default 30s."),
  retries: supported(
    integer(1, 1_000),
    "5",
    "How many checks in a row must fail for the container to count as unhealthy. Default 3.",
  ),
  start_period: supported(
    duration(),
    "20s",
    "While the container starts, failed checks do not count for this long. Default 0s.",
  ),
  start_interval: supported(
    duration(1),
    "1s",
    "Between two checks during the start period. Default 5s.",
  ),
};

const keepUnhealthy = supported(
  boolean,
  "true",
  "Leaves an unhealthy container as it is, without traffic, for somebody to look at, instead of starting it again. Default false.",
);

export const healthcheckKeys: SectionRules = {
  test: supported(
    command,
    '["CMD", "/healthy"]',
    '`["CMD", program, argument…]`, `["CMD-SHELL", line]` or a line for `/bin/sh -c`; exit status 0 is healthy. `["NONE"]` or `disable` switches the check off.',
  ),
  disable: supported(boolean, "true", "Switches the check off. Default false."),
  ...timingKeys,
  "x-keep-unhealthy": keepUnhealthy,
};

export const dependencyConditions = [
  "service_started",
  "service_healthy",
  "service_completed_successfully",
] as const;

export const dependsOnKeys: SectionRules = {
  condition: supported(
    choice(dependencyConditions),
    "service_healthy",
    "`service_started` (the default), `service_healthy`, or `service_completed_successfully`, which makes a job of that service where its mode is not said.",
  ),
  restart: supported(
    boolean,
    "true",
    "Whether tasks of this service are replaced when that one has been updated. Default false.",
  ),
  required: supported(boolean, "false", "Whether that service has to exist. Default true."),
};

export const daemonHealthcheckKeys: SectionRules = {
  http: supported(text, '":9000/healthz"', "`:PORT/PATH`; any status from 200 to 399 is healthy."),
  tcp: supported(text, '":5432"', "`:PORT`; healthy when it takes a connection."),
  ...timingKeys,
  "keep-unhealthy": keepUnhealthy,
};
