import type { Entry } from "../log-storage.ts";
import { sizeOf } from "../raft-log.ts";
import type { RecordPosition } from "./segment-scan.ts";

export type IndexedEntry = { readonly term: number; readonly position: RecordPosition };

/** Where every entry of the log is, and the newest entries themselves up to a number of bytes. */
export class EntryIndex {
  readonly #maxTailBytes: number;
  #firstIndex = 1;
  #positions: IndexedEntry[] = [];
  /** The end of the log, or a piece just before it while entries are only read from disk. */
  #tail: Entry[] = [];
  #tailBytes = 0;

  constructor({ maxTailBytes }: { readonly maxTailBytes: number }) {
    this.#maxTailBytes = maxTailBytes;
  }

  get firstIndex(): number {
    return this.#firstIndex;
  }

  get lastIndex(): number {
    return this.#firstIndex + this.#positions.length - 1;
  }

  get isEmpty(): boolean {
    return this.#positions.length === 0;
  }

  at(index: number): IndexedEntry | undefined {
    return this.#positions[index - this.#firstIndex];
  }

  /** The entry itself, where it is still in memory. */
  recent(index: number): Entry | undefined {
    const firstRecent = this.#tail[0];
    return firstRecent === undefined ? undefined : this.#tail[index - firstRecent.index];
  }

  /** Notes one entry. It supersedes those at and after its index. */
  note({ index, term }: Entry, position: RecordPosition): void {
    if (index < this.#firstIndex || this.isEmpty) this.clear({ nextIndex: index });
    const before = index - this.#firstIndex;
    if (this.#positions.length > before) this.#positions.length = before;
    this.#positions.push({ term, position });
    const firstRecent = this.#tail[0];
    if (firstRecent !== undefined && index <= firstRecent.index + this.#tail.length - 1) {
      this.#cutTail(Math.max(0, index - firstRecent.index));
    }
  }

  /** Keeps in memory an entry that was noted last. */
  remember(entry: Entry): void {
    this.#tail.push(entry);
    this.#tailBytes += sizeOf(entry);
    if (this.#tailBytes <= this.#maxTailBytes) return;
    // Down to half at once, so that the array is not moved for every entry.
    let count = 0;
    for (const old of this.#tail) {
      if (this.#tailBytes <= this.#maxTailBytes / 2) break;
      this.#tailBytes -= sizeOf(old);
      count += 1;
    }
    this.#tail.splice(0, count);
  }

  /** Forgets everything; the log goes on at `nextIndex`. */
  clear({ nextIndex }: { readonly nextIndex: number }): void {
    this.#positions = [];
    this.#firstIndex = nextIndex;
    this.#tail = [];
    this.#tailBytes = 0;
  }

  /** Forgets the entries up to `index`. */
  dropUpTo(index: number): void {
    const count = Math.min(index - this.#firstIndex + 1, this.#positions.length);
    if (count <= 0) return;
    this.#positions.splice(0, count);
    this.#firstIndex += count;
  }

  #cutTail(length: number): void {
    for (const entry of this.#tail.slice(length)) this.#tailBytes -= sizeOf(entry);
    this.#tail.length = length;
  }
}
