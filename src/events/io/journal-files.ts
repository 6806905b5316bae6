import { readdir, readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { decodeLine, type JournalRecord } from "./journal-line.ts";

const namePattern = /^(\d{8})\.events$/;
/** So many lines are read at a time, that the daemon is not held up by a long history. */
const linesAtOnce = 100;
const newline = 0x0a;

/** The numbers of a journal's files, the oldest first. */
export async function fileNumbers(directory: string): Promise<readonly number[]> {
  const numbers = (await readdir(directory)).flatMap((name) => {
    const match = namePattern.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
  return numbers.sort((a, b) => a - b);
}

export function filePath(directory: string, number: number): string {
  return join(directory, `${String(number).padStart(8, "0")}.events`);
}

/** The lines of a file in parcels; undefined stands for one that is damaged. */
export async function* readRecords(
  path: string,
): AsyncIterable<readonly (JournalRecord | undefined)[]> {
  const data = await readFile(path);
  let parcel: (JournalRecord | undefined)[] = [];
  let from = 0;
  // What follows the last end of a line is being written, or never was.
  for (let end = data.indexOf(newline); end >= 0; end = data.indexOf(newline, from)) {
    parcel.push(readLine(data.toString("utf8", from, end)));
    from = end + 1;
    if (parcel.length < linesAtOnce) continue;
    yield parcel;
    parcel = [];
    await setImmediate();
  }
  yield parcel;
}

/** Takes away what follows the last end of a line: it was never finished. */
export async function cutTornTail(path: string): Promise<void> {
  const data = await readFile(path);
  const wholeBytes = data.lastIndexOf(newline) + 1;
  if (wholeBytes < data.byteLength) await truncate(path, wholeBytes);
}

function readLine(line: string): JournalRecord | undefined {
  try {
    return decodeLine(line);
  } catch {
    return undefined;
  }
}
