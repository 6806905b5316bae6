import { type Disk, writeFully } from "./disk.ts";
import { applyMask } from "./mask.ts";
import { type Segment, SegmentFiles, type SegmentPlace } from "./segment-files.ts";
import { encodeFrame, frameHeaderBytes, type LogRecord, readRecord } from "./segment-frame.ts";
import {
  type Cursor,
  type OnRecord,
  placeAfter,
  type RecordPosition,
  scanSegment,
  startOf,
} from "./segment-scan.ts";
import { corruptLog } from "./storage-error.ts";

export type SegmentLogOptions = SegmentPlace & {
  readonly onRecord: OnRecord;
  /** What every segment begins with, so that the ones before it are not needed for it. */
  readonly head: () => readonly LogRecord[];
};

/**
 * Records in files, appended and never changed. One append at a time, by the caller's care.
 * Knows frames and files; what the records mean is its user's matter.
 */
export class SegmentLog {
  readonly #disk: Disk;
  readonly #files: SegmentFiles;
  readonly #head: () => readonly LogRecord[];
  /** In order; the last one is written to. */
  readonly #segments: Segment[];
  #cursor: Cursor;
  /** The one before an empty last one, not marked as full yet. */
  #unmarked: Segment | undefined;

  private constructor(
    files: SegmentFiles,
    segments: Segment[],
    { cursor, disk, head }: { readonly cursor: Cursor } & Pick<SegmentLogOptions, "disk" | "head">,
  ) {
    this.#disk = disk;
    this.#files = files;
    this.#segments = segments;
    this.#cursor = cursor;
    this.#head = head;
  }

  /**
   * Reads everything that is there. The torn end of a write that was never acknowledged is cut.
   * @throws StorageError `corrupt_log`, where acknowledged records are damaged or missing.
   */
  static async open(options: SegmentLogOptions): Promise<SegmentLog> {
    const { disk, segmentBytes, onRecord, head } = options;
    const { files, segments: found } = await SegmentFiles.open(options);
    const segments = [...found];
    try {
      let sequence: number | undefined;
      let cursor: Cursor | undefined;
      for (const [position, segment] of segments.entries()) {
        const previous = segments[position - 1];
        assertFollows(previous, segment);
        assertWhole(segment, segmentBytes);
        cursor = await scanSegment(segment, sequence, {
          disk,
          isLast: position === segments.length - 1,
          onRecord,
        });
        const isWritten = cursor.sequence !== sequence;
        if (previous?.isFull === true && !isWritten) {
          const problem = "it holds nothing, and something was written to it";
          throw corruptLog({ path: segment.path, offset: 0 }, problem);
        }
        if (previous?.isFull === false && isWritten) await files.markFull(previous);
        sequence = cursor.sequence;
      }
      const last = segments.at(-1);
      if (last?.isFull === true) {
        throw corruptLog({ path: last.path, offset: last.bytes }, "the file after it is missing");
      }
      if (cursor === undefined) {
        const segment = await files.take({ number: 1, bytes: segmentBytes });
        segments.push(segment);
        cursor = startOf(segment, undefined);
      }
      // The first segment is dropped only when a later one holds a frame.
      const isCutOff = cursor.sequence === undefined && cursor.segment.number > 1;
      if (isCutOff) throw corruptLog({ path: cursor.segment.path, offset: 0 }, "it holds nothing");
      files.prepare();
      const log = new SegmentLog(files, segments, { cursor, disk, head });
      if (cursor.offset === 0) log.#unmarked = segments.at(-2);
      return log;
    } catch (error) {
      for (const { descriptor } of segments) disk.close(descriptor);
      throw error;
    }
  }

  /** The end of what is written. */
  get end(): { readonly path: string; readonly offset: number } {
    return { path: this.#cursor.segment.path, offset: this.#cursor.offset };
  }

  /** Writes the records at once; resolves with their places when they are durable. */
  async append(records: readonly LogRecord[]): Promise<readonly RecordPosition[]> {
    let { all, frame } = this.#encode(records);
    const { segment, offset, sequence } = this.#cursor;
    let full = this.#unmarked;
    // A segment of an earlier version is not written to.
    if (segment.format === 1 || offset + frame.data.byteLength > segment.bytes) {
      const withHead = encodeFrame([...this.#head(), ...records], placeAfter(this.#cursor));
      const bytes = withHead.data.byteLength;
      const next = await this.#files.take({ number: segment.number + 1, bytes });
      this.#segments.push(next);
      this.#cursor = startOf(next, sequence);
      full = segment;
      ({ all, frame } = this.#encode(records));
    }
    const start = this.#cursor;
    const { data, check, recordBytes } = frame;
    applyMask(data, start.segment.mask, start.offset);
    await writeFully(this.#disk, start.segment.descriptor, { data, offset: start.offset });
    this.#cursor = {
      segment: start.segment,
      offset: start.offset + data.byteLength,
      check,
      sequence: placeAfter(start).sequence,
    };
    // The caller hears of this write only when its loss would be noticed.
    if (full !== undefined) await this.#files.markFull(full);
    this.#unmarked = undefined;
    let position = start.offset + frameHeaderBytes;
    const positions = recordBytes.map((bytes) => {
      const placed = { segment: start.segment, offset: position, bytes };
      position += bytes;
      return placed;
    });
    return positions.slice(all.length - records.length);
  }

  /** Reads records that stand one behind the other. @throws StorageError `corrupt_log`. */
  read(first: RecordPosition, bytes: number): readonly LogRecord[] {
    const { segment, offset } = first;
    const data = Buffer.allocUnsafeSlow(bytes);
    const count = this.#disk.readNow(segment.descriptor, data, offset);
    if (segment.format === 2) applyMask(data, segment.mask, offset);
    const records: LogRecord[] = [];
    let position = 0;
    while (position < bytes) {
      const read = count === bytes ? readRecord(data, position) : undefined;
      if (read === undefined) {
        throw corruptLog(
          { path: segment.path, offset: offset + position },
          "an entry is unreadable",
        );
      }
      records.push(read.record);
      position += read.bytes;
    }
    return records;
  }

  /** Drops the segments before `number`, or all but the last one. */
  async dropBefore(number: number | undefined): Promise<void> {
    // A segment without a frame does not have the head yet that replaces what is before it.
    if (this.#cursor.offset === 0) return;
    const last = this.#cursor.segment.number;
    for (;;) {
      const oldest = this.#segments[0];
      if (oldest === undefined || oldest.number >= Math.min(number ?? last, last)) return;
      this.#segments.shift();
      await this.#files.release(oldest);
    }
  }

  async close(): Promise<void> {
    await this.#files.close();
    for (const { descriptor } of this.#segments) this.#disk.close(descriptor);
  }

  #encode(records: readonly LogRecord[]) {
    const all = this.#cursor.offset === 0 ? [...this.#head(), ...records] : records;
    return { all, frame: encodeFrame(all, placeAfter(this.#cursor)) };
  }
}

function assertFollows(previous: Segment | undefined, segment: Segment): void {
  if (previous === undefined || segment.number === previous.number + 1) return;
  const problem = `the file after it is missing, the next one there is number ${segment.number}`;
  throw corruptLog({ path: previous.path, offset: previous.bytes }, problem);
}

/**
 * A segment is made whole before it gets its name. What was cut off might have been acknowledged,
 * and would pass for a write that was never finished.
 */
function assertWhole({ path, bytes }: Segment, segmentBytes: number): void {
  if (bytes >= segmentBytes) return;
  throw corruptLog({ path, offset: bytes }, `the file ends here, it had ${segmentBytes} bytes`);
}
