import { z } from "zod";

/**
 * The one internal form of a service. Compose files, the API and the command line all
 * compile to it, and the cluster stores it. Every default is already filled in.
 */

/** Of one pod, besides its main container. */
export const maxPodContainers = 20;

/** A command line as the engine takes it: no shell in between. */
const argv = z.array(z.string());

const stringMap = z.record(z.string(), z.string());

/** Amounts of a machine. `undefined` in a limit means unlimited; in a reservation, none. */
const amounts = z.strictObject({
  cpuMillis: z.number().int().positive().optional(),
  memoryBytes: z.number().int().positive().optional(),
});

const healthCheckSpec = z.strictObject({
  test: z.discriminatedUnion("kind", [
    /** Run inside the container; exit status 0 is healthy. */
    z.strictObject({ kind: z.literal("command"), argv }),
    /** Asked by the daemon; any status from 200 to 399 is healthy. */
    z.strictObject({ kind: z.literal("http"), port: z.number().int(), path: z.string() }),
    /** Connected by the daemon. */
    z.strictObject({ kind: z.literal("tcp"), port: z.number().int() }),
  ]),
  intervalMs: z.number().int().positive(),
  timeoutMs: z.number().int().positive(),
  retries: z.number().int().positive(),
  startPeriodMs: z.number().int().nonnegative(),
  startIntervalMs: z.number().int().positive(),
  /** An unhealthy container is left as it is, without traffic, for somebody to look at. */
  keepUnhealthy: z.literal(true).optional(),
});

/**
 * - `ingress`: `published` answers on every node of the cluster and is balanced.
 * - `host`: `published` is bound on the node that runs the task, or a free port when absent.
 */
const portSpec = z.strictObject({
  target: z.number().int().min(1).max(65_535),
  published: z.number().int().min(1).max(65_535).optional(),
  protocol: z.enum(["tcp", "udp"]),
  mode: z.enum(["ingress", "host"]),
  /** What travels: `auto` looks at the first bytes of each connection. */
  appProtocol: z.enum(["auto", "http", "tcp"]),
});

const mountSpec = z.strictObject({
  kind: z.enum(["bind", "volume", "tmpfs"]),
  source: z.string().optional(),
  target: z.string(),
  readOnly: z.boolean(),
  /** Of a bind mount. */
  propagation: z.enum(["rprivate", "private", "rshared", "shared", "rslave", "slave"]).optional(),
  /** Of a volume: what the image has at its place is not copied into it. */
  noCopy: z.boolean().optional(),
  /** Of a mount in memory. */
  sizeBytes: z.number().int().positive().optional(),
  /** Permissions of a mount in memory, e.g. `0o1777`. */
  mode: z.number().int().min(0).max(0o7777).optional(),
});

const blockRate = z.strictObject({ path: z.string(), rate: z.number().int().positive() });

/** What the container engine is told as it stands; absent means the engine's own default. */
const engineOptions = z.strictObject({
  domainName: z.string().optional(),
  dnsServers: z.array(z.string()).optional(),
  dnsOptions: z.array(z.string()).optional(),
  dnsSearch: z.array(z.string()).optional(),
  extraHosts: z.array(z.strictObject({ host: z.string(), address: z.string() })).optional(),
  groups: z.array(z.string()).optional(),
  ulimits: z
    .record(z.string(), z.strictObject({ soft: z.number().int(), hard: z.number().int() }))
    .optional(),
  sysctls: stringMap.optional(),
  devices: z
    .array(z.strictObject({ source: z.string(), target: z.string(), permissions: z.string() }))
    .optional(),
  deviceRules: z.array(z.string()).optional(),
  privileged: z.boolean().optional(),
  securityOptions: z.array(z.string()).optional(),
  shmBytes: z.number().int().positive().optional(),
  tty: z.boolean().optional(),
  openStdin: z.boolean().optional(),
  ipc: z.string().optional(),
  pid: z.string().optional(),
  uts: z.string().optional(),
  userNamespace: z.string().optional(),
  cgroupNamespace: z.string().optional(),
  cgroupParent: z.string().optional(),
  ociRuntime: z.string().optional(),
  cpuShares: z.number().int().optional(),
  cpuPeriodMicros: z.number().int().optional(),
  cpuQuotaMicros: z.number().int().optional(),
  cpuRealtimePeriodMicros: z.number().int().optional(),
  cpuRealtimeRuntimeMicros: z.number().int().optional(),
  cpuSet: z.string().optional(),
  /** Memory and swap together; -1 means that swap is not limited. */
  memorySwapBytes: z.number().int().optional(),
  memorySwappiness: z.number().int().optional(),
  oomKillDisable: z.boolean().optional(),
  oomScoreAdjustment: z.number().int().optional(),
  pidsLimit: z.number().int().optional(),
  blockWeight: z.number().int().optional(),
  blockWeights: z.array(z.strictObject({ path: z.string(), weight: z.number().int() })).optional(),
  blockReadBytes: z.array(blockRate).optional(),
  blockWriteBytes: z.array(blockRate).optional(),
  blockReads: z.array(blockRate).optional(),
  blockWrites: z.array(blockRate).optional(),
  logging: z.strictObject({ driver: z.string().optional(), options: stringMap }).optional(),
  storageOptions: stringMap.optional(),
});

