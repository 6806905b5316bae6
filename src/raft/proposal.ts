import { z } from "zod";
import { PeerCodec } from "../network/index.ts";
import { maxLogNumber } from "./log-storage.ts";
import { RaftError } from "./raft-error.ts";

/** Of one proposal: it is forwarded in a request, which takes at most 1 MiB. */
export const maxProposalBytes = 2 ** 20 - 16 * 2 ** 10;
/** Of the proposals in one forwarded request. */
export const maxForwardBytes = 2 ** 20 - 8 * 2 ** 10;
const maxIdBytes = 64;
const maxForwarded = 4_096;

/** One proposal as entries carry it: a unique id, so that a retry is applied once, and data. */
export type Proposal = { readonly id: string; readonly data: Uint8Array };

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { fatal: true });

/** One byte of length, the id, the data. @throws RaftError `too_large` for an id out of bounds. */
export function encodeProposal({ id, data }: Proposal): Uint8Array {
  const idBytes = textEncoder.encode(id);
  if (idBytes.length === 0 || idBytes.length > maxIdBytes) {
    // Whoever reads it would take it for no proposal, and its author would wait in vain.
    const text = `A proposal's id has 1 to ${maxIdBytes} bytes, this one ${idBytes.length}. Take a shorter one.`;
    throw new RaftError("too_large", text);
  }
  const encoded = new Uint8Array(1 + idBytes.length + data.length);
  encoded[0] = idBytes.length;
  encoded.set(idBytes, 1);
  encoded.set(data, 1 + idBytes.length);
  return encoded;
}

/** Undefined when the bytes are no proposal. */
export function decodeProposal(encoded: Uint8Array): Proposal | undefined {
  const idLength = encoded[0] ?? 0;
  if (idLength === 0 || idLength > maxIdBytes || encoded.length < 1 + idLength) return undefined;
  try {
    const id = textDecoder.decode(encoded.subarray(1, 1 + idLength));
    return { id, data: encoded.subarray(1 + idLength) };
  } catch {
    return undefined;
  }
}

const packr = new PeerCodec({ maxValues: 2 ** 13 });
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const natural = z.int().nonnegative();
/** An index or a term: no more than the log can write. */
const position = z.int().nonnegative().max(maxLogNumber);

const requestSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("propose"), proposals: z.array(bytes).max(maxForwarded) }),
  z.strictObject({ kind: z.literal("position") }),
  z.strictObject({
    kind: z.literal("snapshot_chunk"),
    index: position,
    term: position,
    offset: natural,
  }),
]);
const answerSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("accepted") }),
  z.strictObject({ kind: z.literal("position"), index: position, term: position }),
  z.strictObject({ kind: z.literal("chunk"), data: bytes }),
  z.strictObject({ kind: z.literal("refused") }),
]);

/** What a follower asks of the leader. */
export type LeaderRequest = z.infer<typeof requestSchema>;
/**
 * `accepted`: in the leader's log, not committed yet. `chunk`: of the snapshot asked for.
 * `refused`: not the leader, or busy, or without that snapshot.
 */
export type LeaderAnswer = z.infer<typeof answerSchema>;

export function encodeExchange(value: LeaderRequest | LeaderAnswer): Uint8Array {
  return new Uint8Array(packr.pack(value));
}

/** @throws RaftError `malformed_message`. */
export function decodeLeaderRequest(body: Uint8Array): LeaderRequest {
  const request = parse(requestSchema, body);
  const isReadable =
    request.kind !== "propose" || request.proposals.every((p) => decodeProposal(p) !== undefined);
  if (!isReadable) throw new RaftError("malformed_message", "A peer forwarded a broken proposal.");
  return request;
}

/** @throws RaftError `malformed_message`. */
export function decodeLeaderAnswer(body: Uint8Array): LeaderAnswer {
  return parse(answerSchema, body);
}

function parse<Value>(schema: z.ZodType<Value>, body: Uint8Array): Value {
  try {
    return schema.parse(packr.unpack(body));
  } catch (cause) {
    throw new RaftError("malformed_message", "A peer's request or answer is unreadable.", {
      cause,
    });
  }
}
