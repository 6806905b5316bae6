import { closeSync, fsync, openSync } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import { decodeConfiguration, encodeConfiguration } from "../configuration.ts";
import type { EntryId, SnapshotMeta } from "../log-storage.ts";
import { readFully, syncDirectory, writeFully } from "./disk.ts";
import { corruptLog } from "./storage-error.ts";

/*
 * magic u32 | configuration bytes u32 | index u48 | term u48 | data bytes u48 | 0 u48
 * | configuration | data | check u32 over all before it
 */
const magic = 0x31534b53;
const headerBytes = 32;
const trailerBytes = 4;
const snapshotPattern = /^(\d{16})-(\d{1,15})\.snapshot$/;
const syncFile = promisify(fsync);

/** A snapshot in the directory, by its name; not read yet. */
export type SnapshotFile = EntryId & { readonly path: string };

function pathOf(directory: string, { index, term }: EntryId): string {
  return join(directory, `${String(index).padStart(16, "0")}-${term}.snapshot`);
}

/** All that are there, the newest first. */
export async function listSnapshotFiles(directory: string): Promise<readonly SnapshotFile[]> {
  const files: SnapshotFile[] = [];
  for (const name of await readdir(directory)) {
    const match = snapshotPattern.exec(name);
    if (match === null) continue;
    files.push({ index: Number(match[1]), term: Number(match[2]), path: join(directory, name) });
  }
  return files.toSorted((left, right) => right.index - left.index || right.term - left.term);
}

/** Resolves when the snapshot is whole and durable under its name. */
export async function writeSnapshotFile(
  directory: string,
  meta: SnapshotMeta,
  data: Uint8Array,
): Promise<SnapshotFile> {
  const configuration = encodeConfiguration(meta.configuration);
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(magic, 0);
  header.writeUInt32LE(configuration.byteLength, 4);
  header.writeUIntLE(meta.index, 8, 6);
  header.writeUIntLE(meta.term, 14, 6);
  header.writeUIntLE(data.byteLength, 20, 6);
  const trailer = Buffer.alloc(trailerBytes);
  trailer.writeUInt32LE(crc32(data, crc32(configuration, crc32(header))));

  const path = pathOf(directory, meta);
  const temporary = `${path}.tmp`;
  const descriptor = openSync(temporary, "w", 0o600);
  try {
    let offset = 0;
    for (const part of [header, configuration, data, trailer]) {
      await writeFully(descriptor, part, offset);
      offset += part.byteLength;
    }
    await syncFile(descriptor);
  } finally {
    closeSync(descriptor);
  }
  await rename(temporary, path);
  await syncDirectory(directory);
  return { index: meta.index, term: meta.term, path };
}

/** Reads one back and checks every byte. @throws StorageError `corrupt_log`. */
export async function readSnapshotFile({
  path,
  index,
  term,
}: SnapshotFile): Promise<{ readonly meta: SnapshotMeta; readonly data: Uint8Array }> {
  const bytes = (await stat(path)).size;
  const descriptor = openSync(path, "r");
  let file: Buffer;
  try {
    file = await readFully(descriptor, { offset: 0, bytes });
  } finally {
    closeSync(descriptor);
  }
  const end = file.byteLength - trailerBytes;
  const isWhole =
    end >= headerBytes &&
    file.readUInt32LE(0) === magic &&
    file.readUInt32LE(end) === crc32(file.subarray(0, end)) &&
    file.readUIntLE(8, 6) === index &&
    file.readUIntLE(14, 6) === term;
  if (!isWhole) throw corruptLog({ path, offset: 0 }, "the snapshot does not match its check");
  const dataStart = headerBytes + file.readUInt32LE(4);
  if (dataStart + file.readUIntLE(20, 6) !== end) {
    throw corruptLog({ path, offset: 0 }, "the snapshot's parts do not fill it");
  }
  const configuration = decodeConfiguration(file.subarray(headerBytes, dataStart));
  return { meta: { index, term, configuration }, data: file.subarray(dataStart, end) };
}

export async function removeSnapshotFile({ path }: SnapshotFile): Promise<void> {
  await rm(path, { force: true });
}
