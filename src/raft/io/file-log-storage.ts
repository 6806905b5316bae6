import { assert, messageOf } from "../../kernel/index.ts";
import type { Entry, HardState, LogStorage, SnapshotMeta } from "../log-storage.ts";
import { sizeOf } from "../raft-log.ts";
import { type Disk, nodeDisk } from "./disk.ts";
import { assertComplete, findSnapshot, LogState } from "./log-state.ts";
import { hasSegments } from "./segment-files.ts";
import type { LogRecord } from "./segment-frame.ts";
import { SegmentLog } from "./segment-log.ts";
import { listSnapshotFiles, readSnapshotFile, writeSnapshotFile } from "./snapshot-file.ts";
import { corruptLog, StorageError } from "./storage-error.ts";

const defaultSegmentBytes = 16 * 2 ** 20;
/** The newest, and the one before in case the newest becomes unreadable. */
const keptSnapshots = 2;

export type FileLogStorageOptions = {
  /** Made when it is not there. Belongs to the log alone. */
  readonly directory: string;
  readonly segmentBytes?: number;
  /** The machine's own, unless a simulator says otherwise. */
  readonly disk?: Disk;
  /** Told once of the first failed read or write. Every call fails after it: end the process. */
  readonly onFatal?: (error: StorageError) => void;
};

type SaveBatch = Parameters<LogStorage["save"]>[0];
type EntryRange = Parameters<LogStorage["entries"]>[0];

/**
 * Opens the durable log of one node in a directory, with everything that an earlier process
 * was told is durable. @throws StorageError `corrupt_log`, `directory_in_use`, `storage_failed`.
 */
export async function openFileLogStorage(options: FileLogStorageOptions): Promise<LogStorage> {
  const { directory, disk = nodeDisk } = options;
  let lock: Disposable | undefined;
  try {
    await disk.makeDirectory(directory);
    lock = disk.lock(directory);
    return await openLocked(options, lock);
  } catch (cause) {
    lock?.[Symbol.dispose]();
    if (cause instanceof StorageError) throw cause;
    const text = `The replicated log in ${directory} cannot be opened: ${messageOf(cause)}. Mend that, then start the node again.`;
    throw new StorageError("storage_failed", text, { cause });
  }
}

async function openLocked(
  {
    directory,
    disk = nodeDisk,
    segmentBytes = defaultSegmentBytes,
    onFatal,
  }: FileLogStorageOptions,
  lock: Disposable,
): Promise<LogStorage> {
  const files = await listSnapshotFiles(disk, directory);
  if (files[0] !== undefined && !(await hasSegments(disk, directory))) {
    // Without its votes and entries this node is not the member that it was.
    throw corruptLog({ path: directory, offset: 0 }, "there are snapshots, but no segments");
  }
  const state = new LogState();
  const log = await SegmentLog.open({
    disk,
    directory,
    segmentBytes,
    onRecord: (record, position) => state.replay(record, position),
    head: () => state.head(),
  });
  try {
    state.snapshot = await findSnapshot(disk, files, state, log);
    if (state.entries.isEmpty) state.entries.clear({ nextIndex: (state.snapshotIndex ?? 0) + 1 });
    assertComplete(state, log);
    return new FileLogStorage({ disk, directory, log, state, lock, onFatal });
  } catch (error) {
    await log.close();
    throw error;
  }
}

class FileLogStorage implements LogStorage {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #log: SegmentLog;
  readonly #state: LogState;
  readonly #lock: Disposable;
  readonly #onFatal: FileLogStorageOptions["onFatal"];
  /** Writes happen one after the other. The contract allows one at a time, so it stays short. */
  #writing: Promise<void> | undefined;
  #failure: StorageError | undefined;
  #isClosed = false;

  constructor(parts: {
    readonly disk: Disk;
    readonly directory: string;
    readonly log: SegmentLog;
    readonly state: LogState;
    readonly lock: Disposable;
    readonly onFatal: FileLogStorageOptions["onFatal"];
  }) {
    this.#disk = parts.disk;
    this.#directory = parts.directory;
    this.#log = parts.log;
    this.#state = parts.state;
    this.#lock = parts.lock;
    this.#onFatal = parts.onFatal;
  }

  hardState(): HardState {
    return this.#state.hardState;
  }

  firstIndex(): number {
    return this.#state.entries.firstIndex;
  }

  lastIndex(): number {
    return this.#state.entries.lastIndex;
  }

  snapshotMeta(): SnapshotMeta | undefined {
    return this.#state.snapshot?.meta;
  }

  term(index: number): number | undefined {
    const { snapshot, entries } = this.#state;
    if (index === snapshot?.meta.index) return snapshot.meta.term;
    return entries.at(index)?.term;
  }

