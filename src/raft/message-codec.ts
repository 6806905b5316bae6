import { z } from "zod";
import { PeerCodec } from "../network/index.ts";
import { parseConfiguration } from "./configuration.ts";
import { assertEntriesFollow, entryToWire, parseEntries } from "./entry-codec.ts";
import { maxLogNumber } from "./log-storage.ts";
import type { PeerMessage } from "./message.ts";
import { RaftError } from "./raft-error.ts";

/** A frame of the peer network takes no more. */
export const maxFrameBytes = 4 * 2 ** 20;
const maxMessagesPerFrame = 4_096;
const maxRoundName = 64;
/** Of what is wrong, as it is logged: a peer may have sent names of any length. */
const maxProblemText = 160;

/** 4 MiB of entries without data, each as five values, are fewer. */
const packr = new PeerCodec({ maxValues: 2 ** 20 });

const natural = z.int().nonnegative();
/** An index or a term: no more than the log can write. */
const position = z.int().nonnegative().max(maxLogNumber);
const entryId = z.strictObject({ index: position, term: position });
const roundName = z.string().max(maxRoundName);
const configuration = z.unknown().transform((parts) => parseConfiguration(parts));

const entries = z.unknown().transform((list) => parseEntries(list));

const messageSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("pre_vote_request"), term: position, lastEntry: entryId }),
  z.strictObject({ kind: z.literal("pre_vote_response"), term: position, isGranted: z.boolean() }),
  z.strictObject({
    kind: z.literal("vote_request"),
    term: position,
    lastEntry: entryId,
    isTransfer: z.boolean(),
  }),
  z.strictObject({ kind: z.literal("vote_response"), term: position, isGranted: z.boolean() }),
  z.strictObject({
    kind: z.literal("append_request"),
    term: position,
    previous: entryId,
    entries,
    commitIndex: position,
  }),
  z.strictObject({ kind: z.literal("append_accepted"), term: position, matchIndex: position }),
  z.strictObject({
    kind: z.literal("append_rejected"),
    term: position,
    rejectedIndex: position,
    hint: entryId,
  }),
  z.strictObject({
    kind: z.literal("heartbeat"),
    term: position,
    commitIndex: position,
    readContext: natural,
  }),
  z.strictObject({ kind: z.literal("heartbeat_response"), term: position, readContext: natural }),
  z.strictObject({
    kind: z.literal("snapshot_offer"),
    term: position,
    meta: z.strictObject({ index: position, term: position, configuration }),
    bytes: natural,
  }),
  z.strictObject({ kind: z.literal("timeout_now"), term: position }),
  z.strictObject({ kind: z.literal("read_request"), round: roundName }),
  z.strictObject({
    kind: z.literal("read_answer"),
    round: roundName,
    index: position.nullable(),
  }),
]);

/** An encoded message; several of them make a frame. */
export function encodeMessage(message: PeerMessage): Uint8Array {
  return new Uint8Array(packr.pack(toWire(message)));
}

/** A frame of messages that {@link encodeMessage} made. The caller keeps the frame's limit. */
export function encodeFrame(messages: readonly Uint8Array[]): Uint8Array {
  const header = arrayHeader(messages.length);
  const size = messages.reduce((sum, { byteLength }) => sum + byteLength, header.length);
  const frame = new Uint8Array(size);
  frame.set(header);
  let offset = header.length;
  for (const message of messages) {
    frame.set(message, offset);
    offset += message.byteLength;
  }
  return frame;
}

/** Reads what a peer sent. @throws RaftError `malformed_message`, `too_large`. */
export function decodeFrame(frame: Uint8Array): readonly PeerMessage[] {
  if (frame.byteLength > maxFrameBytes) {
    throw new RaftError("too_large", `A frame has at most ${maxFrameBytes} bytes.`);
  }
  let unpacked: unknown;
  try {
    unpacked = packr.unpack(frame);
  } catch (cause) {
    throw new RaftError("malformed_message", "A peer sent a frame that is no msgpack.", { cause });
  }
  if (!Array.isArray(unpacked) || unpacked.length > maxMessagesPerFrame) {
    const text = `A peer sent no list of up to ${maxMessagesPerFrame} messages.`;
    throw new RaftError("malformed_message", text);
  }
  return unpacked.map(readMessage);
}

/** Ends at the first wrong message: it is not for the reader to list them all. */
function readMessage(value: unknown, position: number): PeerMessage {
  const parsed = messageSchema.safeParse(value);
  if (!parsed.success) {
    const [problem] = parsed.error.issues;
    const where = `${[position, ...(problem?.path ?? [])].join(".")}: ${problem?.message}`;
    const text = `A peer sent a wrong message at ${where.slice(0, maxProblemText)}`;
    throw new RaftError("malformed_message", text);
  }
  const message = parsed.data;
  if (message.kind === "append_request") {
    assertEntriesFollow(message.previous, message.entries, { maxTerm: message.term });
  }
  return message;
}

function toWire(message: PeerMessage): unknown {
  if (message.kind === "append_request") {
    return { ...message, entries: message.entries.map(entryToWire) };
  }
  if (message.kind === "snapshot_offer") {
    const { voters, votersOutgoing, learners, learnersNext } = message.meta.configuration;
    const configuration = [voters, votersOutgoing, learners, learnersNext];
    return { ...message, meta: { ...message.meta, configuration } };
  }
  return message;
}

/** The msgpack header of an array of up to 65,535 elements. */
function arrayHeader(length: number): Uint8Array {
  return Uint8Array.of(0xdc, length >> 8, length & 0xff);
}