const containerFields = {
  image: z.string().min(1),
  entrypoint: argv.optional(),
  command: argv.optional(),
  environment: stringMap,
  workingDirectory: z.string().optional(),
  user: z.string().optional(),
  hostname: z.string().optional(),
  /** Labels of the container (Compose `labels`), not of the service. */
  labels: stringMap,
  /** Container ports that the proxy or other services may reach. */
  exposedPorts: z.array(z.number().int().min(1).max(65_535)),
  hostPorts: z.array(portSpec),
  mounts: z.array(mountSpec),
  init: z.boolean(),
  readOnlyRoot: z.boolean(),
  capAdd: z.array(z.string()),
  capDrop: z.array(z.string()),
  healthCheck: healthCheckSpec.optional(),
  limits: amounts,
  reservations: amounts,
  restart: z.strictObject({
    condition: z.enum(["none", "on-failure", "any"]),
    delayMs: z.number().int().nonnegative(),
    maxAttempts: z.number().int().nonnegative().optional(),
    windowMs: z.number().int().nonnegative(),
  }),
  stopSignal: z.string().optional(),
  stopGracePeriodMs: z.number().int().nonnegative(),
  /** Absent when nothing of it is set. */
  engine: engineOptions.optional(),
  /** Of a container of a pod: others of it, by name, whose mounts it has as well. */
  volumesFrom: z
    .array(z.strictObject({ container: z.string(), readOnly: z.boolean() }))
    .max(maxPodContainers)
    .optional(),
};

const podContainerSchema = z.strictObject({
  ...containerFields,
  /** Unique in the pod. */
  name: z.string(),
  /**
   * - `init`: runs to its end before the next one starts, on a network of its own.
   * - `companion`: runs beside the main container, on its network.
   */
  role: z.enum(["init", "companion"]),
  /** Containers of the pod that have to be healthy before this one starts. */
  startsAfterHealthy: z.array(z.string()).max(maxPodContainers).optional(),
});

/** What makes the container, or the containers, of a task: when it differs, a new revision rolls out. */
export const taskTemplateSchema = z.strictObject({
  ...containerFields,
  /**
   * The other containers of a pod; absent: the one that the template describes is alone. That
   * one is the main container: its network is the pod's, and with it the ports of all.
   */
  pod: z
    .strictObject({
      /** The name of the main container. */
      main: z.string(),
      /** In the order in which they start; the main container comes after the `init` ones. */
      others: z.array(podContainerSchema).min(1).max(maxPodContainers),
    })
    .optional(),
  /** The container is started once a client is attached to it, and not without one. */
  startsAttached: z.literal(true).optional(),
});

const rolloutSpec = z.strictObject({
  /** How many tasks are replaced at a time; 0 means all at once. */
  parallelism: z.number().int().nonnegative(),
  delayMs: z.number().int().nonnegative(),
  order: z.enum(["start-first", "stop-first"]),
  /** How long a new task must stay healthy before it counts. */
  monitorMs: z.number().int().nonnegative(),
  failureAction: z.enum(["pause", "continue", "rollback"]),
  maxFailureRatio: z.number().min(0).max(1),
});

