import { NetworkError } from "../errors.ts";
import { maxFrameBytes } from "../limits.ts";

export const headerBytes = 4;

/** Cuts what arrives into frames: four octets of length, big-endian, then the frame. */
export class FrameReader {
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #neededBytes = headerBytes;

  /** Octets of a frame that has not come whole. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** The frames that are complete now. @throws NetworkError `too_large` */
  take(chunk: Uint8Array): readonly Uint8Array[] {
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.byteLength;
    // Joining only when a frame can be complete keeps a large one from being copied per chunk.
    if (this.#pendingBytes < this.#neededBytes) return [];
    const bytes = this.#pending.length === 1 ? Buffer.from(chunk) : Buffer.concat(this.#pending);
    const frames: Uint8Array[] = [];
    let start = 0;
    for (;;) {
      this.#neededBytes = headerBytes;
      if (bytes.byteLength - start < headerBytes) break;
      const length = bytes.readUInt32BE(start);
      if (length > maxFrameBytes) {
        throw new NetworkError(
          "too_large",
          `The peer announces a frame of ${length} bytes; ${maxFrameBytes} is the most.`,
        );
      }
      this.#neededBytes = headerBytes + length;
      if (bytes.byteLength - start < this.#neededBytes) break;
      frames.push(bytes.subarray(start + headerBytes, start + this.#neededBytes));
      start += this.#neededBytes;
    }
    const rest = bytes.subarray(start);
    this.#pending = rest.byteLength === 0 ? [] : [rest];
    this.#pendingBytes = rest.byteLength;
    return frames;
  }
}
