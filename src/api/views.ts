import { z } from "zod";
import { serviceSpecSchema } from "../spec/service-spec.ts";
import { quotaSchema } from "./namespace-routes.ts";

/**
 * What the API shows. Times are RFC 3339 in UTC. Unknown fields are ignored by readers, so
 * that a newer daemon can say more; no field is ever renamed.
 */

const time = z.string();

/** Said with every answer about the cluster: whether it can decide now. */
export const quorumViewSchema = z.object({
  hasQuorum: z.boolean(),
  votersAlive: z.number(),
  voters: z.number(),
  /** How many are to vote, where there are so many nodes. */
  maxVoters: z.number().default(5),
});

export const statusViewSchema = z.object({
  version: z.string(),
  clusterId: z.string(),
  node: z.object({ id: z.string(), name: z.string() }),
  leader: z.string().nullable(),
  /** From whom a log follower gets the log. */
  feeder: z.string().nullable().default(null),
  /** What a person has to look at. */
  warnings: z.array(z.string()).default([]),
  term: z.number(),
  commitIndex: z.number(),
  appliedIndex: z.number(),
  quorum: quorumViewSchema,
  nodes: z.object({
    total: z.number(),
    alive: z.number(),
    suspect: z.number().default(0),
    failed: z.number().default(0),
    left: z.number().default(0),
    draining: z.array(z.string()).default([]),
  }),
  services: z.number(),
  /** Services that do not run as they should, with the reasons. */
  unsettled: z
    .array(
      z.object({
        service: z.string(),
        running: z.number(),
        desired: z.number(),
        reasons: z.array(z.string()),
      }),
    )
    .default([]),
  /** When this node's certificate ends; it is renewed long before. */
  certificateExpiresAt: time.nullable().default(null),
  tasks: z.object({ desired: z.number(), running: z.number() }),
});

/** What the cluster agreed to run, at one index of the log. */
export const backupSchema = z.object({
  clusterId: z.string(),
  index: z.number(),
  takenAt: time,
  /** Whether a quorum confirmed that the node which answered knew the newest state. */
  isConfirmed: z.boolean(),
  services: z.array(serviceSpecSchema),
  /** How many are to vote at most; null where nobody said so. */
  maxVoters: z.number().nullable().default(null),
  /** By namespace. */
  quotas: z.record(z.string(), quotaSchema).default({}),
});

/** What is left of a cluster whose quorum is lost. */
export const recoveryViewSchema = z.object({
  clusterId: z.string(),
  /** Up to here the node that answered knows the log to be agreed. */
  commitIndex: z.number(),
  nodes: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      isSelf: z.boolean(),
      isVoter: z.boolean(),
      /** The last entry of its log; null for one that does not answer. */
      position: z.object({ index: z.number(), term: z.number() }).nullable(),
    }),
  ),
  /** Why the node that answered cannot recover the cluster; null when it can. */
  refusal: z.string().nullable(),
});

export const runViewSchema = z.object({
  number: z.number(),
  trigger: z.enum(["deploy", "schedule", "manual"]),
  state: z.enum(["active", "succeeded", "failed", "skipped", "replaced"]),
  revision: z.number(),
  /** The due time of the schedule that it belongs to. */
  dueAt: time.nullable(),
  startedAt: time,
  endedAt: time.nullable(),
  /** Of its tasks; those of old runs are forgotten. */
  succeeded: z.number(),
  failed: z.number(),
  message: z.string(),
});

export const jobViewSchema = z.object({
  /** Null for a job that runs once on every node. */
  completions: z.number().nullable(),
  retries: z.number(),
  schedule: z
    .object({
      cron: z.string(),
      timezone: z.string(),
      overlap: z.enum(["forbid", "allow", "replace"]),
      isSuspended: z.boolean(),
    })
    .nullable(),
  nextDueAt: time.nullable(),
  /** By number, the newest last. */
  runs: z.array(runViewSchema),
});

