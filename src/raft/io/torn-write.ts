import {
  type FramePlace,
  frameCheck,
  frameHeaderBytes,
  headerCheck,
  readHeader,
  readRecord,
} from "./segment-frame.ts";

/** The least that a disk writes at once; a page and a modern disk's sector are multiples of it. */
const sectorBytes = 512;
/** What is not torn, even if the power fails within a sector. */
const wordBytes = 8;
/** CRC-32 as in IEEE 802.3, with its bits reversed: what zlib computes. */
const polynomial = 0xedb88320;

/**
 * Whether what stands at `offset`, where a frame was expected and none is valid, may be a write
 * that a crash cut short. If not, it is an acknowledged frame that was damaged.
 *
 * Where a write is to go there are zeros. So what a crash leaves of it lacks the end of some
 * sector, or of the write itself, and zeros stand there. That holds for a process that was
 * killed (which leaves whole pages), for a disk that lost its power between sectors, and for
 * one that lost it within a sector. A frame may have zeros at those places by itself, and then
 * damage elsewhere in it cannot be told from a torn write, but for a single bit: two checks,
 * of the frame and of the record, name the bit, and no torn write is one bit away from whole.
 */
export function mayBeTorn(
  segment: Buffer,
  offset: number,
  { nonce, previousCheck }: Omit<FramePlace, "sequence">,
): boolean {
  const rest = segment.subarray(offset);
  if (rest.byteLength < frameHeaderBytes) return true;
  const header = readHeader(segment, offset, nonce);
  if (header === undefined) {
    const start = rest.subarray(0, frameHeaderBytes);
    // The first byte as well: a cut voids a torn write with zeros, and may itself be torn.
    const lacksPart = start[0] === 0 || lacksEnd(segment, offset, frameHeaderBytes);
    return lacksPart && !isHeaderOneBitOff(start, nonce);
  }
  // Its own check says that the header is what was written, and nobody writes past the end.
  if (header.bytes > rest.byteLength) return false;
  if (!lacksEnd(segment, offset, header.bytes)) return false;
  return !isFrameOneBitOff(rest.subarray(0, header.bytes), previousCheck);
}

/** Whether the last word of a sector is zero, as far as it is within the part, or the part's end. */
function lacksEnd(segment: Buffer, start: number, bytes: number): boolean {
  const end = start + bytes;
  if (segment[end - 1] === 0) return true;
  let next = start + sectorBytes - (start % sectorBytes);
  for (; next < end; next += sectorBytes) {
    const word = segment.subarray(Math.max(start, next - wordBytes), next);
    if (word.every((byte) => byte === 0)) return true;
  }
  return false;
}

function isHeaderOneBitOff(header: Buffer, nonce: number): boolean {
  const checked = header.subarray(0, 16);
  const difference = headerCheck(header, nonce) ^ header.readUInt32LE(16);
  return isSingleBit(difference) || bitFromEnd(difference, checked.byteLength) !== undefined;
}

function isFrameOneBitOff(frame: Buffer, previousCheck: number): boolean {
  const difference = frameCheck(frame, previousCheck) ^ frame.readUInt32LE(20);
  if (isSingleBit(difference)) return hasGoodRecords(frame);
  const bit = bitFromEnd(difference, frame.byteLength - frameHeaderBytes);
  if (bit === undefined) return false;
  const mended = Buffer.from(frame);
  const position = frame.byteLength - 1 - (bit >> 3);
  mended[position] = (mended[position] ?? 0) ^ (0x80 >> (bit & 7));
  return hasGoodRecords(mended);
}

function isSingleBit(value: number): boolean {
  return value !== 0 && (value & (value - 1)) === 0;
}

/**
 * The one bit of the last `bytes` bytes whose change makes this difference in the check, counted
 * from the end; undefined when there is none. A CRC is linear: each bit adds a difference of its
 * own, whatever the others are, and that of the bit before is one step of the register on.
 */
function bitFromEnd(difference: number, bytes: number): number | undefined {
  let of = polynomial | 0;
  for (let bit = 0; bit < bytes * 8; bit += 1) {
    if (of === difference) return bit;
    of = (of >>> 1) ^ (of & 1 ? polynomial | 0 : 0);
  }
  return undefined;
}

function hasGoodRecords(frame: Buffer): boolean {
  let position = frameHeaderBytes;
  while (position < frame.byteLength) {
    const read = readRecord(frame, position);
    if (read === undefined) return false;
    position += read.bytes;
  }
  return true;
}
