import { Packr } from "msgpackr";
import { z } from "zod";
import { nodeId, type ServiceKey, taskId } from "../kernel/index.ts";
import {
  maxAwaitedTasks,
  maxPendingReasons,
  maxPendingServices,
  maxReasonLength,
  type NodeReport,
} from "./observations.ts";

const packr = new Packr({ useRecords: false });

/** A node cannot run more than this, whatever a peer claims. */
const maxTasksPerNode = 5_000;

const port = z.number().int().min(0).max(65_535);

/** More than a pod may have. */
const maxContainers = 64;

const health = z.enum(["none", "starting", "healthy", "unhealthy"]);

const containerSchema = z.object({
  name: z.string().max(64),
  role: z.enum(["init", "main", "companion"]),
  state: z.enum(["waiting", "running", "succeeded", "failed"]),
  health,
  containerId: z.string().max(128).optional(),
  exitCode: z.number().int().optional(),
});

const statusSchema = z.object({
  taskId: z.string().max(64).transform(taskId),
  phase: z.enum(["preparing", "starting", "running", "stopping", "completed", "failed"]),
  health,
  restarts: z.number().int().nonnegative(),
  containerId: z.string().max(128).optional(),
  endpoints: z.array(z.object({ target: port, address: z.string().max(64), port })).max(256),
  hostPorts: z
    .array(z.object({ target: port, hostPort: port, protocol: z.enum(["tcp", "udp"]) }))
    .max(256),
  exitCode: z.number().int().optional(),
  containers: z.array(containerSchema).max(maxContainers).optional(),
  message: z.string().max(2_000),
  sinceMs: z.number(),
  retryAtMs: z.number().optional(),
});

const amount = z.number().nonnegative();

/**
 * Fields of a newer version are not refused: nodes are upgraded one by one. They are of no use
 * here; the record that they came in is handed on as it is.
 */
const reportSchema = z.object({
  nodeId: z.string().max(128).transform(nodeId),
  skeinVersion: z.string().max(64),
  runtime: z.string().max(32),
  runtimeVersion: z.string().max(64),
  platform: z.object({ os: z.string().max(32), arch: z.string().max(32) }),
  capacity: z.object({ cpuMillis: z.number(), memoryBytes: z.number() }),
  usage: z
    .object({
      cpuMillis: amount,
      memoryBytes: amount,
      diskBytes: amount,
      diskCapacityBytes: amount,
    })
    .optional(),
  httpPort: port,
  routesIndex: z.number(),
  awaited: z.array(z.string().max(64).transform(taskId)).max(maxAwaitedTasks).optional(),
  appliedIndex: z.number(),
  logIndex: z.int().nonnegative().optional(),
  isDialOutOnly: z.boolean().optional(),
  isEngineSilent: z.boolean().optional(),
  feeder: z.string().max(128).transform(nodeId).optional(),
  digest: z.object({ index: z.int().nonnegative(), value: z.int().nonnegative() }).optional(),
  tasks: z.array(statusSchema).max(maxTasksPerNode),
  eventsHead: z.int().nonnegative().optional(),
  pending: z
    .array(
      z.object({
        service: z
          .string()
          .max(256)
          .transform((text) => text as ServiceKey),
        reasons: z.array(z.string().max(maxReasonLength)).max(maxPendingReasons),
      }),
    )
    .max(maxPendingServices)
    .optional(),
});

export function encodeReport(report: NodeReport): Uint8Array {
  return packr.pack(report);
}

/** Undefined when the bytes hold no report of that node. */
export function decodeReport(bytes: Uint8Array, owner: string): NodeReport | undefined {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch {
    return undefined;
  }
  const parsed = reportSchema.safeParse(value);
  if (!parsed.success || parsed.data.nodeId !== owner) return undefined;
  return parsed.data as NodeReport;
}
