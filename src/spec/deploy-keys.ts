import {
  boolean,
  bytes,
  choice,
  cpus,
  duration,
  integer,
  notYet,
  pairs,
  type SectionRules,
  section,
  supported,
  text,
  texts,
} from "./key-rule.ts";

export const maxReplicas = 10_000;
/** Container engines refuse to run a container with less. */
export const minMemoryLimitBytes = 6 * 2 ** 20;

export const modes = ["replicated", "global", "replicated-job", "global-job"] as const;
export const overlapPolicies = ["forbid", "allow", "replace"] as const;
export const endpointModes = ["vip"] as const;
export const updateOrders = ["start-first", "stop-first"] as const;
export const failureActions = ["pause", "continue", "rollback"] as const;
export const placementStrategies = ["spread", "pack"] as const;
export const restartConditions = ["none", "on-failure", "any"] as const;

export const deployKeys: SectionRules = {
  mode: supported(
    choice(modes),
    "global",
    "`replicated` (the default) runs `replicas` tasks; `global` runs one on every node; `replicated-job` runs to its end `replicas` times, `global-job` once on every node. With `x-schedule` the default is `replicated-job`.",
  ),
  replicas: supported(integer(0, maxReplicas), "3", "How many tasks run. Default 1."),
  endpoint_mode: supported(
    choice(endpointModes, ["dnsrr"]),
    "vip",
    "`vip` (the default): one stable address for the service.",
  ),
  labels: supported(
    pairs,
    "{tier: front}",
    "Labels of the service, not of its containers; changing them restarts nothing.",
  ),
  update_config: supported(
    section("update_config"),
    "{order: stop-first}",
    "How a new revision rolls out.",
  ),
  restart_policy: supported(
    section("restart_policy"),
    "{condition: none}",
    "When an ended container is started again. Overrides `restart`.",
  ),
  resources: supported(
    section("resources"),
    "{limits: {memory: 256M}}",
    "What a task may use, and what is kept free for it.",
  ),
  placement: supported(
    section("placement"),
    '{constraints: ["node.labels.disk == ssd"]}',
    "Which nodes may run a task.",
  ),
  rollback_config: supported(
    section("rollback_config"),
    "{parallelism: 0}",
    "How an older revision is brought back. What it leaves out is as in `update_config`.",
  ),
};

export const updateKeys: SectionRules = {
  parallelism: supported(
    integer(0, maxReplicas),
    "2",
    "How many tasks are replaced at a time; 0 means all at once. Default 1.",
  ),
  delay: supported(duration(), "10s", "The pause between two batches. Default 0s."),
  order: supported(
    choice(updateOrders),
    "stop-first",
    "Default `start-first`: the new task is healthy before the old one stops. A service with a named volume or a fixed port in mode `host` defaults to `stop-first`, because two tasks cannot hold these at once.",
  ),
  monitor: supported(
    duration(),
    "20s",
    "How long a new task must stay healthy before it counts. Default 5s.",
  ),
  failure_action: supported(
    choice(failureActions),
    "pause",
    "What happens when too many new tasks fail. Default `rollback`: the version before is put back, and the command says why. With `pause` the old tasks that are left go on. (Docker's default is `pause`.)",
  ),
  max_failure_ratio: supported(
    { kind: "number", minimum: 0, maximum: 1 },
    "0.5",
    "The share of new tasks that may fail. Default 0.",
  ),
};

export const restartPolicyKeys: SectionRules = {
  condition: supported(
    choice(restartConditions),
    "on-failure",
    "When to start it again. Default `any`.",
  ),
  delay: supported(
    duration(),
    "5s",
    "The wait before a restart. Default 0s: the first restart is immediate, repeated ones back off.",
  ),
  max_attempts: supported(
    integer(0, 1_000_000),
    "3",
    "How often a task is restarted on its node before it counts as failed. Default: no bound. In a job: how often it is tried again; default 3.",
  ),
  window: supported(
    duration(),
    "1m",
    "How long a container must run for its restart to count as a success. Default 0s.",
  ),
};

export const resourcesKeys: SectionRules = {
  limits: supported(section("limits"), "{memory: 256M}", "What a task may use at most."),
  reservations: supported(
    section("reservations"),
    "{memory: 128M}",
    "What a node must have free to be given a task.",
  ),
};

export const limitsKeys: SectionRules = {
  cpus: supported(
    cpus,
    '"0.5"',
    "CPU time, in CPUs; beyond it the container is slowed. Default: no limit.",
  ),
  memory: supported(
    bytes(minMemoryLimitBytes),
    "256M",
    "Memory; beyond it the container is killed. Default: no limit.",
  ),
  pids: supported(integer(1, 2 ** 22), "100", "The number of processes. Default: no limit."),
};

export const reservationsKeys: SectionRules = {
  cpus: supported(cpus, '"0.25"', "CPUs kept free on the node. Default none."),
  memory: supported(bytes(), "128M", "Memory kept free on the node. Default none."),
  devices: notYet("Devices such as GPUs."),
  generic_resources: notYet("Resources that an administrator counts."),
};

export const placementKeys: SectionRules = {
  constraints: supported(
    texts,
    '["node.labels.disk == ssd"]',
    "All must hold. `key == value` or `key != value`, where key is `node.id`, `node.hostname`, `node.platform.os`, `node.platform.arch` or `node.labels.NAME`.",
  ),
  max_replicas_per_node: supported(
    integer(1, maxReplicas),
    "1",
    "The most tasks of this service on one node. Default: no bound.",
  ),
  preferences: supported(
    { kind: "items", section: "preference", shape: "spread=node.labels.NAME" },
    "[{spread: node.labels.zone}]",
    "Tasks are spread evenly over the values of a label, before they are spread over nodes. Nodes without the label count as one value. The first preference weighs most.",
  ),
};

export const preferenceKeys: SectionRules = {
  spread: supported(
    text,
    "node.labels.rack",
    "`node.id`, `node.hostname`, `node.platform.os`, `node.platform.arch` or `node.labels.NAME`. Required.",
  ),
};

export const xScheduleKeys: SectionRules = {
  cron: supported(
    text,
    '"30 4 * * mon-fri"',
    "Minute, hour, day of the month, month and day of the week, with `*`, lists, ranges, steps and names; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. Required.",
  ),
  timezone: supported(
    text,
    "Europe/Berlin",
    "The zone whose clocks count. Default `UTC`. A time of day that they skip is due as much later; one that comes twice is due once, unless the job runs every hour.",
  ),
  overlap: supported(
    choice(overlapPolicies),
    "replace",
    "What happens when the run before is still going on: `forbid` (the default) skips the new run, `allow` starts it as well, `replace` stops the old one.",
  ),
  suspend: supported(boolean, "true", "Whether nothing is started for now. Default false."),
};

export const xJobKeys: SectionRules = {
  parallelism: supported(
    integer(1, maxReplicas),
    "2",
    "How many tasks of a `replicated-job` run at a time. Default: all `deploy.replicas`.",
  ),
};

export const xPlacementKeys: SectionRules = {
  strategy: supported(
    choice(placementStrategies),
    "pack",
    "`spread` (the default) puts tasks where the fewest of the service, then the fewest of all are; `pack` fills the fewest nodes.",
  ),
};
