import { fstatSync, ftruncateSync } from "node:fs";
import { type FileHandle, open, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type Clock, codeOf, type Wakeup } from "../../kernel/index.ts";
import type { LogLine, LogOptions } from "../container-runtime.ts";
import { LineReader } from "./process-log-reader.ts";
import { readIfPresent } from "./process-supervisor.ts";

/** Two of these are kept: the present one and the one before. */
const maxLogBytes = 4 * 1024 * 1024;
/** A raw file that has been read to its end is emptied when it is longer and nothing is written, */
const emptyBytes = 1024 * 1024;
const emptyIdleMs = 200;
/** or in any case when it is longer than this. */
const emptyBusyBytes = 8 * 1024 * 1024;
/** What piled up beyond this (the daemon was down for long) is dropped, and the log says so. */
const maxBacklogBytes = 16 * 1024 * 1024;
const chunkBytes = 64 * 1024;
/** Between two looks at a program that prints without pause; the delay of a followed log. */
const pauseMs = 20;
const resyncMs = 1_000;

const streams = ["stdout", "stderr"] as const;
const offsetsSchema = z.object({
  stdout: z.number().int().nonnegative(),
  stderr: z.number().int().nonnegative(),
});

/**
 * The log of one container: takes what the program has appended to its raw output files,
 * gives each line the time at which it was found, and keeps a bounded, rotated log.
 *
 * The raw files are emptied in place when they have been read, like logrotate's
 * copytruncate, if possible while nothing is written: a line of the very moment would be lost. After a crash of the daemon
 * the lines of one look may appear twice. Lines from while it was down get the time at which
 * it came back.
 */
export class ProcessLog {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #offsets = { stdout: 0, stderr: 0 };
  readonly #followers = new Set<Wakeup>();
  #isLoaded = false;
  #isFinishing = false;
  #isFinished = false;
  #generation = 0;
  #work: Promise<void> = Promise.resolve();
  #isCollecting = false;
  #isDirty = false;