const strategySpec = z.discriminatedUnion("kind", [
  /** All new tasks first, then the traffic in one step; the old ones stay for a while. */
  z.strictObject({ kind: z.literal("blue-green"), keepMs: z.number().int().nonnegative() }),
  /** A few new tasks first; the others when these have proven themselves. */
  z.strictObject({
    kind: z.literal("canary"),
    share: z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("count"), count: z.number().int().positive() }),
      z.strictObject({ kind: z.literal("percent"), percent: z.number().positive().max(100) }),
    ]),
    bakeMs: z.number().int().nonnegative(),
    /** Whether a person has to let it go on. */
    pauses: z.boolean(),
  }),
]);

const updateSpec = rolloutSpec.extend({
  /** Absent: batch by batch. */
  strategy: strategySpec.optional(),
});

/** One `host[/path] -> port` rule of `x-ingress`, served on every node's HTTP port. */
const ingressRuleSpec = z.strictObject({
  /** Lower-case host name; a leading `*.` matches exactly one label. */
  host: z.string(),
  /** Path prefix, always starting with `/`. */
  path: z.string(),
  port: z.number().int().min(1).max(65_535),
});

/** What happens to the tasks of a node that is lost, and comes back. */
const failoverSpec = z.strictObject({
  /** How long the node must have been given up; absent: the scheduler's own time. */
  afterMs: z.number().int().nonnegative().optional(),
  /** Absent: what replaced a task stays when its node comes back. */
  reconnect: z.literal("keep-original").optional(),
  /** A node that is cut off stops its task before another may start it. */
  isFenced: z.literal(true).optional(),
});

/** A service of the namespace that has to be so far before this one starts for the first time. */
const dependencySpec = z.strictObject({
  service: z.string(),
  condition: z.enum(["started", "healthy", "completed"]),
  /** Whether it has to exist. */
  isRequired: z.boolean(),
  /** Whether tasks are replaced when that service has been updated. */
  restart: z.boolean(),
});

const scheduleSpec = z.strictObject({
  cron: z.string(),
  timezone: z.string(),
  /** What happens when a run is due while another one is still going on. */
  overlap: z.enum(["forbid", "allow", "replace"]),
  isSuspended: z.boolean(),
});

/** Priorities lie between this and its negative. */
export const maxPriority = 1_000;

export const serviceSpecSchema = z.strictObject({
  namespace: z.string(),
  name: z.string(),
  /** Labels of the service itself (Compose `deploy.labels`); changing them restarts nothing. */
  labels: stringMap,
  mode: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("replicated"), replicas: z.number().int().nonnegative() }),
    z.strictObject({ kind: z.literal("global") }),
    /** Runs to its end `completions` times, at most `parallelism` at once. */
    z.strictObject({
      kind: z.literal("replicated-job"),
      completions: z.number().int().positive(),
      parallelism: z.number().int().positive(),
      /** Of each completion: how often it is tried again after a failure. */
      retries: z.number().int().nonnegative(),
    }),
    /** Runs to its end once on every node. */
    z.strictObject({
      kind: z.literal("global-job"),
      retries: z.number().int().nonnegative(),
    }),
  ]),
  /** When a job runs; absent: once after each change of its template. */
  schedule: scheduleSpec.optional(),
  /** Somebody stopped it: it runs nowhere until it is started or submitted again. */
  isStopped: z.literal(true).optional(),
  /** A job that is removed some moments after its run has ended, whoever is still there. */
  removedAtEnd: z.literal(true).optional(),
  template: taskTemplateSchema,
  /** Published on every node by the proxy. */
  ports: z.array(portSpec),
  ingress: z.array(ingressRuleSpec),
  update: updateSpec,
  /** How an older revision is brought back; absent: like an update that is not undone. */
  rollback: rolloutSpec.optional(),
  placement: z.strictObject({
    constraints: z.array(
      z.strictObject({
        /** `node.id`, `node.hostname`, `node.platform.os|arch`, `node.labels.<name>`. */
        key: z.string(),
        operator: z.enum(["==", "!=", "in"]),
        /** With `in`: several values, separated by commas. */
        value: z.string(),
      }),
    ),
    maxReplicasPerNode: z.number().int().positive().optional(),
    /** Tasks are spread evenly over the values of these labels, the first one before the next. */
    preferences: z.array(z.strictObject({ spread: z.string() })).optional(),
    /** `pack` fills the fewest nodes; absent: tasks are spread. */
    strategy: z.enum(["pack"]).optional(),
    /** Where not all fits, the lower ones wait; absent: 0. */
    priority: z.number().int().min(-maxPriority).max(maxPriority).optional(),
  }),
  failover: failoverSpec.optional(),
  /** Of a revision that has no tasks yet; changing them restarts nothing. */
  dependsOn: z.array(dependencySpec).optional(),
  /** Keys of the service that start with `x-` and mean nothing to Skein, kept for `export`. */
  extensions: z.record(z.string(), z.json()).optional(),
  /** Those of the other containers of a pod, by name. */
  containerExtensions: z.record(z.string(), z.record(z.string(), z.json())).optional(),
});