  entries({ from, to, maxBytes }: EntryRange): readonly Entry[] {
    const { entries } = this.#state;
    assert(from >= entries.firstIndex, "entries are read only where they are not compacted");
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = from; index <= to; index += 1) {
      // One read for all that stand one behind the other, else one entry from memory.
      const recent = entries.recent(index);
      const next =
        recent === undefined ? this.#readRun(index, { to, maxBytes: maxBytes - bytes }) : [recent];
      if (next.length === 0) break;
      for (const entry of next) {
        bytes += sizeOf(entry);
        if (bytes > maxBytes && found.length > 0) return found;
        found.push(entry);
      }
      index += next.length - 1;
    }
    return found;
  }

  /** Entries from `from` on that are one piece of one file; at least one where there is one. */
  #readRun(from: number, { to, maxBytes }: Omit<EntryRange, "from">): readonly Entry[] {
    const { entries } = this.#state;
    const first = entries.at(from)?.position;
    if (first === undefined) return [];
    let { bytes } = first;
    for (let index = from + 1; index <= to; index += 1) {
      const next = entries.at(index)?.position;
      const isAdjacent = next?.segment === first.segment && next.offset === first.offset + bytes;
      if (!isAdjacent || bytes + next.bytes > maxBytes) break;
      bytes += next.bytes;
    }
    this.#assertUsable();
    try {
      return this.#log.read(first, bytes).map((record, position) => {
        const isRight = record.kind === "entry" && record.entry.index === from + position;
        if (isRight) return record.entry;
        const { path } = first.segment;
        throw corruptLog({ path, offset: first.offset }, `entry ${from + position} is not there`);
      });
    } catch (error) {
      throw this.#fail(error);
    }
  }

  save({ hardState, entries }: SaveBatch): Promise<void> {
    return this.#write(async () => {
      const first = entries[0];
      if (first !== undefined) this.#assertFits(entries, first.index);
      const records: LogRecord[] = entries.map((entry) => ({ kind: "entry", entry }));
      // Behind the entries: the commit index in it never points past them.
      if (hardState !== undefined) records.push({ kind: "hard_state", hardState });
      if (records.length === 0) return;
      const positions = await this.#log.append(records);
      for (const [order, entry] of entries.entries()) {
        const position = positions[order];
        assert(position !== undefined, "every record has a place");
        this.#state.entries.note(entry, position);
        this.#state.entries.remember(entry);
      }
      if (hardState !== undefined) this.#state.hardState = hardState;
    });
  }

  saveSnapshot(meta: SnapshotMeta, data: Uint8Array): Promise<void> {
    return this.#write(async () => {
      const state = this.#state;
      assert(meta.index >= (state.snapshotIndex ?? 0), "snapshots are never older than the last");
      const replacesLog = this.term(meta.index) !== meta.term;
      const file = await writeSnapshotFile(this.#disk, this.#directory, { meta, data });
      const { index, term } = meta;
      await this.#log.append([{ kind: "snapshot", id: { index, term }, replacesLog }]);
      state.noteSnapshot(meta, { replacesLog });
      state.snapshot = { meta, file };
      // Only now: until the mark was durable, a restart would have looked for the old ones.
      const files = await listSnapshotFiles(this.#disk, this.#directory);
      for (const old of files.slice(keptSnapshots)) await this.#disk.remove(old.path);
      if (replacesLog) await this.#log.dropBefore(undefined);
    });
  }

  async loadSnapshot(): Promise<
    { readonly meta: SnapshotMeta; readonly data: Uint8Array } | undefined
  > {
    this.#assertUsable();
    const { snapshot } = this.#state;
    if (snapshot === undefined) return undefined;
    const { meta, file, data } = snapshot;
    if (data !== undefined) {
      // Who starts reads it once, right after it was checked.
      this.#state.snapshot = { meta, file };
      return { meta, data };
    }
    try {
      return await readSnapshotFile(this.#disk, file);
    } catch (error) {
      throw this.#fail(error);
    }
  }

  compact(index: number): Promise<void> {
    return this.#write(async () => {
      const { entries, snapshotIndex } = this.#state;
      entries.dropUpTo(Math.min(index, snapshotIndex ?? 0));
      // Positions grow with the index, so nothing before the first entry's segment is needed.
      await this.#log.dropBefore(entries.at(entries.firstIndex)?.position.segment.number);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#writing;
    await this.#log.close();
    this.#lock[Symbol.dispose]();
  }

  #assertUsable(): void {
    if (this.#isClosed) {
      throw new StorageError("storage_closed", `The log in ${this.#directory} is closed.`);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #assertFits(entries: readonly Entry[], firstIndex: number): void {
    const { lastIndex } = this.#state.entries;
    assert(firstIndex <= lastIndex + 1, "entries are consecutive");
    assert(firstIndex >= this.#state.entries.firstIndex, "compacted entries are never rewritten");
    const isConsecutive = entries.every(({ index }, order) => index === firstIndex + order);
    assert(isConsecutive, "the entries of a batch are consecutive");
  }

  async #write(task: () => Promise<void>): Promise<void> {
    this.#assertUsable();
    const before = this.#writing;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#writing = promise;
    try {
      if (before !== undefined) await before;
      if (this.#failure !== undefined) throw this.#failure;
      await task();
    } catch (error) {
      throw this.#fail(error);
    } finally {
      if (this.#writing === promise) this.#writing = undefined;
      resolve();
    }
  }

  /** After a failed write the disk's contents are unknown, so nothing is done on it any more. */
  #fail(cause: unknown): StorageError {
    if (this.#failure !== undefined) return this.#failure;
    const text = `The replicated log in ${this.#directory} failed: ${messageOf(cause)}. The node must stop; look at the disk before it starts again.`;
    this.#failure =
      cause instanceof StorageError ? cause : new StorageError("storage_failed", text, { cause });
    this.#onFatal?.(this.#failure);
    return this.#failure;
  }
}
