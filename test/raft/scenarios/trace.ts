import { decodeConfiguration } from "../../../src/raft/configuration.ts";
import type { Configuration, Entry, EntryId, HardState } from "../../../src/raft/index.ts";
import type { Message } from "../../../src/raft/message.ts";
import type { Persist } from "../../../src/raft/ready.ts";

/** How the things of the protocol read in a trace: short, and the same every time. */

const longestText = 16;

export function showId({ index, term }: EntryId): string {
  return `${index}@${term}`;
}

/** `1,2,3`, with `|1,2` for the outgoing half, `+4` for learners and `>2` for learners to be. */
export function showConfiguration({
  voters,
  votersOutgoing,
  learners,
  learnersNext,
}: Configuration): string {
  const outgoing = votersOutgoing.length === 0 ? "" : `|${votersOutgoing.join(",")}`;
  const added = learners.length === 0 ? "" : ` +${learners.join(",")}`;
  const demoted = learnersNext.length === 0 ? "" : ` >${learnersNext.join(",")}`;
  return `{${voters.join(",")}${outgoing}${added}${demoted}}`;
}

export function showEntry(entry: Entry): string {
  if (entry.kind === "empty") return `${showId(entry)} empty`;
  if (entry.kind === "configuration") {
    return `${showId(entry)} ${showConfiguration(decodeConfiguration(entry.data))}`;
  }
  const text = Buffer.from(entry.data).toString();
  const isLong = text.length > longestText;
  const shown = isLong ? `${text.slice(0, 1)}...(${text.length} bytes)` : text;
  return `${showId(entry)} ${shown}`;
}

export function showEntries(entries: readonly Entry[]): string {
  return `[${entries.map(showEntry).join(", ")}]`;
}

export function showMessage(message: Message): string {
  return `${message.kind} term=${message.term} ${showBody(message)}`.trimEnd();
}

function showBody(message: Message): string {
  switch (message.kind) {
    case "pre_vote_request":
      return `last=${showId(message.lastEntry)}`;
    case "vote_request":
      return `last=${showId(message.lastEntry)}${message.isTransfer ? " transfer" : ""}`;
    case "pre_vote_response":
    case "vote_response":
      return message.isGranted ? "granted" : "refused";
    case "append_request": {
      const { previous, entries, commitIndex } = message;
      return `after=${showId(previous)} ${showEntries(entries)} commit=${commitIndex}`;
    }
    case "append_accepted":
      return `match=${message.matchIndex}`;
    case "append_rejected":
      return `rejected=${message.rejectedIndex} hint=${showId(message.hint)}`;
    case "heartbeat":
      return `commit=${message.commitIndex}${showContext(message.readContext)}`;
    case "heartbeat_response":
      return showContext(message.readContext).trimStart();
    case "snapshot_request":
      return `at=${showId(message.meta)} ${showConfiguration(message.meta.configuration)}`;
    case "timeout_now":
      return "";
    default:
      return message satisfies never;
  }
}

function showContext(context: number): string {
  return context === 0 ? "" : ` read=${context}`;
}

export function showPersist({ snapshot, hardState, entries }: Persist): string {
  const parts: string[] = [];
  if (snapshot !== undefined) parts.push(`snapshot=${showId(snapshot.meta)}`);
  if (hardState !== undefined) parts.push(showHardState(hardState));
  if (entries.length > 0) parts.push(showEntries(entries));
  return parts.join(" ");
}

function showHardState({ term, vote, commitIndex }: HardState): string {
  return `term=${term} vote=${vote ?? "-"} commit=${commitIndex}`;
}
