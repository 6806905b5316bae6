import type { Message } from "../../src/raft/message.ts";

/** The story of a run for whoever reads it: lines with their time, or nothing at no cost. */
export class Trace {
  readonly #now: () => number;
  readonly #print: ((line: string) => void) | undefined;

  constructor(options: { readonly now: () => number; readonly print?: (line: string) => void }) {
    this.#now = options.now;
    this.#print = options.print;
  }

  get isOn(): boolean {
    return this.#print !== undefined;
  }

  line(text: () => string): void {
    this.#print?.(`${this.#now().toFixed(1).padStart(7)}  ${text()}`);
  }
}

/** A message in a few words; entries are named index.term. */
export function describeMessage(message: Message): string {
  const { kind, term } = message;
  const name = `${kind} term ${term}`;
  switch (message.kind) {
    case "pre_vote_request":
    case "vote_request": {
      const { index, term: lastTerm } = message.lastEntry;
      return `${name} last ${index}.${lastTerm}`;
    }
    case "pre_vote_response":
    case "vote_response":
      return `${name} ${message.isGranted ? "granted" : "refused"}`;
    case "append_request": {
      const { previous, entries, commitIndex } = message;
      const last = entries.at(-1);
      const added = last === undefined ? "nothing" : `to ${last.index}.${last.term}`;
      return `${name} after ${previous.index}.${previous.term} ${added} commit ${commitIndex}`;
    }
    case "append_accepted":
      return `${name} match ${message.matchIndex}`;
    case "append_rejected": {
      const { rejectedIndex, hint } = message;
      return `${name} at ${rejectedIndex} hint ${hint.index}.${hint.term}`;
    }
    case "heartbeat":
      return `${name} commit ${message.commitIndex} round ${message.readContext}`;
    case "heartbeat_response":
      return `${name} round ${message.readContext}`;
    case "snapshot_request":
      return `${name} of ${message.meta.index}.${message.meta.term}`;
    case "timeout_now":
      return name;
    default:
      return name;
  }
}
