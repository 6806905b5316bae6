import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeId } from "../../src/kernel/index.ts";
import { openFileLogStorage } from "../../src/raft/io/file-log-storage.ts";
import type { Entry, LogStorage, SnapshotMeta } from "../../src/raft/log-storage.ts";

export const smallSegmentBytes = 16 * 2 ** 10;

/** An entry whose data follows from its id, so that what comes back can be checked. */
export function entry(index: number, term = 1): Entry {
  return { index, term, kind: "normal", data: dataOf(index, term) };
}

export function dataOf(index: number, term: number): Uint8Array {
  return new Uint8Array(50 + ((index * 37) % 300)).fill((index + term) % 256);
}

export function entries(from: number, to: number, term = 1): readonly Entry[] {
  return Array.from({ length: to - from + 1 }, (_, order) => entry(from + order, term));
}

export function snapshotMeta(index: number, term = 1): SnapshotMeta {
  const configuration = {
    voters: [nodeId("a"), nodeId("b"), nodeId("c")],
    votersOutgoing: [],
    learners: [nodeId("d")],
    learnersNext: [],
  };
  return { index, term, configuration };
}

/** Everything from `from` on, as plain values. */
export function readAll(storage: LogStorage, from = storage.firstIndex()) {
  return storage
    .entries({ from, to: storage.lastIndex(), maxBytes: Number.MAX_SAFE_INTEGER })
    .map(({ index, term, kind, data }) => ({ index, term, kind, data: new Uint8Array(data) }));
}

export function openSmall(directory: string): Promise<LogStorage> {
  return openFileLogStorage({ directory, segmentBytes: smallSegmentBytes });
}

export async function segmentNames(directory: string): Promise<readonly string[]> {
  return (await readdir(directory)).filter((name) => name.endsWith(".log")).toSorted();
}

type Test = { teardown(undo: () => Promise<void>): void };

/** A directory that is gone when the test is. */
export async function makeDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "skein-raft-log-"));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
