import { type FileHandle, open } from "node:fs/promises";
import { codeOf } from "../../kernel/index.ts";
import type { LogLine } from "../container-runtime.ts";

const chunkBytes = 64 * 1024;
const linePattern = /^(\d+) ([oe]) (.*)$/s;

/** Reads a log file line by line, also while it grows, and after it has been renamed. */
export class LineReader {
  readonly #path: string;
  #file: FileHandle | undefined;
  #inode: number | undefined;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);
  #isAtEnd = false;

  private constructor(path: string) {
    this.#path = path;
  }

  /** A file that does not exist (yet) reads as empty. */
  static async open(path: string): Promise<LineReader> {
    const reader = new LineReader(path);
    await reader.#openFile();
    return reader;
  }

  /** Tells whether two paths were the same file. */
  get inode(): number | undefined {
    return this.#inode;
  }

  /** Whether the last read came to the end of what was there. */
  get isAtEnd(): boolean {
    return this.#isAtEnd;
  }

  /** The lines of the next piece of the file. */
  async readLines(): Promise<readonly LogLine[]> {
    if (this.#file === undefined) await this.#openFile();
    const buffer = Buffer.allocUnsafe(chunkBytes);
    const bytesRead =
      this.#file === undefined
        ? 0
        : (await this.#file.read(buffer, 0, chunkBytes, this.#offset)).bytesRead;
    this.#isAtEnd = bytesRead < chunkBytes;
    this.#offset += bytesRead;
    const bytes = Buffer.concat([this.#rest, buffer.subarray(0, bytesRead)]);
    const newline = bytes.lastIndexOf(10);
    this.#rest = Buffer.from(bytes.subarray(newline + 1));
    if (newline < 0) return [];
    return bytes.toString("utf8", 0, newline).split("\n").flatMap(parseLine);
  }

  async readAll(): Promise<readonly LogLine[]> {
    const lines: LogLine[] = [];
    do lines.push(...(await this.readLines()));
    while (!this.#isAtEnd);
    return lines;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  async #openFile(): Promise<void> {
    try {
      this.#file = await open(this.#path, "r");
      this.#inode = (await this.#file.stat()).ino;
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
  }
}

function parseLine(text: string): readonly LogLine[] {
  const [, timeMs, letter, rest] = linePattern.exec(text) ?? [];
  if (timeMs === undefined || rest === undefined) return [];
  return [{ stream: letter === "e" ? "stderr" : "stdout", timeMs: Number(timeMs), text: rest }];
}
