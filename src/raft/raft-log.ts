import { assert } from "../kernel/index.ts";
import type { Entry, EntryId, LogReader, SnapshotMeta } from "./log-storage.ts";

/** What an entry costs beyond its data, on the wire and on disk. */
const entryOverheadBytes = 32;

export function sizeOf(entry: Entry): number {
  return entry.data.byteLength + entryOverheadBytes;
}

export type Snapshot = { readonly meta: SnapshotMeta; readonly data: Uint8Array };

/**
 * The whole log: what is durable, read through the {@link LogReader}, and behind it the tail
 * that is not durable yet.
 *
 * Invariant: `appliedIndex <= handedOutIndex <= commitIndex <= lastIndex`. The reader may hold
 * superseded entries at and above the tail's start; they are never looked at.
 */
export class RaftLog {
  readonly #reader: LogReader;
  /** Index of `#tail[0]`; everything below it is durable. */
  #tailStart: number;
  #tail: Entry[] = [];
  #pendingSnapshot: Snapshot | undefined;
  #commitIndex: number;
  #handedOutIndex: number;
  #appliedIndex: number;

  constructor(
    reader: LogReader,
    { commitIndex, appliedIndex }: { readonly commitIndex: number; readonly appliedIndex: number },
  ) {
    this.#reader = reader;
    this.#tailStart = reader.lastIndex() + 1;
    this.#commitIndex = Math.max(commitIndex, reader.snapshotMeta()?.index ?? 0);
    assert(this.#commitIndex <= this.lastIndex, "the commit index on disk is within the log");
    assert(appliedIndex <= this.#commitIndex, "nothing is applied that is not committed");
    this.#handedOutIndex = appliedIndex;
    this.#appliedIndex = appliedIndex;
  }

  get commitIndex(): number {
    return this.#commitIndex;
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  get lastIndex(): number {
    return this.#tailStart + this.#tail.length - 1;
  }

  /** Up to here this log is on disk. */
  get stableIndex(): number {
    return this.#tailStart - 1;
  }

  get firstIndex(): number {
    const pending = this.#pendingSnapshot;
    return pending === undefined ? this.#reader.firstIndex() : pending.meta.index + 1;
  }

  get lastEntry(): EntryId {
    const index = this.lastIndex;
    return { index, term: this.term(index) ?? 0 };
  }

  /** Received from the leader and not durable yet. */
  get pendingSnapshot(): Snapshot | undefined {
    return this.#pendingSnapshot;
  }

  /** The newest one on disk: what can be sent to others. */
  get snapshotMeta(): SnapshotMeta | undefined {
    return this.#reader.snapshotMeta();
  }

  /** Undefined when the entry is compacted or absent; 0 before the first entry ever. */
  term(index: number): number | undefined {
    if (index >= this.#tailStart) return this.#tail[index - this.#tailStart]?.term;
    const pending = this.#pendingSnapshot?.meta;
    if (pending !== undefined) return index === pending.index ? pending.term : undefined;
    const meta = this.#reader.snapshotMeta();
    if (index === meta?.index) return meta.term;
    if (index === 0) return this.#reader.firstIndex() === 1 ? 0 : undefined;
    return this.#reader.term(index);
  }

  matches({ index, term }: EntryId): boolean {
    return this.term(index) === term;
  }

  /** Whether another entry is known to be there; nothing is known of compacted and absent ones. */
  differs({ index, term }: EntryId): boolean {
    const own = this.term(index);
    return own !== undefined && own !== term;
  }

  /**
   * The last index at or below `index` whose term is at most `term`: everything between
   * cannot match a log that has `term` there. `term` 0 in the answer means unknown.
   */
  lastPossibleMatch({ index, term }: EntryId): EntryId {
    for (let candidate = index; candidate > 0; candidate -= 1) {
      const candidateTerm = this.term(candidate);
      if (candidateTerm === undefined) return { index: candidate, term: 0 };
      if (candidateTerm <= term) return { index: candidate, term: candidateTerm };
    }
    return { index: 0, term: 0 };
  }

  /** Entries `from` to `to`, both included; stops after `maxBytes` but gives at least one. */
  entries({
    from,
    to,
    maxBytes,
  }: {
    readonly from: number;
    readonly to: number;
    readonly maxBytes: number;
  }): readonly Entry[] {
    const result: Entry[] = [];
    let bytes = 0;
    const stableTo = Math.min(to, this.stableIndex);
    if (from <= stableTo) {
      result.push(...this.#reader.entries({ from, to: stableTo, maxBytes }));
      if (result.length < stableTo - from + 1) return result;
      for (const entry of result) bytes += sizeOf(entry);
    }
    for (let index = Math.max(from, this.#tailStart); index <= to; index += 1) {
      const entry = this.#tail[index - this.#tailStart];
      if (entry === undefined) break;
      bytes += sizeOf(entry);
      if (bytes > maxBytes && result.length > 0) break;
      result.push(entry);
    }
    return result;
  }

  /** Adds entries; they supersede what is at and after the first one's index. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index > this.#commitIndex, "a committed entry is never superseded");
    assert(first.index <= this.lastIndex + 1, "entries are appended without a gap");
    if (first.index < this.#tailStart) {
      this.#tailStart = first.index;
      this.#tail = [];
    } else {
      this.#tail.length = first.index - this.#tailStart;
    }
    this.#tail.push(...entries);
  }

  commitTo(index: number): boolean {
    if (index <= this.#commitIndex) return false;
    assert(
      index <= this.lastIndex,
      `entry ${index} is committed with this node's acknowledgement, but its log ends at ${this.lastIndex}: ` +
        "the data directory lost entries, so remove this member, wipe it and let it join anew",
    );
    this.#commitIndex = index;
    return true;
  }

  /** Replaces the whole log by what the leader's snapshot stands for. */
  restore(snapshot: Snapshot): void {
    assert(snapshot.meta.index > this.#commitIndex, "a snapshot only moves the log forward");
    this.#pendingSnapshot = snapshot;
    this.#tail = [];
    this.#tailStart = snapshot.meta.index + 1;
    this.#commitIndex = snapshot.meta.index;
  }

  /** Everything that is not durable. */
  unstableEntries(): readonly Entry[] {
    return this.#tail.slice();
  }

  get hasUnstable(): boolean {
    return this.#tail.length > 0 || this.#pendingSnapshot !== undefined;
  }

  /** Records a finished write. Entries that were superseded meanwhile stay unstable. */
  persisted({
    entries,
    snapshot,
  }: {
    readonly entries: readonly Entry[];
    readonly snapshot: Snapshot | undefined;
  }): void {
    if (snapshot !== undefined) {
      this.#handedOutIndex = Math.max(this.#handedOutIndex, snapshot.meta.index);
      this.#appliedIndex = Math.max(this.#appliedIndex, snapshot.meta.index);
      if (this.#pendingSnapshot === snapshot) this.#pendingSnapshot = undefined;
    }
    // A newer snapshot will replace whatever was written.
    if (this.#pendingSnapshot !== undefined) return;
    const written = entries.findLast(
      ({ index, term }) => index >= this.#tailStart && this.term(index) === term,
    );
    if (written === undefined) return;
    this.#tail.splice(0, written.index - this.#tailStart + 1);
    this.#tailStart = written.index + 1;
  }

  /** The next committed entries to apply, each handed out once and only when durable here. */
  takeCommitted(maxBytes: number): readonly Entry[] {
    const to = Math.min(this.#commitIndex, this.stableIndex);
    if (this.#pendingSnapshot !== undefined || this.#handedOutIndex >= to) return [];
    const entries = this.entries({ from: this.#handedOutIndex + 1, to, maxBytes });
    this.#handedOutIndex += entries.length;
    return entries;
  }

  applied(index: number): void {
    assert(index <= this.#handedOutIndex, "only entries that were handed out are applied");
    this.#appliedIndex = Math.max(this.#appliedIndex, index);
  }
}
