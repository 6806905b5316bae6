import { crc32 } from "node:zlib";
import type { ClusterEvent } from "../event.ts";
import { readEvent } from "../event-codec.ts";
import type { Gap, JournalFile } from "../journal-limits.ts";

/** One line of a journal's file. */
export type JournalRecord =
  | { readonly kind: "event"; readonly event: ClusterEvent }
  /** At the beginning of a file: what those before it hold, so that they need not be read. */
  | { readonly kind: "summary"; readonly summary: JournalSummary }
  /** All agreed events up to this index of the log are here, as far as they are kept. */
  | { readonly kind: "mark"; readonly index: number }
  | { readonly kind: "gap"; readonly gap: Gap };

export type JournalSummary = {
  readonly files: readonly JournalFile[];
  readonly head: number;
  readonly lastIndex: number;
  readonly gaps: readonly Gap[];
};

/** `CHECKSUM JSON`, so that a line that was torn or damaged is known by itself. */
export function encodeLine(record: JournalRecord): string {
  const text = JSON.stringify(record);
  return `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`;
}

/** Undefined for a line that is damaged, or that a newer daemon wrote. */
export function decodeLine(line: string): JournalRecord | undefined {
  const text = line.slice(9);
  if (line[8] !== " " || crc32(text) !== Number.parseInt(line.slice(0, 8), 16)) return undefined;
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || !("kind" in value)) return undefined;
  if (value.kind === "event" && "event" in value) {
    const event = readEvent(value.event);
    return event === undefined ? undefined : { kind: "event", event };
  }
  // The checksum says that this daemon or an earlier one wrote it.
  const isKnown = value.kind === "mark" || value.kind === "gap" || value.kind === "summary";
  return isKnown ? (value as JournalRecord) : undefined;
}
