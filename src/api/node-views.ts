import { z } from "zod";

/** What the API shows of machines beyond the list, and what the doctor found. */

const time = z.string();

export const nodeViewSchema = z.object({
  id: z.string(),
  name: z.string(),
  status: z.enum(["ready", "suspect", "failed", "left", "unknown"]),
  eligibility: z.enum(["active", "drain"]),
  /** `learner`: about to become a voter. `follower`: gets the log from others, does not vote. */
  role: z.enum(["leader", "voter", "learner", "follower"]),
  /** Whether it is the node that answered. */
  isSelf: z.boolean(),
  tasks: z.number(),
  /** `used` is of the whole machine, at most some ten seconds old; null when not known. */
  cpu: z.object({
    capacityMillis: z.number(),
    reservedMillis: z.number(),
    usedMillis: z.number().nullable().default(null),
  }),
  memory: z.object({
    capacityBytes: z.number(),
    reservedBytes: z.number(),
    usedBytes: z.number().nullable().default(null),
  }),
  /** The file system that holds the daemon's data; null when not known. */
  disk: z.object({ capacityBytes: z.number(), usedBytes: z.number() }).nullable().default(null),
  address: z.string(),
  labels: z.record(z.string(), z.string()),
  version: z.string(),
  runtime: z.string(),
  platform: z.string(),
  admittedAt: time,
});

export const nodeTaskSchema = z.object({
  id: z.string(),
  namespace: z.string(),
  name: z.string(),
  desired: z.enum(["running", "stopped"]),
  status: z.string(),
  health: z.string(),
  restarts: z.number(),
  /** How the container before ended; null when none did. */
  exitCode: z.number().nullable(),
  message: z.string(),
});

export const nodeDetailSchema = nodeViewSchema.extend({
  /** When the node that answered last had reason to believe that it lives. */
  lastSeenAt: time.nullable(),
  /** From whom it gets the log; null for voters. */
  feeder: z.string().nullable(),
  /** Nobody can open a connection to it: it is reached over those that it opened itself. */
  isDialOutOnly: z.boolean().default(false),
  /** How far it has applied the log, by its last report. */
  logIndex: z.number().nullable(),
  /** Of the agreed state as it holds it. */
  digest: z.object({ index: z.number(), value: z.string() }).nullable(),
  /** All that should run there, and all that still does. */
  taskList: z.array(nodeTaskSchema),
  /** While it drains: why tasks are still there, in sentences. */
  pending: z.array(z.string()),
});

export const doctorNodeSchema = z.object({
  name: z.string(),
  /** Why it told nothing; null when it did. */
  error: z.string().nullable(),
  version: z.string(),
  engine: z.string(),
  /** Median time of a small write until the disk has it. */
  diskSyncMs: z.number().nullable(),
  diskFreeBytes: z.number().nullable(),
  diskCapacityBytes: z.number().nullable(),
  /** How far its clock is ahead of the asking node's. */
  clockAheadMs: z.number().nullable(),
});

export const doctorLinkSchema = z.object({
  from: z.string(),
  to: z.string(),
  /** Whether a request over the peer network was answered. */
  isUp: z.boolean(),
  roundTripMs: z.number().nullable(),
  /** What a new connection to the one port came to. */
  port: z.enum(["open", "refused", "timed_out", "unreachable"]),
  address: z.string(),
});

export const findingSchema = z.object({
  severity: z.enum(["problem", "warning"]),
  message: z.string(),
  remedy: z.string(),
});

export const doctorViewSchema = z.object({
  /** The node that asked the others. */
  by: z.string(),
  nodes: z.array(doctorNodeSchema),
  links: z.array(doctorLinkSchema),
  findings: z.array(findingSchema),
});

export type NodeView = z.infer<typeof nodeViewSchema>;
export type NodeTask = z.infer<typeof nodeTaskSchema>;
export type NodeDetail = z.infer<typeof nodeDetailSchema>;
export type DoctorNode = z.infer<typeof doctorNodeSchema>;
export type DoctorLink = z.infer<typeof doctorLinkSchema>;
export type Finding = z.infer<typeof findingSchema>;
export type DoctorView = z.infer<typeof doctorViewSchema>;
