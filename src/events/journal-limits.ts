/** What a node keeps of the history, on its disk. */
export type JournalLimits = {
  /** A file is not continued beyond this size. */
  readonly fileBytes: number;
  /** The oldest files go when there are more, however young they are: the disk is finite. */
  readonly maxFiles: number;
  readonly maxEvents: number;
  /** Older files go, unless they are being written. */
  readonly keepMs: number;
  /** What may wait to be written; more is only counted. */
  readonly maxWaitingBytes: number;
  /** The last ones are at hand without reading a file. */
  readonly recentEvents: number;
  /** Stretches of the log that this node has no events of; the newest are remembered. */
  readonly maxGaps: number;
};

export const defaultJournalLimits: JournalLimits = {
  fileBytes: 2 ** 20,
  maxFiles: 32,
  maxEvents: 100_000,
  keepMs: 3 * 86_400_000,
  maxWaitingBytes: 4 * 2 ** 20,
  recentEvents: 2_000,
  maxGaps: 32,
};

/** Entries of the log, both ends included, whose events this node does not have. */
export type Gap = { readonly from: number; readonly to: number; readonly atMs: number };

export type JournalFile = {
  readonly number: number;
  bytes: number;
  events: number;
  /** Of its newest event, wall clock, ms; 0 where there is none. */
  newestMs: number;
};

/** The oldest files that have to go, of all but the one that is being written. */
export function filesToDrop(
  files: readonly JournalFile[],
  limits: JournalLimits,
  now: number,
): readonly JournalFile[] {
  const dropped: JournalFile[] = [];
  let events = files.reduce((sum, file) => sum + file.events, 0);
  let count = files.length;
  for (const file of files.slice(0, -1)) {
    const isTooMuch = count > limits.maxFiles || events > limits.maxEvents;
    if (!isTooMuch && file.newestMs >= now - limits.keepMs) break;
    dropped.push(file);
    events -= file.events;
    count -= 1;
  }
  return dropped;
}
