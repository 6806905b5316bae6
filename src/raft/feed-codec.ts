import { z } from "zod";
import { type NodeId, nodeId } from "../kernel/index.ts";
import { PeerCodec } from "../network/index.ts";
import { parseConfiguration } from "./configuration.ts";
import { assertEntriesFollow, entryToWire, parseEntries } from "./entry-codec.ts";
import { type Entry, type EntryId, maxLogNumber, type SnapshotMeta } from "./log-storage.ts";
import { RaftError } from "./raft-error.ts";

/** Entries of 1 MiB, or one larger entry, and what goes with them. */
export const maxFeedFrameBytes = 2 * 2 ** 20;
/** What a subscriber says fits in far less. */
const maxFollowFrameBytes = 256;
/** Other feeders that a full one names. */
export const maxRedirects = 16;
const maxNodeIdLength = 128;

/** What a feeder knows of the term and its leader, in every frame that keeps a stream going. */
export type FeedSign = {
  readonly term: number;
  readonly leader: { readonly node: NodeId; readonly ageMs: number } | undefined;
  /** How often the feeder speaks at least. */
  readonly heartbeatMs: number;
};

/**
 * What a feeder says.
 *
 * - `entries`: committed ones behind `previous`, without a gap; a heartbeat when there are none.
 * - `snapshot`: the entries are compacted; fetch this one, then subscribe again. The last frame.
 * - `redirect`: no more children here; try one of these. The last frame.
 * - `behind`: this node cannot serve the subscriber, who is ahead, or it is cut off itself. The last frame.
 * - `diverged`: this node committed another entry at the subscriber's position. The last frame.
 */
export type FeedFrame =
  | (FeedSign & {
      readonly kind: "entries";
      readonly previous: EntryId;
      readonly entries: readonly Entry[];
      readonly commitIndex: number;
    })
  | {
      readonly kind: "snapshot";
      readonly term: number;
      readonly meta: SnapshotMeta;
      readonly bytes: number;
    }
  | { readonly kind: "redirect"; readonly nodes: readonly NodeId[] }
  | { readonly kind: "behind" }
  | { readonly kind: "diverged" };

/** 2 MiB of entries without data, each as five values, are fewer. */
const packr = new PeerCodec({ maxValues: 2 ** 19 });
const natural = z.int().nonnegative();
/** An index or a term: no more than the log can write. */
const position = z.int().nonnegative().max(maxLogNumber);
const entryId = z.strictObject({ index: position, term: position });
const node = z.string().min(1).max(maxNodeIdLength).transform(nodeId);
const configuration = z.unknown().transform((parts) => parseConfiguration(parts));
const entries = z.unknown().transform((list) => parseEntries(list));

const followSchema = z.strictObject({ kind: z.literal("follow"), index: position, term: position });

const frameSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("entries"),
    term: position,
    // Not "absent or there": a hint is either whole or null.
    leader: z
      .tuple([node, natural])
      .transform(([name, ageMs]) => ({ node: name, ageMs }))
      .nullable()
      .transform((leader) => leader ?? undefined),
    heartbeatMs: z.int().min(1).max(60_000),
    previous: entryId,
    entries,
    commitIndex: position,
  }),
  z.strictObject({
    kind: z.literal("snapshot"),
    term: position,
    meta: z.strictObject({ index: position, term: position, configuration }),
    bytes: natural,
  }),
  z.strictObject({ kind: z.literal("redirect"), nodes: z.array(node).max(maxRedirects) }),
  z.strictObject({ kind: z.literal("behind") }),
  z.strictObject({ kind: z.literal("diverged") }),
]);

/** A subscription: the last entry that is committed at the subscriber. */
export function encodeFollow({ index, term }: EntryId): Uint8Array {
  return new Uint8Array(packr.pack({ kind: "follow", index, term }));
}

/** @throws RaftError `malformed_message`, `too_large`. */
export function decodeFollow(frame: Uint8Array): EntryId {
  const { index, term } = parse(followSchema, frame, maxFollowFrameBytes);
  return { index, term };
}

export function encodeFeed(frame: FeedFrame): Uint8Array {
  return new Uint8Array(packr.pack(toWire(frame)));
}

/** @throws RaftError `malformed_message`, `too_large`. */
export function decodeFeed(bytes: Uint8Array): FeedFrame {
  const frame = parse(frameSchema, bytes, maxFeedFrameBytes);
  if (frame.kind === "entries") checkEntries(frame);
  if (frame.kind === "snapshot" && frame.meta.term > frame.term) {
    throw new RaftError("malformed_message", "A feeder offered a snapshot of a later term.");
  }
  return frame;
}

/** A feed carries committed entries alone. */
function checkEntries({
  previous,
  entries,
  term,
  commitIndex,
}: Extract<FeedFrame, { readonly kind: "entries" }>): void {
  assertEntriesFollow(previous, entries, { maxTerm: term });
  const { index } = entries.at(-1) ?? previous;
  if (index > commitIndex) {
    throw new RaftError("malformed_message", `A feeder sent entry ${index}, not committed yet.`);
  }
}

function parse<Value>(schema: z.ZodType<Value>, frame: Uint8Array, maxBytes: number): Value {
  if (frame.byteLength > maxBytes) {
    throw new RaftError("too_large", `A frame of a feed has at most ${maxBytes} bytes.`);
  }
  try {
    return schema.parse(packr.unpack(frame));
  } catch (cause) {
    throw new RaftError("malformed_message", "A frame of a feed is unreadable.", { cause });
  }
}

function toWire(frame: FeedFrame): unknown {
  if (frame.kind === "entries") {
    const { leader } = frame;
    return {
      ...frame,
      leader: leader === undefined ? null : [leader.node, leader.ageMs],
      entries: frame.entries.map(entryToWire),
    };
  }
  if (frame.kind === "snapshot") {
    const { voters, votersOutgoing, learners, learnersNext } = frame.meta.configuration;
    const parts = [voters, votersOutgoing, learners, learnersNext];
    return { ...frame, meta: { ...frame.meta, configuration: parts } };
  }
  return frame;
}
