import { crc32 } from "node:zlib";
import { assert, assertNever, nodeId } from "../../kernel/index.ts";
import type { Entry, EntryId, HardState } from "../log-storage.ts";
import { wordBytes } from "./mask.ts";

/*
 * Numbers are little-endian.
 *
 *   frame  = magic u32 | body bytes u32 | sequence u48 | 0 u16 | header check u32 | check u32 | body | end
 *   body   = records
 *   record = type u8 | variant u8 | 0 u16 | data bytes u32 | index u48 | term u48 | check u32 | data
 *   end    = 8 to 15 zeros, up to a multiple of 8
 *
 * A frame is what one save writes, in one write, and the next frame is written only when it is
 * durable. So a bad frame with a later one behind it is damage, and one with nothing behind it
 * is a torn write that nobody was told of when it lacks something (torn-write.ts). What is
 * written is masked (mask.ts); here all is as before the mask.
 *
 * The header check is seeded with the segment's nonce: neither a frame of the segment that the
 * file held before it was recycled, nor bytes in a user's data, pass for a later frame. The
 * check covers all else and is seeded with the previous frame's check.
 *
 * Format 1, of earlier versions, is read only: its frames have no end, and no mask.
 */
export type SegmentFormat = 1 | 2;
const magics = {
  1: { number: 0x314c4b53, bytes: Buffer.from("SKL1", "latin1") },
  2: { number: 0x324c4b53, bytes: Buffer.from("SKL2", "latin1") },
} as const;
export const frameHeaderBytes = 24;
export const recordHeaderBytes = 24;
/** Most that fits the format; a batch is far below it. */
const maxBodyBytes = 2 ** 31;

const recordTypes = { entry: 1, hardState: 2, snapshot: 3 } as const;
const entryKinds = ["normal", "configuration", "empty"] as const;
const noData = new Uint8Array();

/** What a frame holds. An entry supersedes those at and after its index. */
export type LogRecord =
  | { readonly kind: "entry"; readonly entry: Entry }
  | { readonly kind: "hard_state"; readonly hardState: HardState }
  /**
   * The newest snapshot that is durable. `replacesLog`: it came from a leader, the entries
   * before this record are void and the log goes on after the snapshot's index.
   */
  | { readonly kind: "snapshot"; readonly id: EntryId; readonly replacesLog: boolean };

/** Where a frame stands: what its checks are seeded with, and its number, one up from the last. */
export type FramePlace = {
  readonly format: SegmentFormat;
  readonly nonce: number;
  readonly previousCheck: number;
  readonly sequence: number;
};

type Flat = {
  readonly type: number;
  readonly variant: number;
  readonly id: EntryId;
  readonly data: Uint8Array;
};

function flatten(record: LogRecord): Flat {
  switch (record.kind) {
    case "entry": {
      const { entry } = record;
      const variant = entryKinds.indexOf(entry.kind);
      return { type: recordTypes.entry, variant, id: entry, data: entry.data };
    }
    case "hard_state": {
      const { term, vote, commitIndex } = record.hardState;
      const id = { index: commitIndex, term };
      const data = vote === undefined ? noData : Buffer.from(vote, "utf8");
      return { type: recordTypes.hardState, variant: vote === undefined ? 0 : 1, id, data };
    }
    case "snapshot": {
      const { id, replacesLog } = record;
      return { type: recordTypes.snapshot, variant: replacesLog ? 1 : 0, id, data: noData };
    }
    default:
      return assertNever(record);
  }
}

function frameBytesOf(bodyBytes: number, format: SegmentFormat): number {
  const bytes = frameHeaderBytes + bodyBytes;
  return format === 1 ? bytes : Math.ceil((bytes + wordBytes) / wordBytes) * wordBytes;
}

/** Makes one frame of `records`, with the check that the next frame is seeded with. */
export function encodeFrame(
  records: readonly LogRecord[],
  { format, nonce, previousCheck, sequence }: FramePlace,
): { readonly data: Buffer; readonly check: number; readonly recordBytes: readonly number[] } {
  const flat = records.map(flatten);
  const recordBytes = flat.map(({ data }) => recordHeaderBytes + data.byteLength);
  const bodyBytes = recordBytes.reduce((sum, bytes) => sum + bytes, 0);
  assert(bodyBytes < maxBodyBytes, "a batch fits a frame");
  const frame = Buffer.allocUnsafe(frameBytesOf(bodyBytes, format));
  let offset = frameHeaderBytes;
  for (const each of flat) offset = writeRecord(frame, offset, each);
  frame.fill(0, offset);
  frame.writeUInt32LE(magics[format].number, 0);
  frame.writeUInt32LE(bodyBytes, 4);
  frame.writeUIntLE(sequence, 8, 6);
  frame.writeUInt16LE(0, 14);
  frame.writeUInt32LE(headerCheck(frame, nonce), 16);
  const check = frameCheck(frame, previousCheck);
  frame.writeUInt32LE(check, 20);
  return { data: frame, check, recordBytes };
}

