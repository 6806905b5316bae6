import { Packr } from "msgpackr";
import { z } from "zod";
import { nodeId, type ServiceKey, taskId } from "../kernel/index.ts";
import { serviceSpecSchema } from "../spec/index.ts";
import type { Command } from "./command.ts";
import { voterCounts } from "./voter-counts.ts";

/** Records of msgpackr would make the bytes depend on what was encoded before: plain maps only. */
const packr = new Packr({ useRecords: false });

const nodeIdSchema = z.string().max(128).transform(nodeId);
const taskIdSchema = z.string().max(64).transform(taskId);
const serviceKeySchema = z
  .string()
  .max(256)
  .regex(/^[^/]+\/[^/]+$/)
  .transform((text) => text as ServiceKey);

const labelName = z.string().min(1).max(128);
const labelValue = z.string().max(256);

const nodeSchema = z.object({
  id: nodeIdSchema,
  name: z.string().min(1).max(253),
  address: z.string().max(300),
  labels: z.record(z.string(), z.string()),
  assignedLabels: z.record(labelName, labelValue.nullable()).optional(),
  eligibility: z.enum(["active", "drain"]),
  admittedAtMs: z.number(),
});

const tokenSchema = z.object({
  id: z.string().max(64),
  role: z.enum(["node", "admin"]),
  secretHash: z.string().length(64),
  expiresAtMs: z.number(),
  usesLeft: z.number().int().optional(),
  createdAtMs: z.number(),
});

const taskSchema = z.object({
  id: taskIdSchema,
  service: serviceKeySchema,
  slot: z.number().int().positive(),
  revision: z.number().int().positive(),
  nodeId: nodeIdSchema,
  desired: z.enum(["running", "stopped"]),
  stoppedAtIndex: z.number().int().optional(),
  reason: z.string(),
  stopReason: z.string().optional(),
  createdAtMs: z.number(),
  placement: z.string().max(1_000).optional(),
  replaces: taskIdSchema.optional(),
  run: z.number().int().positive().optional(),
});

const resultSchema = z.object({
  outcome: z.enum(["succeeded", "failed"]),
  exitCode: z.number().int().optional(),
  message: z.string().max(2_000),
  atMs: z.number(),
});

const runChangeSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("start"),
    run: z.object({
      number: z.number().int().positive(),
      trigger: z.enum(["deploy", "schedule", "manual"]),
      dueAtMs: z.number().optional(),
      revision: z.number().int().positive(),
      startedAtMs: z.number(),
      state: z.enum(["active", "skipped"]),
      endedAtMs: z.number().optional(),
      message: z.string().max(2_000),
    }),
  }),
  z.object({
    kind: z.literal("end"),
    number: z.number().int().positive(),
    state: z.enum(["succeeded", "failed", "replaced"]),
    atMs: z.number(),
    message: z.string().max(2_000),
  }),
]);

const namespaceSchema = z.string().min(1).max(128);
const expectedSchema = z.record(z.string().max(256), z.array(z.number()).max(1_000)).optional();

