import { Packr } from "msgpackr";
import { z } from "zod";
import { decodeConfiguration, parseConfiguration } from "./configuration.ts";
import { type Entry, maxLogNumber } from "./log-storage.ts";
import type { PeerMessage } from "./message.ts";
import { RaftError } from "./raft-error.ts";

/** A frame of the peer network takes no more. */
export const maxFrameBytes = 4 * 2 ** 20;
const maxEntriesPerMessage = 65_536;
const maxMessagesPerFrame = 4_096;
const maxRoundName = 64;

const packr = new Packr({ useRecords: false });

const natural = z.int().nonnegative();
/** An index or a term: no more than the log can write. */
const position = z.int().nonnegative().max(maxLogNumber);
const entryId = z.strictObject({ index: position, term: position });
const roundName = z.string().max(maxRoundName);
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const configuration = z.unknown().transform((parts) => parseConfiguration(parts));

const entry = z
  .tuple([z.enum(["normal", "configuration", "empty"]), position, position, bytes])
  .transform(([kind, index, term, data]): Entry => ({ kind, index, term, data }));

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
    entries: z.array(entry).max(maxEntriesPerMessage),
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
const frameSchema = z.array(messageSchema).max(maxMessagesPerFrame);

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
  const parsed = frameSchema.safeParse(unpacked);
  if (!parsed.success) {
    // The first problem only: a frame has room for tens of thousands, and they get logged.
    const [problem] = parsed.error.issues;
    const where = `${problem?.path.join(".")}: ${problem?.message}`;
    throw new RaftError("malformed_message", `A peer sent a wrong message at ${where}`);
  }
  for (const message of parsed.data) checkEntries(message);
  return parsed.data;
}

/** The core relies on entries that follow each other and on configurations that can be read. */
function checkEntries(message: PeerMessage): void {
  if (message.kind !== "append_request") return;
  let { index, term } = message.previous;
  for (const entry of message.entries) {
    if (entry.index !== index + 1 || entry.term < term || entry.term > message.term) {
      throw new RaftError("malformed_message", `Entry ${entry.index} does not follow ${index}.`);
    }
    if (entry.kind === "configuration") decodeConfiguration(entry.data);
    ({ index, term } = entry);
  }
}

function toWire(message: PeerMessage): unknown {
  if (message.kind === "append_request") {
    const entries = message.entries.map(({ kind, index, term, data }) => [kind, index, term, data]);
    return { ...message, entries };
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
