import { assertNever } from "../../kernel/index.ts";
import type { EntryId, HardState, SnapshotMeta } from "../log-storage.ts";
import type { Disk } from "./disk.ts";
import { EntryIndex } from "./entry-index.ts";
import type { LogRecord } from "./segment-frame.ts";
import type { SegmentLog } from "./segment-log.ts";
import type { RecordPosition } from "./segment-scan.ts";
import { readSnapshotFile, type SnapshotFile } from "./snapshot-file.ts";
import { corruptLog } from "./storage-error.ts";

/** Newest entries kept in memory; members that lag further are served from disk. */
const maxTailBytes = 8 * 2 ** 20;

export type StoredSnapshot = {
  readonly meta: SnapshotMeta;
  readonly file: SnapshotFile;
  /** As read and checked when the log was opened; dropped once it was asked for. */
  readonly data?: Uint8Array;
};

/** What the records add up to. */
export class LogState {
  readonly entries = new EntryIndex({ maxTailBytes });
  hardState: HardState = { term: 0, vote: undefined, commitIndex: 0 };
  snapshot: StoredSnapshot | undefined;
  /** The snapshot that the log's records name; the file is looked for after reading them. */
  mark: EntryId | undefined;

  get snapshotIndex(): number | undefined {
    return this.snapshot?.meta.index;
  }

  head(): readonly LogRecord[] {
    const { hardState, mark } = this;
    const records: LogRecord[] = [{ kind: "hard_state", hardState }];
    if (mark !== undefined) records.push({ kind: "snapshot", id: mark, replacesLog: false });
    return records;
  }

  replay(record: LogRecord, position: RecordPosition): void {
    switch (record.kind) {
      case "entry": {
        const { entry } = record;
        if (!this.entries.isEmpty && entry.index > this.entries.lastIndex + 1) {
          const { path } = position.segment;
          const problem = `entry ${entry.index} follows entry ${this.entries.lastIndex}`;
          throw corruptLog({ path, offset: position.offset }, problem);
        }
        this.entries.note(entry, position);
        return;
      }
      case "hard_state":
        this.hardState = record.hardState;
        return;
      case "snapshot":
        this.noteSnapshot(record.id, { replacesLog: record.replacesLog });
        return;
      default:
        assertNever(record);
    }
  }

  noteSnapshot({ index, term }: EntryId, { replacesLog }: { readonly replacesLog: boolean }): void {
    this.mark = { index, term };
    if (replacesLog) this.entries.clear({ nextIndex: index + 1 });
  }
}

/**
 * The snapshot that the log names. When it is unreadable, an older one serves as well, as long
 * as the log still has every entry after it.
 */
export async function findSnapshot(
  disk: Disk,
  files: readonly SnapshotFile[],
  { mark, entries }: LogState,
  log: SegmentLog,
): Promise<StoredSnapshot | undefined> {
  if (mark === undefined) {
    // One without a mark was being written when the process died.
    for (const file of files) await disk.remove(file.path);
    return undefined;
  }
  let problem: unknown;
  for (const file of files) {
    const isNamed = file.index === mark.index && file.term === mark.term;
    const isOlder = file.index < mark.index && !entries.isEmpty;
    if (!isNamed && !(isOlder && entries.firstIndex <= file.index + 1)) {
      if (file.index >= mark.index) await disk.remove(file.path);
      continue;
    }
    try {
      return { ...(await readSnapshotFile(disk, file)), file };
    } catch (error) {
      problem ??= error;
    }
  }
  throw problem ?? corruptLog(log.end, `snapshot ${mark.index} of term ${mark.term} is missing`);
}

/** Finds what was lost without a trace in the frames: a file that is gone, or a cut too deep. */
export function assertComplete(
  { entries, hardState, mark, snapshotIndex }: LogState,
  log: SegmentLog,
): void {
  const { firstIndex, lastIndex } = entries;
  if (firstIndex > (snapshotIndex ?? 0) + 1) {
    const problem = `the entries from ${(snapshotIndex ?? 0) + 1} to ${firstIndex - 1} are missing`;
    throw corruptLog(log.end, problem);
  }
  const mustReach = Math.max(hardState.commitIndex, mark?.index ?? 0);
  if (lastIndex < mustReach) {
    const problem = `the log ends at entry ${lastIndex}, but entry ${mustReach} was committed`;
    throw corruptLog(log.end, problem);
  }
}
