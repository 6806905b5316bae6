import { z } from "zod";
import { nodeId } from "../kernel/index.ts";
import { PeerCodec } from "../network/index.ts";
import type { Claim } from "./member-table.ts";
import type { RecordId, StateRecord } from "./record-table.ts";

const packr = new PeerCodec({ maxValues: 2 ** 18 });

/** A node that runs more than a thousand tasks says so in less; one exchange holds one of these. */
export const maxRecordBytes = 512 * 1024;
const maxSignatureBytes = 64;
const maxMembers = 10_000;

const node = z.string().min(1).max(128).transform(nodeId);
const counter = z.number().int().nonnegative();

const claim = z.object({
  nodeId: node,
  status: z.enum(["alive", "suspect", "failed", "left"]),
  incarnation: counter,
  isGone: z.boolean().optional(),
});
const recordId = z.object({ owner: node, epoch: counter, version: counter });
const anyRecord = recordId.extend({
  body: z.instanceof(Uint8Array),
  signature: z.instanceof(Uint8Array),
});
const isSmallEnough = ({ body, signature }: Pick<StateRecord, "body" | "signature">) =>
  body.length <= maxRecordBytes && signature.length <= maxSignatureBytes;
const record = anyRecord.refine(isSmallEnough);

/** Fields of a newer version are dropped, not refused. */
const messageSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("claims"), claims: z.array(claim).max(maxMembers) }),
  z.object({ kind: z.literal("record"), record }),
  /** A record too large to publish: fetch it from its owner. */
  z.object({ kind: z.literal("announce"), id: recordId }),
]);

const pingSchema = z.object({ incarnation: counter, about: claim.optional() });
const indirectSchema = z.object({ target: node });
const syncSchema = z.object({
  claims: z.array(claim).max(maxMembers),
  digest: z.array(recordId).max(maxMembers),
  // One that is too large is left out: the rest of the exchange is still worth having.
  records: z
    .array(anyRecord)
    .max(maxMembers)
    .transform((records) => records.filter(isSmallEnough)),
});

export type GossipMessage =
  | { readonly kind: "claims"; readonly claims: readonly Claim[] }
  | { readonly kind: "record"; readonly record: StateRecord }
  | { readonly kind: "announce"; readonly id: RecordId };

/** `about` is what the sender believes of the receiver, so that it can refute. */
export type Ping = { readonly incarnation: number; readonly about?: Claim };
export type Sync = {
  readonly claims: readonly Claim[];
  readonly digest: readonly RecordId[];
  readonly records: readonly StateRecord[];
};

export function encode(
  value: GossipMessage | Ping | Sync | { readonly target: string },
): Uint8Array {
  return packr.pack(value);
}

/** Undefined for whatever is no message. */
export function decodeMessage(bytes: Uint8Array): GossipMessage | undefined {
  try {
    return messageSchema.parse(packr.unpack(bytes));
  } catch {
    return undefined;
  }
}

/** These answer requests, whose failures the asker sees: they throw. */
export function decodePing(bytes: Uint8Array): Ping {
  const { incarnation, about } = pingSchema.parse(packr.unpack(bytes));
  return about === undefined ? { incarnation } : { incarnation, about };
}

export function decodeIndirect(bytes: Uint8Array): z.infer<typeof indirectSchema> {
  return indirectSchema.parse(packr.unpack(bytes));
}

export function decodeSync(bytes: Uint8Array): Sync {
  return syncSchema.parse(packr.unpack(bytes));
}
