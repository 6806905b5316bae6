/** A multiple of what is masked at a time. */
const maskBytes = 4_096;
/** What the frames of a segment are aligned to: less is not torn, even within a sector. */
export const wordBytes = 8;

/**
 * What the bytes of a segment are combined with (by exclusive or, repeated over the file), so
 * that what is written never looks like the zeros that stood there before, whatever it says. It
 * follows from the segment's nonce, which a user who chooses the data does not know. No byte
 * of it is zero, or is when one of its bits is flipped.
 */
export function maskOf(nonce: number): Buffer {
  const mask = Buffer.alloc(maskBytes);
  let state = nonce >>> 0;
  let filled = 0;
  while (filled < maskBytes) {
    // Mulberry32: one step of a 32-bit counter, mixed.
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    const byte = (mixed ^ (mixed >>> 14)) & 0xff;
    if ((byte & (byte - 1)) === 0) continue;
    mask[filled] = byte;
    filled += 1;
  }
  return mask;
}

/** Masks or unmasks in place the bytes that stand at `offset` of the segment. */
export function applyMask(bytes: Buffer, mask: Buffer, offset: number): void {
  const isAligned = bytes.byteOffset % 4 === 0 && offset % 4 === 0;
  const wholeBytes = isAligned ? bytes.byteLength - (bytes.byteLength % 4) : 0;
  if (wholeBytes > 0) {
    // Four at a time: a whole segment is unmasked at the start.
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, wholeBytes / 4);
    const maskWords = new Uint32Array(mask.buffer, mask.byteOffset, maskBytes / 4);
    for (let at = 0; at < words.length; at += 1) {
      words[at] = (words[at] ?? 0) ^ (maskWords[(offset / 4 + at) % maskWords.length] ?? 0);
    }
  }
  for (let at = wholeBytes; at < bytes.byteLength; at += 1) {
    bytes[at] = (bytes[at] ?? 0) ^ (mask[(offset + at) % maskBytes] ?? 0);
  }
}
