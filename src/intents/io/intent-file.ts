import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { decodeIntents, IntentQueue, noIntents, type StoredIntents } from "../index.ts";

const checksumBytes = 4;

/**
 * The queue of this node, kept in one file that is replaced as a whole: a crash leaves the old
 * one or the new one. Each change is on the disk when the call returns; a write that fails is
 * told to `onFatal` and thrown, as nobody knows then what the disk holds.
 */
export function openIntentQueue(options: {
  readonly file: string;
  readonly onFatal: (error: unknown) => void;
  /** Told where a file that cannot be read was put aside. */
  readonly onDamaged: (movedTo: string) => void;
}): IntentQueue {
  const { file, onFatal, onDamaged } = options;
  return new IntentQueue(load(file, onDamaged), (bytes) => {
    try {
      replaceFile(file, bytes);
    } catch (error) {
      onFatal(error);
      throw error;
    }
  });
}

function load(file: string, onDamaged: (movedTo: string) => void): StoredIntents {
  if (!existsSync(file)) return noIntents;
  const stored = read(readFileSync(file));
  if (stored !== undefined) return stored;
  // Containers matter more than what nobody can read: the daemon starts, and the file is kept.
  const movedTo = `${file}.damaged`;
  renameSync(file, movedTo);
  onDamaged(movedTo);
  return noIntents;
}

function read(content: Buffer): StoredIntents | undefined {
  if (content.byteLength < checksumBytes) return undefined;
  const bytes = content.subarray(checksumBytes);
  return crc32(bytes) === content.readUInt32LE(0) ? decodeIntents(bytes) : undefined;
}

function replaceFile(file: string, bytes: Uint8Array): void {
  const content = Buffer.alloc(checksumBytes + bytes.byteLength);
  content.writeUInt32LE(crc32(bytes), 0);
  content.set(bytes, checksumBytes);
  const temporary = `${file}.new`;
  const descriptor = openSync(temporary, "w", 0o600);
  try {
    let written = 0;
    while (written < content.byteLength) {
      written += writeSync(descriptor, content, written);
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(temporary, file);
  const directory = openSync(dirname(file), "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
