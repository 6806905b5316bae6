import { join } from "node:path";
import { type Disk, writeFully } from "./disk.ts";
import { maskOf } from "./mask.ts";
import type { SegmentFormat } from "./segment-frame.ts";

/** Those of format 1, of earlier versions, end otherwise. */
const segmentPattern = /^(\d{10})-([0-9a-f]{8})(\.full)?\.(log|segment)$/;
const segmentSuffix = /\.(?:log|segment)$/;
const sparePattern = /^[0-9a-f]{16}\.blank$/;
/** Half-made files, and what earlier versions kept for reuse without voiding it. */
const uselessPattern = /\.(?:tmp|spare)$/;
/** Segments at hand; more than one only after a large compaction. */
const maxSpares = 2;
/** Filled in steps, so that a commit never waits behind the whole of a segment. */
const fillStep = Buffer.alloc(2 ** 22);

/** One file of the log, open. Its length never changes. */
export type Segment = {
  readonly number: number;
  readonly format: SegmentFormat;
  /** Drawn for each use of the file; its frames are seeded with it. */
  readonly nonce: number;
  readonly mask: Buffer;
  path: string;
  /** Its name says that the next segment was written to. */
  isFull: boolean;
  readonly bytes: number;
  readonly descriptor: number;
};

/** Where the segments are, and how large they are made. */
export type SegmentPlace = {
  readonly disk: Disk;
  readonly directory: string;
  readonly segmentBytes: number;
};

/** Whether there is a log in the directory. */
export async function hasSegments(disk: Disk, directory: string): Promise<boolean> {
  return (await disk.names(directory)).some((name) => segmentPattern.test(name));
}

/**
 * The files of a log: gives out segments that are filled with zeros already, and takes them back
 * for reuse. A write that grows a file costs a journal commit, and a write to where there was
 * something else cannot be told from a torn one by what is missing.
 */
export class SegmentFiles {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #spares: string[];
  /** Spares on which the background works. */
  #coming = 0;
  #preparing: Promise<void> = Promise.resolve();

  private constructor({ disk, directory, segmentBytes }: SegmentPlace, spares: string[]) {
    this.#disk = disk;
    this.#directory = directory;
    this.#segmentBytes = segmentBytes;
    this.#spares = spares;
  }

  /** Looks at what is there; half-made files of an earlier process are removed. */
  static async open(
    place: SegmentPlace,
  ): Promise<{ readonly files: SegmentFiles; readonly segments: readonly Segment[] }> {
    const { disk, directory, segmentBytes } = place;
    // A process that was killed may have left names that the power can still take away, and
    // with them everything that this one writes behind them.
    await disk.syncDirectory(directory);
    const names = (await disk.names(directory)).toSorted();
    const spares: string[] = [];
    for (const name of names) {
      const path = join(directory, name);
      if (uselessPattern.test(name)) await disk.remove(path);
      if (!sparePattern.test(name)) continue;
      // Another segment size was set when this one was made.
      if ((await disk.sizeOf(path)) !== segmentBytes) await disk.remove(path);
      else spares.push(path);
    }
    const segments: Segment[] = [];
    for (const name of names) {
      const match = segmentPattern.exec(name);
      if (match === null) continue;
      const path = join(directory, name);
      const bytes = await disk.sizeOf(path);
      const nonce = Number.parseInt(match[2] ?? "", 16);
      segments.push({
        number: Number(match[1]),
        format: match[4] === "log" ? 2 : 1,
        nonce,
        mask: maskOf(nonce),
        path,
        isFull: match[3] !== undefined,
        bytes,
        descriptor: disk.open(path, "durable"),
      });
    }
    return { files: new SegmentFiles(place, spares), segments };
  }

  /** A segment of at least `bytes`, durably in the directory. */
  async take({
    number,
    bytes,
  }: {
    readonly number: number;
    readonly bytes: number;
  }): Promise<Segment> {
    const actualBytes = Math.max(bytes, this.#segmentBytes);
    const isUsual = actualBytes === this.#segmentBytes;
    if (this.#spares.length === 0) await this.#preparing;
    const from = (isUsual ? this.#spares.pop() : undefined) ?? (await this.#make(actualBytes));
    const nonce = this.#disk.randomBytes(4).readUInt32LE();
    const hex = nonce.toString(16).padStart(8, "0");
    const path = join(this.#directory, `${String(number).padStart(10, "0")}-${hex}.log`);
    await this.#disk.rename(from, path);
    await this.#disk.syncDirectory(this.#directory);
    const descriptor = this.#disk.open(path, "durable");
    this.prepare();
    const mask = maskOf(nonce);
    return { number, format: 2, nonce, mask, path, isFull: false, bytes: actualBytes, descriptor };
  }

  /**
   * The log goes on in the next segment, and something was acknowledged there: from now on that
   * one must be there. Durable with the next change of names; until then nothing is promised.
   */
  async markFull(segment: Segment): Promise<void> {
    const path = segment.path.replace(segmentSuffix, ".full$&");
    await this.#disk.rename(segment.path, path);
    segment.path = path;
    segment.isFull = true;
  }

  /** Makes the next segment in the background. */
  prepare(): void {
    if (this.#spares.length + this.#coming > 0) return;
    this.#addSpare(() => this.#make(this.#segmentBytes));
  }

  /** Takes a segment out of the log, durably. Its file is used again. */
  async release(segment: Segment): Promise<void> {
    this.#disk.close(segment.descriptor);
    const isUsual = segment.bytes === this.#segmentBytes;
    if (isUsual && this.#spares.length + this.#coming < maxSpares) {
      const path = this.#newPath();
      await this.#disk.rename(segment.path, temporaryOf(path));
      await this.#disk.syncDirectory(this.#directory);
      this.#addSpare(() => this.#blank(path, { bytes: segment.bytes, mode: "durable" }));
    } else {
      await this.#disk.remove(segment.path);
      await this.#disk.syncDirectory(this.#directory);
    }
  }

  /** Waits for the background. */
  async close(): Promise<void> {
    await this.#preparing;
  }

  /** One at a time, in the background. */
  #addSpare(make: () => Promise<string>): void {
    this.#coming += 1;
    this.#preparing = this.#preparing.then(make).then(
      (path) => {
        this.#coming -= 1;
        this.#spares.push(path);
      },
      // Not fatal yet: the disk may have room again when the segment is needed, and if it has
      // not, `take` fails.
      () => {
        this.#coming -= 1;
      },
    );
  }

  #make(bytes: number): Promise<string> {
    return this.#blank(this.#newPath(), { bytes, mode: "durable_new" });
  }

  /** Fills the file under its temporary name with zeros, and gives it the name of a spare. */
  async #blank(
    path: string,
    { bytes, mode }: { readonly bytes: number; readonly mode: "durable" | "durable_new" },
  ): Promise<string> {
    const temporary = temporaryOf(path);
    try {
      const descriptor = this.#disk.open(temporary, mode);
      try {
        for (let offset = 0; offset < bytes; offset += fillStep.byteLength) {
          const data = fillStep.subarray(0, Math.min(fillStep.byteLength, bytes - offset));
          await writeFully(this.#disk, descriptor, { data, offset });
        }
      } finally {
        this.#disk.close(descriptor);
      }
    } catch (error) {
      // On a full disk it would hold the very room that is missing.
      await this.#disk.remove(temporary);
      throw error;
    }
    await this.#disk.rename(temporary, path);
    return path;
  }

  #newPath(): string {
    return join(this.#directory, `${this.#disk.randomBytes(8).toString("hex")}.blank`);
  }
}

function temporaryOf(path: string): string {
  return `${path}.tmp`;
}
