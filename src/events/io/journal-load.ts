import { mkdir, stat } from "node:fs/promises";
import type { Logger } from "../../kernel/index.ts";
import type { Gap, JournalFile } from "../journal-limits.ts";
import { cutTornTail, fileNumbers, filePath, readRecords } from "./journal-files.ts";
import type { JournalRecord, JournalSummary } from "./journal-line.ts";

/** What a journal has to know of its files before it goes on with them. */
export async function loadJournal(directory: string, logger: Logger): Promise<JournalSummary> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const numbers = await fileNumbers(directory);
  const last = numbers.at(-1);
  // Before it is read: what was not finished counts as not written.
  if (last !== undefined) await cutTornTail(filePath(directory, last));
  const found = new Found();
  let files: readonly JournalFile[] = [];
  // Back to the newest file that tells what those before it hold.
  for (const number of numbers.toReversed()) {
    const path = filePath(directory, number);
    const { size: bytes } = await stat(path);
    const file: JournalFile = { number, bytes, events: 0, newestMs: 0 };
    files = [file, ...files];
    let damaged = 0;
    let summary: JournalSummary | undefined;
    for await (const records of readRecords(path)) {
      for (const record of records) {
        if (record === undefined) damaged += 1;
        else found.note(record);
        if (record?.kind === "event") noteEvent(file, record.event.timeMs);
        if (record?.kind === "summary") summary = record.summary;
      }
    }
    if (damaged > 0) logger.warn({ path, damaged }, "damaged events left out");
    if (summary === undefined) continue;
    files = [...summary.files.filter((each) => numbers.includes(each.number)), ...files];
    break;
  }
  const { head, lastIndex, gaps } = found;
  return { files, head, lastIndex, gaps: gaps.toSorted((a, b) => a.from - b.from) };
}

/** Notes an event that was written to a file. */
export function noteEvent(file: JournalFile, atMs: number): void {
  file.events += 1;
  file.newestMs = Math.max(file.newestMs, atMs);
}

/** What the records that were read say, in whichever order. */
class Found {
  head = 0;
  lastIndex = 0;
  readonly gaps: Gap[] = [];

  note(record: JournalRecord): void {
    switch (record.kind) {
      case "event": {
        const { by, index, sequence } = record.event;
        if (by === "log") this.#noteIndex(index);
        else this.#noteHead(sequence);
        break;
      }
      case "mark":
        this.#noteIndex(record.index);
        break;
      case "gap":
        this.#noteGap(record.gap);
        break;
      case "summary": {
        const { head, lastIndex, gaps } = record.summary;
        this.#noteIndex(lastIndex);
        this.#noteHead(head);
        for (const gap of gaps) this.#noteGap(gap);
        break;
      }
    }
  }

  #noteIndex(index: number): void {
    this.lastIndex = Math.max(this.lastIndex, index);
  }

  #noteHead(sequence: number): void {
    this.head = Math.max(this.head, sequence);
  }

  #noteGap(gap: Gap): void {
    const isKnown = this.gaps.some(({ from, to }) => from === gap.from && to === gap.to);
    if (!isKnown) this.gaps.push(gap);
  }
}
