import { wordBytes } from "./mask.ts";
import { frameHeaderBytes } from "./segment-frame.ts";

/**
 * Whether what stands at `offset`, where a frame was expected and none is valid, may be a write
 * that a crash cut short. If not, it is an acknowledged frame that was damaged.
 *
 * Where a frame goes there are zeros, and it is masked and ends with zeros that are masked too,
 * so as it was written no word of it is zero (but with a chance of 2^-64 for each), and not its
 * last byte. What a crash leaves of it lacks some word, or its last byte, whichever the pages
 * and sectors are that were written. No single flipped bit makes a word or that byte zero.
 *
 * @param raw The segment as it is on the disk.
 * @param frameBytes The length that the header says, if the header's own check is right.
 */
export function mayBeTorn(raw: Buffer, offset: number, frameBytes: number | undefined): boolean {
  const room = raw.byteLength - offset;
  // Nobody writes past the end, and there is no room for a frame.
  if (frameBytes !== undefined && frameBytes > room) return false;
  if (room < frameHeaderBytes + wordBytes) return true;
  // Without a good header its length is not known: the word after the header is of any frame.
  const frame = raw.subarray(offset, offset + (frameBytes ?? frameHeaderBytes + wordBytes));
  for (let at = 0; at < frame.byteLength; at += wordBytes) {
    if (isZero(frame.subarray(at, at + wordBytes))) return true;
  }
  return frameBytes !== undefined && frame.at(-1) === 0;
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}
