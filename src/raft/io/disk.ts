import { randomBytes } from "node:crypto";
import { close, closeSync, constants, fsync, open, openSync, read, readSync, write } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { lockDirectory } from "./directory-lock.ts";

const openFile = promisify(open);
const closeFile = promisify(close);
const syncFile = promisify(fsync);

/**
 * What the log needs of an operating system. The daemon uses {@link nodeDisk}; the simulator
 * has a disk of its own, which loses what was not made durable.
 */
export type Disk = {
  /** Keeps everybody else out of a directory until it is disposed. */
  lock(directory: string): Disposable;
  /** Durably, with those above it that are missing. */
  makeDirectory(directory: string): Promise<void>;
  names(directory: string): Promise<readonly string[]>;
  sizeOf(path: string): Promise<number>;
  /**
   * - `read`: an existing file.
   * - `durable`: an existing file, of which every write is durable when it returns: one hop to
   *   the thread pool, not two.
   * - `durable_new`: the same with a file that must not exist.
   * - `new`: an empty file for writing, whose data is durable only after `sync`.
   */
  open(path: string, mode: "read" | "durable" | "durable_new" | "new"): number;
  close(descriptor: number): void;
  /** Gives the count of bytes read: 0 at the end. */
  read(descriptor: number, target: Uint8Array, offset: number): Promise<number>;
  readNow(descriptor: number, target: Uint8Array, offset: number): number;
  /** Gives the count of bytes written, which may be less than asked for. */
  write(descriptor: number, data: Uint8Array, offset: number): Promise<number>;
  sync(descriptor: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** No error where there is none. */
  remove(path: string): Promise<void>;
  /** Makes the names in a directory durable: creations, renames and removals. */
  syncDirectory(directory: string): Promise<void>;
  /** For names and nonces. */
  randomBytes(count: number): Buffer;
};

const openFlags = {
  read: constants.O_RDONLY,
  durable: constants.O_RDWR | constants.O_DSYNC,
  durable_new: constants.O_RDWR | constants.O_DSYNC | constants.O_CREAT | constants.O_EXCL,
  new: constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC,
} as const;

export const nodeDisk: Disk = {
  lock: lockDirectory,
  makeDirectory: async (directory) => {
    const madeFrom = await mkdir(directory, { recursive: true, mode: 0o700 });
    if (madeFrom !== undefined) await syncDirectory(dirname(madeFrom));
  },
  names: readdir,
  sizeOf: async (path) => (await stat(path)).size,
  open: (path, mode) => openSync(path, openFlags[mode], 0o600),
  close: closeSync,
  // By callback: a FileHandle costs a third of the rate of small durable writes.
  read: (descriptor, target, offset) => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    read(descriptor, target, 0, target.byteLength, offset, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
    return promise;
  },
  readNow: (descriptor, target, offset) =>
    readSync(descriptor, target, 0, target.byteLength, offset),
  write: (descriptor, data, offset) => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    write(descriptor, data, 0, data.byteLength, offset, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
    return promise;
  },
  sync: syncFile,
  rename,
  remove: (path) => rm(path, { force: true }),
  syncDirectory,
  randomBytes,
};

async function syncDirectory(directory: string): Promise<void> {
  const descriptor = await openFile(directory, "r");
  try {
    await syncFile(descriptor);
  } finally {
    await closeFile(descriptor);
  }
}

/** Writes all of `data` at `offset`. A write that the disk cuts short goes on where it stopped. */
export async function writeFully(
  disk: Disk,
  descriptor: number,
  { data, offset }: { readonly data: Uint8Array; readonly offset: number },
): Promise<void> {
  let written = 0;
  while (written < data.byteLength) {
    const rest = written === 0 ? data : data.subarray(written);
    const count = await disk.write(descriptor, rest, offset + written);
    if (count === 0) throw new Error("The disk took no bytes.");
    written += count;
  }
}

/** Fills a buffer of `bytes` from `offset`, or less at the end of the file. */
export async function readFully(
  disk: Disk,
  descriptor: number,
  { offset, bytes }: { readonly offset: number; readonly bytes: number },
): Promise<Buffer> {
  const data = Buffer.allocUnsafe(bytes);
  let filled = 0;
  while (filled < bytes) {
    const count = await disk.read(descriptor, data.subarray(filled), offset + filled);
    if (count === 0) break;
    filled += count;
  }
  return data.subarray(0, filled);
}
