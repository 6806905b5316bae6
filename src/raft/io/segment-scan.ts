import { assert } from "../../kernel/index.ts";
import { type Disk, readFully, writeFully } from "./disk.ts";
import { applyMask } from "./mask.ts";
import type { Segment } from "./segment-files.ts";
import {
  findLaterFrame,
  frameHeaderBytes,
  type LogRecord,
  readFrame,
  readHeader,
  readRecord,
} from "./segment-frame.ts";
import { corruptLog } from "./storage-error.ts";
import { mayBeTorn } from "./torn-write.ts";

/** Where a record stands on disk. */
export type RecordPosition = {
  readonly segment: Segment;
  readonly offset: number;
  readonly bytes: number;
};

/** Told of every record found, in the order of writing. */
export type OnRecord = (record: LogRecord, position: RecordPosition) => void;

const zeros = Buffer.alloc(2 ** 16);

/** Where reading a log has come to: what the next frame must follow on. */
export type Cursor = {
  readonly segment: Segment;
  readonly offset: number;
  readonly check: number;
  /** Undefined before the first frame of all, which may have any number. */
  readonly sequence: number | undefined;
};

/** Before the first frame of a segment. */
export function startOf(segment: Segment, sequence: number | undefined): Cursor {
  return { segment, offset: 0, check: segment.nonce, sequence };
}

/** Where the frame after the cursor stands. */
export function placeAfter({ segment, check, sequence }: Cursor) {
  const { format, nonce } = segment;
  return { format, nonce, previousCheck: check, sequence: (sequence ?? 0) + 1 };
}

/**
 * Reads the frames of a segment, up to where it ends or the last write was torn. Of the last
 * segment, what was torn is voided.
 * @throws StorageError `corrupt_log`.
 */
export async function scanSegment(
  segment: Segment,
  sequence: number | undefined,
  {
    disk,
    isLast,
    onRecord,
  }: { readonly disk: Disk; readonly isLast: boolean; readonly onRecord: OnRecord },
): Promise<Cursor> {
  const { path, bytes, descriptor, format } = segment;
  const raw = await readFully(disk, descriptor, { offset: 0, bytes });
  if (raw.byteLength !== bytes) throw corruptLog({ path, offset: raw.byteLength }, "it ends early");
  const data = format === 2 ? unmasked(raw, segment) : raw;
  let cursor = startOf(segment, sequence);
  let last: Cursor | undefined;
  for (;;) {
    const { offset } = cursor;
    const frame = readFrame(data, offset, placeAfter(cursor));
    if (frame === undefined) break;
    if (cursor.sequence !== undefined && frame.sequence !== cursor.sequence + 1) {
      const problem = `write ${frame.sequence} follows write ${cursor.sequence}`;
      throw corruptLog({ path, offset }, problem);
    }
    const bodyOffset = offset + frameHeaderBytes;
    replayBody(data, { segment, offset: bodyOffset, bytes: frame.bodyBytes }, onRecord);
    last = cursor;
    cursor = {
      segment,
      offset: offset + frame.bytes,
      check: frame.check,
      sequence: frame.sequence,
    };
  }
  assertTorn({ raw, data }, cursor);
  if (isLast) await settleEnd(disk, raw, { last, end: cursor });
  return cursor;
}

function unmasked(raw: Buffer, { mask }: Segment): Buffer {
  const data = Buffer.from(raw);
  applyMask(data, mask, 0);
  return data;
}

/** @throws StorageError `corrupt_log`, where the log ends with damage and not with a torn write. */
function assertTorn(
  { raw, data }: { readonly raw: Buffer; readonly data: Buffer },
  end: Cursor,
): void {
  const { segment, offset } = end;
  const { path, format } = segment;
  const place = placeAfter(end);
  const later = findLaterFrame(data, offset, place);
  if (later !== undefined) {
    throw corruptLog({ path, offset }, `a write is damaged, and a later one is at offset ${later}`);
  }
  // What stands behind a torn write of an earlier version may be anything.
  if (format === 1 || mayBeTorn(raw, offset, readHeader(data, offset, place)?.bytes)) return;
  throw corruptLog({ path, offset }, "the last write lacks nothing, but is damaged");
}

/**
 * The last frame may be in the page cache only: the process that wrote it died before it knew.
 * It counts from now on, so it is written again, durably. What is torn behind it is voided, to
 * the last byte: where the next frame goes there must be zeros, that it can be told whether it
 * is whole. They too may be in the page cache only, if a process died that wrote them.
 */
async function settleEnd(
  disk: Disk,
  raw: Buffer,
  { last, end }: { readonly last: Cursor | undefined; readonly end: Cursor },
): Promise<void> {
  const { descriptor, format } = end.segment;
  if (last !== undefined) {
    const frame = raw.subarray(last.offset, end.offset);
    await writeFully(disk, descriptor, { data: frame, offset: last.offset });
  }
  // It is not written to any more.
  if (format === 1) return;
  for (let offset = end.offset; offset < raw.byteLength; offset += zeros.byteLength) {
    const part = raw.subarray(offset, offset + zeros.byteLength);
    const blank = zeros.subarray(0, part.byteLength);
    if (part.compare(blank) !== 0) await writeFully(disk, descriptor, { data: blank, offset });
  }
  await disk.sync(descriptor);
}

function replayBody(
  data: Buffer,
  { segment, offset, bytes }: RecordPosition,
  onRecord: OnRecord,
): void {
  const end = offset + bytes;
  let position = offset;
  while (position < end) {
    const read = readRecord(data.subarray(0, end), position);
    if (read === undefined) {
      throw corruptLog({ path: segment.path, offset: position }, "a record is unreadable");
    }
    onRecord(read.record, { segment, offset: position, bytes: read.bytes });
    position += read.bytes;
  }
  assert(position === end, "the records of a frame fill it");
}