export const serviceViewSchema = z.object({
  namespace: z.string(),
  name: z.string(),
  mode: z.enum(["replicated", "global", "replicated-job", "global-job"]),
  desired: z.number(),
  /** Tasks that serve and get traffic, of any revision. */
  running: z.number(),
  /** Tasks of the newest revision that serve. */
  updated: z.number(),
  /** Tasks that serve but get no traffic: the other side of a blue-green roll-out. */
  standby: z.number().default(0),
  /** Tasks that should no longer run but still do. */
  stopping: z.number(),
  revision: z.number(),
  version: z.number(),
  rollout: z.enum(["normal", "paused", "rolled_back"]),
  /** Of a paused roll-out: its failures, its canary, or a person. */
  pauseCause: z.enum(["failed", "canary", "asked"]).nullable().default(null),
  image: z.string(),
  /** Where it answers, e.g. `:8080` on every node, or a host name. */
  endpoints: z.array(z.string()),
  /** Why something is pending, in sentences. */
  pending: z.array(z.string()),
  createdAt: time,
  updatedAt: time,
  /** Null for a service that runs all the time. */
  job: jobViewSchema.nullable().default(null),
  spec: serviceSpecSchema,
});

/** One container of a pod. */
const containerViewSchema = z.object({
  name: z.string(),
  role: z.enum(["init", "main", "companion"]),
  status: z.enum(["waiting", "running", "succeeded", "failed"]),
  health: z.enum(["none", "starting", "healthy", "unhealthy"]),
  image: z.string(),
  containerId: z.string().nullable(),
  exitCode: z.number().nullable(),
});

export const taskViewSchema = z.object({
  id: z.string(),
  /** `web.3`, or `web.n2` in a global service. */
  name: z.string(),
  namespace: z.string(),
  service: z.string(),
  slot: z.number(),
  revision: z.number(),
  desired: z.enum(["running", "stopped"]),
  /** Observed; `pending` before its node has said anything, `unknown` when it cannot be reached. */
  status: z.enum([
    "pending",
    "preparing",
    "starting",
    "running",
    "stopping",
    "completed",
    "failed",
    "unknown",
  ]),
  phase: z.enum(["Pending", "Running", "Succeeded", "Failed", "Unknown"]).default("Pending"),
  /** The run of the job that it belongs to. */
  run: z.number().nullable().default(null),
  /** Why on this node. */
  placement: z.string().default(""),
  /** Log index of the decision to create it. */
  createdAtIndex: z.number().nullable().default(null),
  health: z.enum(["none", "starting", "healthy", "unhealthy"]),
  restarts: z.number(),
  node: z.string(),
  nodeId: z.string(),
  image: z.string(),
  containerId: z.string().nullable(),
  /** Of a pod, in the order in which they start; empty where the task has one container. */
  containers: z.array(containerViewSchema).default([]),
  ports: z.array(z.string()),
  exitCode: z.number().nullable(),
  message: z.string(),
  reason: z.string(),
  createdAt: time,
});

export const tokenViewSchema = z.object({
  id: z.string(),
  role: z.enum(["node", "admin"]),
  expiresAt: time,
  usesLeft: z.number().nullable(),
  status: z.enum(["valid", "expired", "used_up"]).default("valid"),
});

export const createdTokenSchema = tokenViewSchema.extend({
  token: z.string(),
  /** The command that joins another machine with it; empty for a client's token. */
  joinCommand: z.string(),
});

/** What one service becomes when a file is applied. */
export const changeSchema = z.object({
  namespace: z.string(),
  name: z.string(),
  action: z.enum(["create", "update", "none"]),
  details: z.array(z.string()),
  /** The revision that it is then; absent where nothing was submitted. */
  revision: z.number().optional(),
});

export const appliedSchema = z.object({
  index: z.number(),
  changes: z.array(changeSchema),
});

export const logEntrySchema = z.object({
  time,
  task: z.string(),
  node: z.string(),
  stream: z.enum(["stdout", "stderr"]),
  text: z.string(),
});

export type Backup = z.infer<typeof backupSchema>;
export type RecoveryView = z.infer<typeof recoveryViewSchema>;
export type StatusView = z.infer<typeof statusViewSchema>;
export type ServiceView = z.infer<typeof serviceViewSchema>;
export type RunView = z.infer<typeof runViewSchema>;
export type JobView = z.infer<typeof jobViewSchema>;
export type TaskView = z.infer<typeof taskViewSchema>;
export type TokenView = z.infer<typeof tokenViewSchema>;
export type CreatedToken = z.infer<typeof createdTokenSchema>;
export type Change = z.infer<typeof changeSchema>;
export type AppliedChanges = z.infer<typeof appliedSchema>;
export type LogEntry = z.infer<typeof logEntrySchema>;
