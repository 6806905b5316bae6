import { type FileHandle, open, rm } from "node:fs/promises";
import {
  Cell,
  type Clock,
  codeOf,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
} from "../../kernel/index.ts";
import { type ClusterEvent, clusterObject, type EventDraft, eventOf } from "../event.ts";
import {
  defaultJournalLimits,
  filesToDrop,
  type Gap,
  type JournalFile,
  type JournalLimits,
} from "../journal-limits.ts";
import { filePath, readRecords } from "./journal-files.ts";
import { encodeLine, type JournalRecord } from "./journal-line.ts";
import { loadJournal, noteEvent } from "./journal-load.ts";

export type EventJournalOptions = {
  readonly directory: string;
  readonly self: NodeId;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: JournalLimits;
};

/** A line to be written; `atMs` where it is an event. */
type Waiting = { readonly line: string; readonly atMs?: number };

/** Opens what is kept in a directory; what was torn at the end by a crash is cut off. */
export async function openEventJournal(options: EventJournalOptions): Promise<EventJournal> {
  const journal = new EventJournal(options);
  await journal.open();
  return journal;
}

/**
 * The events that this node keeps: the agreed ones, which every node has, and those that it saw
 * itself. On disk in a few files of lines, the oldest of which go. Losing some is no fault
 * that stops a daemon: a disk that fails is logged, and the last ones stay at hand.
 */
export class EventJournal implements AsyncDisposable {
  readonly #options: EventJournalOptions;
  readonly #limits: JournalLimits;
  readonly #head = new Cell(0);
  readonly #position = new Cell(0);
  #files: JournalFile[] = [];
  #handle: FileHandle | undefined;
  #recent: ClusterEvent[] = [];
  #gaps: Gap[] = [];
  #lastIndex = 0;
  #headAtOpen = 0;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #lost = 0;
  #writing: Promise<void> | undefined;

  constructor(options: EventJournalOptions) {
    this.#options = options;
    this.#limits = options.limits ?? defaultJournalLimits;
  }

  /** Up to here nothing of the log need be told again. */
  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** The number of the last event that this node saw itself. */
  get head(): ReadableCell<number> {
    return this.#head;
  }

  /** How many events were added since it was opened. */
  get position(): ReadableCell<number> {
    return this.#position;
  }

  get gaps(): readonly Gap[] {
    return this.#gaps;
  }

  async open(): Promise<void> {
    const { directory, logger } = this.#options;
    const { files, head, lastIndex, gaps } = await loadJournal(directory, logger);
    this.#files = [...files];
    this.#head.set(head);
    this.#headAtOpen = head;
    this.#lastIndex = lastIndex;
    this.#gaps = gaps.slice(-this.#limits.maxGaps);
    await this.#dropOld();
  }

  /** Keeps events of the log. Those of one entry come together, in the order of the log. */
  record(events: readonly ClusterEvent[]): void {
    for (const event of events) this.#add(event);
  }

  /** Keeps what this node saw; `index`: how far it had applied the log. */
  observe(drafts: readonly EventDraft[], { index }: { readonly index: number }): void {
    if (drafts.length === 0) return;
    const { self, clock } = this.#options;
    const timeMs = clock.now();
    let sequence = this.#head.get();
    for (const draft of drafts) {
      // By the clock, so that no number is given twice when the last ones were lost in a crash.
      sequence = Math.max(sequence + 1, timeMs);
      this.#add(eventOf(draft, { by: self, sequence, index, timeMs }));
    }
    this.#head.set(sequence);
  }