  constructor(folder: string, clock: Clock, signal: AbortSignal) {
    this.#folder = folder;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Something may have been printed. Any number of calls at a time cause at most one more look. */
  touch(): void {
    this.#isDirty = true;
    if (this.#isCollecting || this.#isFinishing) return;
    this.#isCollecting = true;
    this.#work = this.#collectWhileDirty();
    this.#work.catch(() => undefined); // Whoever reads the log is told.
  }

  /** Resolves when everything that had been printed before the call is in the log. */
  async collect(): Promise<void> {
    this.touch();
    await this.#work;
  }

  /** The program has ended: takes the rest, also a line without an end, and lets followers go. */
  async finish(): Promise<void> {
    if (this.#isFinishing) return;
    try {
      await this.collect();
      this.#isFinishing = true;
      await this.#collectOnce({ isLast: true });
    } finally {
      this.#isFinishing = true;
      this.#isFinished = true;
      this.#wake();
    }
  }

  /** For a container that is gone: followers end without another look at its files. */
  abandon(): void {
    this.#isFinishing = true;
    this.#isFinished = true;
    this.#wake();
  }

  async *read(
    { follow, tail, signal }: LogOptions,
    makeWakeup: () => Wakeup,
  ): AsyncGenerator<LogLine> {
    if (signal.aborted) return;
    await this.collect();
    const wakeup = makeWakeup();
    this.#followers.add(wakeup);
    let { reader, generation } = await this.#openNewest();
    try {
      yield* await this.#firstLines(reader, tail);
      while (!signal.aborted) {
        wakeup.reset(); // Before the look: what is written during it must not be missed.
        const isLastLook = this.#isFinished;
        const newest = this.#generation;
        for (const line of await reader.readLines()) {
          if (signal.aborted) return;
          yield line;
        }
        if (!reader.isAtEnd) continue;
        if (generation !== newest) {
          // It was rotated away before the look, so nothing can follow in it. Who reads more
          // slowly than two rotations come skips what is between.
          await reader.close();
          ({ reader, generation } = await this.#openNewest());
        } else if (!follow || isLastLook) {
          return;
        } else {
          await wakeup.wait(this.#clock, { atMostMs: resyncMs, signal });
        }
      }
    } finally {
      this.#followers.delete(wakeup);
      await reader.close();
    }
  }

  async #openNewest(): Promise<{ readonly reader: LineReader; readonly generation: number }> {
    for (;;) {
      const generation = this.#generation;
      const reader = await LineReader.open(join(this.#folder, "log"));
      if (generation === this.#generation) return { reader, generation };
      await reader.close(); // Rotated in between: which of the two it is cannot be known.
    }
  }

  /** The log before the last rotation, and what of the present one belongs to the tail. */
  async #firstLines(reader: LineReader, tail: number | undefined): Promise<readonly LogLine[]> {
    const previous = await LineReader.open(join(this.#folder, "log.1"));
    // The same file when the rotation came between the two openings.
    const older = previous.inode === reader.inode ? [] : await previous.readAll();
    await previous.close();
    const lines = older.concat(await reader.readAll());
    return tail === undefined ? lines : lines.slice(Math.max(0, lines.length - tail));
  }

  async #collectWhileDirty(): Promise<void> {
    try {
      while (this.#isDirty && !this.#isFinishing) {
        this.#isDirty = false;
        await this.#collectOnce({ isLast: false });
        if (!this.#isDirty) break;
        await this.#clock.sleep(pauseMs, { signal: this.#signal }).catch(() => undefined);
        if (this.#signal.aborted) return;
      }
    } catch (error) {
      // Removed by somebody: its monitor notices as well, and ends this.
      if (codeOf(error) !== "ENOENT") throw error;
    } finally {
      this.#isCollecting = false;
    }
  }

  async #collectOnce({ isLast }: { readonly isLast: boolean }): Promise<void> {
    if (!this.#isLoaded) await this.#load();
    for (const stream of streams) {
      await using file = await openIfPresent(join(this.#folder, stream));
      if (file !== undefined) await this.#collectStream(stream, file, { isLast });
    }
  }

  async #load(): Promise<void> {
    const text = await readIfPresent(join(this.#folder, "offsets.json"));
    if (text !== undefined) Object.assign(this.#offsets, offsetsSchema.parse(JSON.parse(text)));
    this.#isLoaded = true;
  }

  async #collectStream(
    stream: LogLine["stream"],
    file: FileHandle,
    { isLast }: { readonly isLast: boolean },
  ): Promise<void> {
    const { size } = await file.stat();
    if (size < this.#offsets[stream]) this.#offsets[stream] = 0; // It was emptied.
    const backlogBytes = size - this.#offsets[stream];
    if (backlogBytes > maxBacklogBytes) {
      await this.#append(stream, [`[${backlogBytes} bytes of output were dropped]`]);
      this.#offsets[stream] = size;
    }
    const buffer = Buffer.allocUnsafe(chunkBytes);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, chunkBytes, this.#offsets[stream]);
      const chunk = buffer.subarray(0, bytesRead);
      const newline = chunk.lastIndexOf(10);
      // A line without an end waits for it, unless it fills the buffer or nothing comes any more.
      const isCut = newline < 0 && (bytesRead === chunkBytes || isLast);
      const usedBytes = isCut ? bytesRead : newline + 1;
      if (usedBytes === 0 && !(isLast && bytesRead > 0)) break;
      const lines = chunk.toString("utf8", 0, usedBytes).replace(/\n$/, "").split("\n");
      await this.#append(stream, lines);
      this.#offsets[stream] += usedBytes;
      await this.#saveOffsets();
    }
    await this.#emptyWhenRead(stream, file);
  }

  async #emptyWhenRead(stream: LogLine["stream"], file: FileHandle): Promise<void> {
    const offset = this.#offsets[stream];
    if (offset < emptyBytes) return;
    // Synchronous, so that as little as possible can be written between look and deed.
    const { size, mtimeMs } = fstatSync(file.fd);
    const isIdle = this.#clock.now() - mtimeMs > emptyIdleMs;
    if (size !== offset || !(isIdle || size > emptyBusyBytes)) return;
    ftruncateSync(file.fd, 0);
    this.#offsets[stream] = 0;
    await this.#saveOffsets();
  }

  async #append(stream: LogLine["stream"], texts: readonly string[]): Promise<void> {
    const path = join(this.#folder, "log");
    const front = `${Math.round(this.#clock.now())} ${stream === "stdout" ? "o" : "e"} `;
    const lines = texts.map((text) => `${front}${text}\n`).join("");
    await writeFile(path, lines, { flag: "a", mode: 0o600 });
    if ((await stat(path)).size > maxLogBytes) {
      await rename(path, join(this.#folder, "log.1"));
      this.#generation += 1;
    }
    this.#wake();
  }

  async #saveOffsets(): Promise<void> {
    const path = join(this.#folder, "offsets.json");
    await writeFile(`${path}.new`, JSON.stringify(this.#offsets));
    await rename(`${path}.new`, path);
  }

  #wake(): void {
    for (const wakeup of this.#followers) wakeup.wake();
  }
}

async function openIfPresent(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r+");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
