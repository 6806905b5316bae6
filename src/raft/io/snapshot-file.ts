import { join } from "node:path";
import { crc32 } from "node:zlib";
import { decodeConfiguration, encodeConfiguration } from "../configuration.ts";
import type { EntryId } from "../log-storage.ts";
import type { Snapshot } from "../raft-log.ts";
import { type Disk, readFully, writeFully } from "./disk.ts";
import { corruptLog } from "./storage-error.ts";

/*
 * magic u32 | configuration bytes u32 | index u48 | term u48 | data bytes u48 | 0 u48
 * | configuration | data | check u32 over all before it
 */
const magic = 0x31534b53;
const headerBytes = 32;
const trailerBytes = 4;
const snapshotPattern = /^(\d{16})-(\d{1,15})\.snapshot$/;

/** A snapshot in the directory, by its name; not read yet. */
export type SnapshotFile = EntryId & { readonly path: string };

function pathOf(directory: string, { index, term }: EntryId): string {
  return join(directory, `${String(index).padStart(16, "0")}-${term}.snapshot`);
}

/** All that are there, the newest first. */
export async function listSnapshotFiles(
  disk: Disk,
  directory: string,
): Promise<readonly SnapshotFile[]> {
  const files: SnapshotFile[] = [];
  for (const name of await disk.names(directory)) {
    const match = snapshotPattern.exec(name);
    if (match === null) continue;
    files.push({ index: Number(match[1]), term: Number(match[2]), path: join(directory, name) });
  }
  return files.toSorted((left, right) => right.index - left.index || right.term - left.term);
}

/** Resolves when the snapshot is whole and durable under its name. */
export async function writeSnapshotFile(
  disk: Disk,
  directory: string,
  { meta, data }: Snapshot,
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
  const descriptor = disk.open(temporary, "new");
  try {
    let offset = 0;
    for (const part of [header, configuration, data, trailer]) {
      await writeFully(disk, descriptor, { data: part, offset });
      offset += part.byteLength;
    }
    await disk.sync(descriptor);
  } finally {
    disk.close(descriptor);
  }
  await disk.rename(temporary, path);
  await disk.syncDirectory(directory);
  return { index: meta.index, term: meta.term, path };
}

/** Reads one back and checks every byte. @throws StorageError `corrupt_log`. */
export async function readSnapshotFile(
  disk: Disk,
  { path, index, term }: SnapshotFile,
): Promise<Snapshot> {
  const bytes = await disk.sizeOf(path);
  const descriptor = disk.open(path, "read");
  let file: Buffer;
  try {
    file = await readFully(disk, descriptor, { offset: 0, bytes });
  } finally {
    disk.close(descriptor);
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
