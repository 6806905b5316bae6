import { decodeConfiguration } from "./configuration.ts";
import { type Entry, type EntryId, maxLogNumber } from "./log-storage.ts";
import { RaftError } from "./raft-error.ts";

const maxEntries = 65_536;
const kinds: readonly unknown[] = ["normal", "configuration", "empty"] satisfies Entry["kind"][];

/** An entry as peers send it. */
export function entryToWire({ kind, index, term, data }: Entry): readonly unknown[] {
  return [kind, index, term, data];
}

/**
 * Reads the entries of a frame, which may be tens of thousands, and ends at the first that is
 * wrong: to describe them all would take longer than to read as many good ones.
 * @throws RaftError `malformed_message`
 */
export function parseEntries(value: unknown): readonly Entry[] {
  if (!Array.isArray(value) || value.length > maxEntries) {
    throw new RaftError("malformed_message", `A peer sent no list of up to ${maxEntries} entries.`);
  }
  return value.map(parseEntry);
}

function parseEntry(value: unknown): Entry {
  if (Array.isArray(value) && value.length === 4) {
    const [kind, index, term, data]: readonly unknown[] = value;
    if (isKind(kind) && isPosition(index) && isPosition(term) && data instanceof Uint8Array) {
      return { kind, index, term, data };
    }
  }
  throw new RaftError("malformed_message", "A peer sent an entry that is none.");
}

/** The log relies on entries that follow each other and on configurations that can be read. */
export function assertEntriesFollow(
  previous: EntryId,
  entries: readonly Entry[],
  { maxTerm }: { readonly maxTerm: number },
): void {
  let { index, term } = previous;
  for (const entry of entries) {
    if (entry.index !== index + 1 || entry.term < term || entry.term > maxTerm) {
      throw new RaftError("malformed_message", `Entry ${entry.index} does not follow ${index}.`);
    }
    if (entry.kind === "configuration") decodeConfiguration(entry.data);
    ({ index, term } = entry);
  }
}

function isKind(value: unknown): value is Entry["kind"] {
  return kinds.includes(value);
}

function isPosition(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= maxLogNumber;
}