/** Unknown fields of a newer version are dropped, not refused: nodes are upgraded one by one. */
const commandSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("bootstrap"),
    clusterId: z.string(),
    node: nodeSchema,
    maxVoters: z.literal(voterCounts).optional(),
  }),
  z.object({ kind: z.literal("set_max_voters"), maxVoters: z.literal(voterCounts) }),
  z.object({
    kind: z.literal("admit_node"),
    node: nodeSchema,
    tokenId: z.string().optional(),
    nowMs: z.number(),
  }),
  z.object({
    kind: z.literal("set_eligibility"),
    nodeId: nodeIdSchema,
    eligibility: z.enum(["active", "drain"]),
  }),
  z.object({
    kind: z.literal("remove_node"),
    nodeId: nodeIdSchema,
    onlyIfUnused: z.boolean().optional(),
  }),
  z.object({
    kind: z.literal("label_node"),
    nodeId: nodeIdSchema,
    labels: z.record(labelName, labelValue.nullable()),
  }),
  z.object({ kind: z.literal("recover"), lost: z.array(nodeIdSchema).max(10_000) }),
  z.object({ kind: z.literal("put_token"), token: tokenSchema }),
  z.object({ kind: z.literal("revoke_token"), tokenId: z.string() }),
  z.object({
    kind: z.literal("put_services"),
    specs: z.array(serviceSpecSchema),
    onlyNew: z.boolean().optional(),
    nowMs: z.number(),
    expected: expectedSchema,
  }),
  z.object({
    kind: z.literal("scale_service"),
    service: serviceKeySchema,
    replicas: z.number().int().min(0).max(10_000),
    nowMs: z.number(),
    expected: expectedSchema,
  }),
  z.object({
    kind: z.literal("remove_services"),
    services: z.array(serviceKeySchema),
    expected: expectedSchema,
  }),
  z.object({
    kind: z.literal("remove_namespace"),
    namespace: namespaceSchema,
    expected: expectedSchema,
  }),
  z.object({
    kind: z.literal("set_quota"),
    namespace: namespaceSchema,
    quota: z.object({
      cpuMillis: z.int().nonnegative().optional(),
      memoryBytes: z.int().nonnegative().optional(),
      tasks: z.int().nonnegative().optional(),
      services: z.int().nonnegative().optional(),
    }),
  }),
  z.object({
    kind: z.literal("update_tasks"),
    basedOn: z.record(z.string(), z.number()),
    create: z.array(taskSchema),
    stop: z.array(z.object({ id: taskIdSchema, reason: z.string() })),
    forget: z.array(taskIdSchema),
    rollouts: z.array(
      z.object({
        service: serviceKeySchema,
        state: z.enum(["normal", "paused", "rolled_back"]),
        promoted: z.number().int().positive().optional(),
        cause: z.enum(["failed", "canary", "asked"]).optional(),
      }),
    ),
    traffic: z
      .array(
        z.object({
          service: serviceKeySchema,
          revision: z.number().int().positive(),
          atMs: z.number(),
        }),
      )
      .optional(),
    runs: z.array(z.object({ service: serviceKeySchema, change: runChangeSchema })).optional(),
    results: z.array(z.object({ id: taskIdSchema, result: resultSchema })).optional(),
    remove: z.array(serviceKeySchema).optional(),
  }),
  z.object({
    kind: z.literal("roll_back_service"),
    service: serviceKeySchema,
    revision: z.number().int().positive().optional(),
    nowMs: z.number(),
    expected: expectedSchema,
  }),
  z.object({
    kind: z.literal("steer_service"),
    service: serviceKeySchema,
    action: z.enum(["restart", "stop", "start"]),
    nowMs: z.number(),
    expected: expectedSchema,
  }),
  z.object({
    kind: z.literal("steer_rollout"),
    service: serviceKeySchema,
    action: z.enum(["pause", "resume"]),
    nowMs: z.number(),
  }),
  z.object({ kind: z.literal("trigger_job"), service: serviceKeySchema, nowMs: z.number() }),
  z.object({
    kind: z.literal("suspend_schedule"),
    service: serviceKeySchema,
    isSuspended: z.boolean(),
    nowMs: z.number(),
  }),
]);

/** `atMs` is the proposer's wall clock: for people to read, nothing is decided by it. */
export function encodeCommand(command: Command, atMs?: number): Uint8Array {
  return packr.pack(atMs === undefined ? command : { ...command, atMs });
}

/** Undefined when the bytes hold no command that this version understands. */
export function decodeCommand(bytes: Uint8Array): Command | undefined {
  return decodeEntry(bytes)?.command;
}

const timeSchema = z.object({ atMs: z.number().nonnegative() });

/** The command, and when it was proposed where that was noted. */
export function decodeEntry(
  bytes: Uint8Array,
): { readonly command: Command; readonly atMs?: number } | undefined {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch {
    return undefined;
  }
  const parsed = commandSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const command = withoutUndefined(parsed.data) as Command;
  const time = timeSchema.safeParse(value);
  return time.success ? { command, atMs: time.data.atMs } : { command };
}

/** zod keeps optional keys absent or undefined; the model knows only absent. */
function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(entries.map(([key, each]) => [key, withoutUndefined(each)]));
}