  /** Notes that all events up to `index` of the log were recorded. */
  mark(index: number): void {
    if (index <= this.#lastIndex) return;
    this.#lastIndex = index;
    this.#write({ kind: "mark", index });
  }

  /** Notes that the state leapt to `index`: the events before it are to be had from others. */
  leap(index: number): void {
    if (index <= this.#lastIndex) return;
    const gap = { from: this.#lastIndex + 1, to: index, atMs: this.#options.clock.now() };
    this.#gaps = [...this.#gaps, gap].slice(-this.#limits.maxGaps);
    this.#write({ kind: "gap", gap });
    this.mark(index);
  }

  /** What was added after a position; undefined when not all of it is at hand any more. */
  after(position: number): readonly ClusterEvent[] | undefined {
    const count = this.#position.get() - position;
    if (count <= 0) return [];
    return count > this.#recent.length ? undefined : this.#recent.slice(-count);
  }

  /** What this node saw after its event of that number; undefined when not all is at hand. */
  seenAfter(sequence: number): readonly ClusterEvent[] | undefined {
    if (sequence >= this.#head.get()) return [];
    const own = this.#recent.filter(({ by }) => by !== "log");
    const reachesBack = (own[0]?.sequence ?? sequence + 1) <= sequence;
    // Nothing was dropped from it yet, and what was before it opened is not asked for.
    const isWhole = this.#recent.length === this.#position.get() && sequence >= this.#headAtOpen;
    if (!reachesBack && !isWhole) return undefined;
    return own.filter((event) => event.sequence > sequence);
  }

  /**
   * Everything that is kept and not older than that, the newest file first: `isEnough` is asked
   * before each older one.
   */
  async *read(
    sinceMs: number,
    options: { readonly isEnough?: () => boolean; readonly signal: AbortSignal },
  ): AsyncIterable<ClusterEvent> {
    const { isEnough, signal } = options;
    await this.flushed();
    for (const [position, file] of this.#files.toReversed().entries()) {
      if (file.newestMs < sinceMs) continue;
      if (position > 0 && isEnough?.()) return;
      for await (const records of this.#records(file.number)) {
        signal.throwIfAborted();
        for (const record of records) {
          if (record?.kind === "event" && record.event.timeMs >= sinceMs) yield record.event;
        }
      }
    }
  }

  /** Resolves once what was added so far is written, or could not be. */
  async flushed(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flushed();
    await this.#handle?.close();
    this.#handle = undefined;
  }

  #add(event: ClusterEvent): void {
    if (event.by === "log") this.#lastIndex = Math.max(this.#lastIndex, event.index);
    this.#write({ kind: "event", event });
    this.#recent.push(event);
    // In steps: cutting one off at every event would copy all of them each time.
    const { recentEvents } = this.#limits;
    if (this.#recent.length > 2 * recentEvents) this.#recent = this.#recent.slice(-recentEvents);
    this.#position.set(this.#position.get() + 1);
  }

  #write(record: JournalRecord): void {
    const line = encodeLine(record);
    if (this.#waitingBytes + line.length > this.#limits.maxWaitingBytes) {
      this.#lost += 1;
      return;
    }
    this.#waiting.push(record.kind === "event" ? { line, atMs: record.event.timeMs } : { line });
    this.#waitingBytes += line.length;
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Writes what waits, all that has gathered at a time. Never rejects. */
  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting.splice(0);
      this.#waitingBytes = 0;
      try {
        await this.#append(waiting);
      } catch (error) {
        this.#lost += waiting.length;
        this.#options.logger.warn({ error: messageOf(error) }, "events could not be written");
        await this.#handle?.close().catch(() => undefined);
        this.#handle = undefined;
        return;
      }
      // Not before there is room for it.
      if (this.#lost > 0 && this.#waiting.length === 0) this.#tellLoss();
    }
  }

  async #append(waiting: readonly Waiting[]): Promise<void> {
    const file = this.#current();
    this.#handle ??= await open(this.#pathOf(file.number), "a", 0o600);
    const text = waiting.map(({ line }) => line).join("");
    await this.#handle.appendFile(text);
    file.bytes += Buffer.byteLength(text);
    for (const { atMs } of waiting) if (atMs !== undefined) noteEvent(file, atMs);
    if (file.bytes >= this.#limits.fileBytes) await this.#beginFile(file.number + 1);
  }

  #tellLoss(): void {
    const message = `${this.#lost} events could not be written down.`;
    this.#lost = 0;
    this.observe([{ reason: "EventsLost", object: clusterObject, message }], {
      index: this.#lastIndex,
    });
  }

  #current(): JournalFile {
    const last = this.#files.at(-1);
    if (last !== undefined) return last;
    const first: JournalFile = { number: 1, bytes: 0, events: 0, newestMs: 0 };
    this.#files.push(first);
    return first;
  }

  async #beginFile(number: number): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
    this.#files.push({ number, bytes: 0, events: 0, newestMs: 0 });
    await this.#dropOld();
    const files = this.#files.slice(0, -1);
    const [head, lastIndex, gaps] = [this.#head.get(), this.#lastIndex, this.#gaps];
    this.#write({ kind: "summary", summary: { files, head, lastIndex, gaps } });
  }

  async #dropOld(): Promise<void> {
    const now = this.#options.clock.now();
    this.#gaps = this.#gaps.filter(({ atMs }) => atMs >= now - this.#limits.keepMs);
    const dropped = filesToDrop(this.#files, this.#limits, now);
    this.#files = this.#files.filter((file) => !dropped.includes(file));
    for (const { number } of dropped) await rm(this.#pathOf(number), { force: true });
  }

  /** The lines of a file; none where it was dropped meanwhile, or cannot be read. */
  async *#records(number: number): ReturnType<typeof readRecords> {
    try {
      yield* readRecords(this.#pathOf(number));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return;
      this.#options.logger.warn({ error: messageOf(error) }, "events could not be read");
    }
  }

  #pathOf(number: number): string {
    return filePath(this.#options.directory, number);
  }
}
