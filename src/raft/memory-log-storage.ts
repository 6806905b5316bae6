import { assert } from "../kernel/index.ts";
import type { Entry, HardState, LogStorage, SnapshotMeta } from "./log-storage.ts";
import { type Snapshot, sizeOf } from "./raft-log.ts";

export type SaveBatch = {
  readonly hardState?: HardState;
  readonly entries: readonly Entry[];
};

/**
 * A log that lives as long as the process, for tests and the simulator. The `…Now` methods
 * write synchronously, so that a simulator decides itself when a write becomes durable.
 */
export class MemoryLogStorage implements LogStorage {
  #hardState: HardState = { term: 0, vote: undefined, commitIndex: 0 };
  /** Index of `#entries[0]`. */
  #firstIndex = 1;
  #entries: Entry[] = [];
  #snapshot: Snapshot | undefined;

  hardState(): HardState {
    return this.#hardState;
  }

  firstIndex(): number {
    return this.#firstIndex;
  }

  lastIndex(): number {
    return this.#firstIndex + this.#entries.length - 1;
  }

  term(index: number): number | undefined {
    if (index === this.#snapshot?.meta.index) return this.#snapshot.meta.term;
    return this.#entries[index - this.#firstIndex]?.term;
  }

  entries({
    from,
    to,
    maxBytes,
  }: {
    readonly from: number;
    readonly to: number;
    readonly maxBytes: number;
  }): readonly Entry[] {
    assert(from >= this.#firstIndex, "entries are read only where they are not compacted");
    const result: Entry[] = [];
    let bytes = 0;
    for (let index = from; index <= to; index += 1) {
      const entry = this.#entries[index - this.#firstIndex];
      if (entry === undefined) break;
      bytes += sizeOf(entry);
      if (bytes > maxBytes && result.length > 0) break;
      result.push(entry);
    }
    return result;
  }

  snapshotMeta(): SnapshotMeta | undefined {
    return this.#snapshot?.meta;
  }

  saveNow({ hardState, entries }: SaveBatch): void {
    if (hardState !== undefined) this.#hardState = hardState;
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index <= this.lastIndex() + 1, "entries are consecutive");
    assert(first.index >= this.#firstIndex, "compacted entries are never rewritten");
    this.#entries.length = first.index - this.#firstIndex;
    this.#entries.push(...entries);
  }

  saveSnapshotNow(meta: SnapshotMeta, data: Uint8Array): void {
    if (this.term(meta.index) !== meta.term) {
      this.#entries = [];
      this.#firstIndex = meta.index + 1;
    }
    this.#snapshot = { meta, data };
  }

  compactNow(index: number): void {
    const upTo = Math.min(index, this.#snapshot?.meta.index ?? 0);
    if (upTo < this.#firstIndex) return;
    this.#entries.splice(0, upTo - this.#firstIndex + 1);
    this.#firstIndex = upTo + 1;
  }

  snapshotNow(): Snapshot | undefined {
    return this.#snapshot;
  }

  async save(batch: SaveBatch): Promise<void> {
    this.saveNow(batch);
  }

  async saveSnapshot(meta: SnapshotMeta, data: Uint8Array): Promise<void> {
    this.saveSnapshotNow(meta, data);
  }

  async loadSnapshot(): Promise<Snapshot | undefined> {
    return this.#snapshot;
  }

  async compact(index: number): Promise<void> {
    this.compactNow(index);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing to close: a test may start another node on what this one wrote.
  }
}
