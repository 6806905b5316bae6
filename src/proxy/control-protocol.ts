import { Packr } from "msgpackr";
import { z } from "zod";
import { nodeId, serviceKey, taskId } from "../kernel/index.ts";
import type { RouteTable } from "./route-table.ts";

/**
 * What a daemon and its proxy process say to each other over the control socket: frames of a
 * 4-octet big-endian length and a msgpack map. Each request has an id, which its answer repeats.
 */

/** Counts up when a change makes old and new unable to talk; the daemon then replaces the proxy. */
export const controlProtocolVersion = 1;

/** A table of some 100,000 endpoints. */
export const controlFrameMaxBytes = 32 * 1024 * 1024;

const port = z.number().int().min(1).max(65_535);
const text = z.string().max(1024);
const node = z.string().min(1).max(128).transform(nodeId);
const task = z.string().min(1).max(64).transform(taskId);
const service = text.transform((key) => {
  const [namespace = "", name = ""] = key.split("/", 2);
  return serviceKey(namespace, name);
});

const configurationSchema = z.object({
  nodeId: node,
  /** Every listener binds here. */
  listenAddress: text,
  /** The one port for peers and remote clients. */
  edgePort: port,
  /** Serves the host routes. */
  httpPort: port,
  /** PEM: this node's key, its certificate, and the cluster's CA. */
  tls: z.object({ key: z.string(), cert: z.string(), ca: z.string() }),
  /** The daemon's own libp2p listener. */
  libp2p: z.object({ host: text, port }),
  /** The unix socket on which the daemon serves the API to remote clients. */
  apiSocketPath: text,
  /** The unix socket on which the daemon carries connections to nodes that cannot be dialled. */
  detourSocketPath: text.optional(),
});

/** What the proxy must know besides routes. */
export type ProxyConfiguration = z.infer<typeof configurationSchema>;

const endpointSchema = z.object({
  taskId: task,
  target: port,
  via: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("local"), address: text, port }),
    z.object({
      kind: z.literal("node"),
      nodeId: node,
      host: text,
      port,
      isDetour: z.boolean().optional(),
    }),
  ]),
});

const backendSchema = z.object({ service, endpoints: z.array(endpointSchema).readonly() });

const tableSchema = z.object({
  version: z.number().int().positive(),
  stateIndex: z.number().int().nonnegative(),
  publishedPorts: z
    .array(z.object({ port, appProtocol: z.enum(["auto", "http", "tcp"]), backend: backendSchema }))
    .readonly(),
  hostRoutes: z.array(z.object({ host: text, path: text, backend: backendSchema })).readonly(),
  local: z.array(z.object({ taskId: task, target: port, address: text, port })).readonly(),
  silentNodes: z.array(z.object({ nodeId: node, isLost: z.boolean() })).readonly(),
  removedNodes: z.array(node).readonly().optional(),
}) satisfies z.ZodType<RouteTable>;

export const controlRequestSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("hello") }),
  z.object({ kind: z.literal("configure"), configuration: configurationSchema }),
  z.object({ kind: z.literal("table"), table: tableSchema }),
  z.object({ kind: z.literal("inUse"), taskIds: z.array(task).readonly() }),
  z.object({ kind: z.literal("stats") }),
  z.object({ kind: z.literal("stop") }),
]);

export type ControlRequest = z.infer<typeof controlRequestSchema>;

const problemSchema = z.object({ port: z.number(), message: z.string() });

/** A port that could not be bound. It is tried again until it can, or is no longer wanted. */
export type PortProblem = z.infer<typeof problemSchema>;

const helloAnswerSchema = z.object({
  kind: z.literal("hello"),
  protocol: z.number(),
  pid: z.number(),
  /** 0 when it has no table yet. */
  tableVersion: z.number(),
});

const tableAckSchema = z.object({
  kind: z.literal("table"),
  version: z.number(),
  problems: z.array(problemSchema).readonly(),
});

const statsSchema = z.object({
  kind: z.literal("stats"),
  tableVersion: z.number(),
  /** Open connections of clients, tunnels of other nodes included. */
  connections: z.number(),
  requests: z.number(),
  /** Requests that were sent to a second replica, or connected to one. */
  retries: z.number(),
  /** Answers that the proxy made up itself: bad requests, no route, no replica. */
  refusals: z.number(),
  /** Ports that cannot be served at the moment; absent from a proxy that does not tell. */
  problems: z.array(problemSchema).readonly().optional(),
});

export const controlAnswerSchema = z.discriminatedUnion("kind", [
  helloAnswerSchema,
  z.object({ kind: z.literal("configure"), problems: z.array(problemSchema).readonly() }),
  tableAckSchema,
  z.object({ kind: z.literal("inUse"), counts: z.record(z.string(), z.number()) }),
  statsSchema,
  z.object({ kind: z.literal("stop") }),
  z.object({ kind: z.literal("refused"), message: z.string() }),
]);

export type ControlAnswer = z.infer<typeof controlAnswerSchema>;
export type TableAck = Omit<z.infer<typeof tableAckSchema>, "kind">;
export type ProxyStats = Omit<z.infer<typeof statsSchema>, "kind">;

/** The envelope of both directions; the body is checked by its own schema. */
export const controlFrameSchema = z.object({ id: z.number().int(), body: z.unknown() });

const packr = new Packr({ useRecords: false });

export function encodeControlFrame(frame: {
  readonly id: number;
  readonly body: ControlRequest | ControlAnswer;
}): Buffer {
  const payload = packr.pack(frame);
  const bytes = Buffer.allocUnsafe(4 + payload.length);
  bytes.writeUInt32BE(payload.length, 0);
  payload.copy(bytes, 4);
  return bytes;
}

/** Cuts a byte stream into control frames. Throws when what arrives is none. */
export class ControlFrameReader {
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  /** The frames that `chunk` completes. */
  push(chunk: Buffer): readonly z.infer<typeof controlFrameSchema>[] {
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    const frames: z.infer<typeof controlFrameSchema>[] = [];
    for (;;) {
      const frame = this.#take();
      if (frame === undefined) return frames;
      frames.push(controlFrameSchema.parse(packr.unpack(frame)));
    }
  }

  #take(): Buffer | undefined {
    const first = this.#pending[0];
    if (first === undefined || this.#pendingBytes < 4) return undefined;
    const head = first.length >= 4 ? first : this.#join();
    const length = head.readUInt32BE(0);
    if (length > controlFrameMaxBytes) throw new Error(`A control frame of ${length} bytes.`);
    if (this.#pendingBytes < 4 + length) return undefined;
    const all = this.#join();
    const rest = all.subarray(4 + length);
    this.#pending = rest.length > 0 ? [rest] : [];
    this.#pendingBytes = rest.length;
    return all.subarray(4, 4 + length);
  }

  #join(): Buffer {
    const all = this.#pending.length === 1 ? this.#pending[0] : undefined;
    const joined = all ?? Buffer.concat(this.#pending);
    this.#pending = [joined];
    return joined;
  }
}