/** What must stand at byte 16 of a frame. */
function headerCheck(frame: Buffer, nonce: number): number {
  return crc32(frame.subarray(0, 16), nonce);
}

/** What must stand at byte 20 of a frame. */
function frameCheck(frame: Buffer, previousCheck: number): number {
  const before = crc32(frame.subarray(0, 20), previousCheck);
  return crc32(frame.subarray(frameHeaderBytes), before);
}

function writeRecord(frame: Buffer, offset: number, { type, variant, id, data }: Flat): number {
  frame.writeUInt8(type, offset);
  frame.writeUInt8(variant, offset + 1);
  frame.writeUInt16LE(0, offset + 2);
  frame.writeUInt32LE(data.byteLength, offset + 4);
  frame.writeUIntLE(id.index, offset + 8, 6);
  frame.writeUIntLE(id.term, offset + 14, 6);
  frame.set(data, offset + recordHeaderBytes);
  const end = offset + recordHeaderBytes + data.byteLength;
  frame.writeUInt32LE(recordCheck(frame.subarray(offset, end)), offset + 20);
  return end;
}

function recordCheck(record: Buffer): number {
  return crc32(record.subarray(recordHeaderBytes), crc32(record.subarray(0, 20)));
}

type Header = { readonly sequence: number; readonly bytes: number; readonly bodyBytes: number };

/** The header at `offset` with its own check, whatever follows it. */
export function readHeader(
  segment: Buffer,
  offset: number,
  { nonce, format }: Pick<FramePlace, "nonce" | "format">,
): Header | undefined {
  if (offset + frameHeaderBytes > segment.byteLength) return undefined;
  if (segment.readUInt32LE(offset) !== magics[format].number) return undefined;
  const check = headerCheck(segment.subarray(offset, offset + frameHeaderBytes), nonce);
  if (segment.readUInt32LE(offset + 16) !== check) return undefined;
  const bodyBytes = segment.readUInt32LE(offset + 4);
  const bytes = frameBytesOf(bodyBytes, format);
  return { sequence: segment.readUIntLE(offset + 8, 6), bytes, bodyBytes };
}

/** The whole and undamaged frame at `offset`; undefined where there is none. */
export function readFrame(
  segment: Buffer,
  offset: number,
  place: Omit<FramePlace, "sequence">,
): (Header & { readonly check: number }) | undefined {
  const header = readHeader(segment, offset, place);
  if (header === undefined || offset + header.bytes > segment.byteLength) return undefined;
  const check = frameCheck(segment.subarray(offset, offset + header.bytes), place.previousCheck);
  return segment.readUInt32LE(offset + 20) === check ? { ...header, check } : undefined;
}

/** Offset of a frame behind `offset` with a number above `sequence`: the proof of damage. */
export function findLaterFrame(
  segment: Buffer,
  offset: number,
  { sequence, ...place }: Omit<FramePlace, "previousCheck">,
): number | undefined {
  const magic = magics[place.format].bytes;
  let found = segment.indexOf(magic, offset);
  while (found !== -1) {
    const header = readHeader(segment, found, place);
    if (header !== undefined && header.sequence > sequence) return found;
    found = segment.indexOf(magic, found + 1);
  }
  return undefined;
}

/** Reads the record at `offset`, with its own check; undefined when it is damaged. */
export function readRecord(
  data: Buffer,
  offset: number,
): { readonly record: LogRecord; readonly bytes: number } | undefined {
  if (offset + recordHeaderBytes > data.byteLength) return undefined;
  const bytes = recordHeaderBytes + data.readUInt32LE(offset + 4);
  if (offset + bytes > data.byteLength) return undefined;
  const whole = data.subarray(offset, offset + bytes);
  if (recordCheck(whole) !== whole.readUInt32LE(20)) return undefined;
  const record = parseRecord({
    type: whole.readUInt8(0),
    variant: whole.readUInt8(1),
    id: { index: whole.readUIntLE(8, 6), term: whole.readUIntLE(14, 6) },
    data: whole.subarray(recordHeaderBytes),
  });
  return record === undefined ? undefined : { record, bytes };
}

function parseRecord({ type, variant, id, data }: Flat): LogRecord | undefined {
  switch (type) {
    case recordTypes.entry: {
      const kind = entryKinds[variant];
      return kind === undefined ? undefined : { kind: "entry", entry: { ...id, kind, data } };
    }
    case recordTypes.hardState: {
      const vote = variant === 0 ? undefined : nodeId(Buffer.from(data).toString("utf8"));
      return { kind: "hard_state", hardState: { term: id.term, vote, commitIndex: id.index } };
    }
    case recordTypes.snapshot:
      return { kind: "snapshot", id, replacesLog: variant === 1 };
    default:
      return undefined;
  }
}