/**
 * A service as somebody submits it. What was agreed once has to stay readable, so what
 * earlier versions let in is refused here and not in {@link serviceSpecSchema}.
 */
export const submittedServiceSchema = serviceSpecSchema.superRefine((spec, context) => {
  for (const path of textsWithNul(spec, [])) {
    const message = "holds a NUL byte, which no process can be given. Remove it";
    context.addIssue({ code: "custom", path: [...path], message });
  }
});

/** Where texts, or keys, with a NUL byte stand. What is not handed to containers may have them. */
function textsWithNul(value: unknown, path: readonly string[]): readonly (readonly string[])[] {
  if (typeof value === "string") return value.includes("\0") ? [path] : [];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => {
    if (path.length === 0 && /^(?:extensions|containerExtensions)$/.test(key)) return [];
    // The text of an issue is for a terminal, which would swallow the byte.
    const at = [...path, key.replaceAll("\0", "\\0")];
    return key.includes("\0") ? [at] : textsWithNul(item, at);
  });
}

export type Amounts = z.infer<typeof amounts>;
export type HealthCheckSpec = z.infer<typeof healthCheckSpec>;
export type PortSpec = z.infer<typeof portSpec>;
export type MountSpec = z.infer<typeof mountSpec>;
export type TaskTemplate = z.infer<typeof taskTemplateSchema>;
export type PodContainer = z.infer<typeof podContainerSchema>;
export type RolloutSpec = z.infer<typeof updateSpec>;
export type FailoverSpec = z.infer<typeof failoverSpec>;
export type StrategySpec = z.infer<typeof strategySpec>;
export type IngressRule = z.infer<typeof ingressRuleSpec>;
export type ScheduleSpec = z.infer<typeof scheduleSpec>;
export type EngineOptions = z.infer<typeof engineOptions>;
export type DependencySpec = z.infer<typeof dependencySpec>;
export type ServiceSpec = z.infer<typeof serviceSpecSchema>;

/** A parsed file: one namespace (the Compose project) and its services. */
export type Manifest = {
  readonly namespace: string;
  readonly services: readonly ServiceSpec[];
  /** Not delivered to containers yet. */
  readonly configs: readonly FileSpec[];
  readonly secrets: readonly FileSpec[];
  /** Keys at the top level that start with `x-` and mean nothing to Skein. */
  readonly extensions: Readonly<Record<string, Json>>;
};

/** A file for containers: one of the `configs` or `secrets` of a manifest. */
export type FileSpec = {
  readonly key: string;
  /** Its own name in the cluster. */
  readonly name: string;
  readonly source:
    | { readonly kind: "file"; readonly path: string }
    | { readonly kind: "environment"; readonly variable: string }
    | { readonly kind: "content"; readonly text: string }
    | { readonly kind: "external" };
};

/** A value as JSON knows it. */
export type Json = z.infer<ReturnType<typeof z.json>>;

/** Where something stands in a file. Lines and columns count from 1. */
export type Position = { readonly file: string; readonly line: number; readonly column: number };

/** One thing wrong with a manifest: a full sentence, with the nearest valid key where there is one. */
export type ManifestProblem = {
  readonly position: Position;
  readonly message: string;
  readonly hint?: string;
};

export type ParsedManifest =
  | {
      readonly kind: "valid";
      readonly manifest: Manifest;
      readonly ignored: readonly ManifestProblem[];
    }
  | { readonly kind: "invalid"; readonly problems: readonly ManifestProblem[] };
