import type { NodeId } from "../../src/kernel/index.ts";
import type { PeerMessage, RaftTransport } from "../../src/raft/index.ts";
import { decodeFrame, encodeFrame, encodeMessage } from "../../src/raft/message-codec.ts";
import { describeMessage } from "../raft/trace.ts";
import type { Durable } from "./checker.ts";
import type { RunnerContext } from "./context.ts";

/** What the leaders of each term sent, by term and index: the terms of entries. */
export class SentEntries {
  readonly #terms = new Map<number, Map<number, number>>();

  note(message: Extract<PeerMessage, { readonly kind: "append_request" }>): void {
    let sent = this.#terms.get(message.term);
    if (sent === undefined) {
      sent = new Map();
      this.#terms.set(message.term, sent);
    }
    for (const { index, term } of [message.previous, ...message.entries]) sent.set(index, term);
  }

  termOf(leaderTerm: number, index: number): number | undefined {
    return this.#terms.get(leaderTerm)?.get(index);
  }
}

/**
 * The way out of one life: whatever a node promises must be on its disk at that moment, so that
 * no crash takes it back.
 */
export function watchedTransport(options: {
  readonly context: RunnerContext;
  readonly self: NodeId;
  readonly durable: Durable;
  readonly sent: SentEntries;
  readonly transport: RaftTransport;
}): RaftTransport {
  const { transport, context, self } = options;
  const watch = new Watch(options);
  return {
    ...transport,
    send: (to, messages) => {
      for (const message of messages) {
        context.note(() => `${self} -> ${to} ${describe(message)}`);
        watch.see(to, message);
      }
      transport.send(to, context.swarm.hasCodec ? passedThroughCodec(messages) : messages);
    },
  };
}

class Watch {
  readonly #context: RunnerContext;
  readonly #self: NodeId;
  readonly #durable: Durable;
  readonly #sent: SentEntries;

  constructor(options: {
    readonly context: RunnerContext;
    readonly self: NodeId;
    readonly durable: Durable;
    readonly sent: SentEntries;
  }) {
    this.#context = options.context;
    this.#self = options.self;
    this.#durable = options.durable;
    this.#sent = options.sent;
  }

  see(to: NodeId, message: PeerMessage): void {
    const { checker } = this.#context;
    switch (message.kind) {
      case "append_request":
        checker.leads(this.#self, message.term);
        this.#sent.note(message);
        break;
      case "heartbeat":
      case "snapshot_offer":
      case "timeout_now":
        checker.leads(this.#self, message.term);
        break;
      case "append_accepted":
        this.#seeAcknowledgement(message.term, message.matchIndex);
        break;
      case "append_rejected":
        this.#seeTerm(message.kind, message.term);
        break;
      case "vote_request":
        this.#seeVote(message.term, this.#self);
        break;
      case "vote_response":
        if (message.isGranted) this.#seeVote(message.term, to);
        break;
      default:
        break;
    }
  }

  #seeAcknowledgement(term: number, matchIndex: number): void {
    this.#seeTerm("append_accepted", term);
    const log = this.#durable;
    if (log.lastIndex() < matchIndex) {
      this.#early(`entry ${matchIndex}, and ${log.lastIndex()} is the last one on its disk`);
    }
    // Under a later term the log may have changed since.
    if (log.hardState().term !== term) return;
    const own = log.term(matchIndex);
    const sent = this.#sent.termOf(term, matchIndex);
    if (own !== undefined && sent !== undefined && own !== sent) {
      this.#early(`entry ${matchIndex} of term ${sent}, and on its disk it is of term ${own}`);
    }
  }

  #seeTerm(what: string, term: number): void {
    const written = this.#durable.hardState().term;
    if (written < term) this.#early(`${what} of term ${term}, and on its disk is term ${written}`);
  }

  #seeVote(term: number, candidate: NodeId): void {
    const { term: written, vote } = this.#durable.hardState();
    if (written < term || (written === term && vote !== candidate)) {
      const onDisk = `${vote ?? "none"} in term ${written}`;
      this.#early(`its vote for ${candidate} in term ${term}, and on its disk is ${onDisk}`);
    }
    this.#context.checker.votes(this.#self, term, candidate);
  }

  #early(text: string): void {
    this.#context.violated(`${this.#self} promises too early: ${text}`);
  }
}

function passedThroughCodec(messages: readonly PeerMessage[]): readonly PeerMessage[] {
  return decodeFrame(encodeFrame(messages.map(encodeMessage)));
}

function describe(message: PeerMessage): string {
  switch (message.kind) {
    case "snapshot_offer":
      return `${message.kind} term ${message.term} of ${message.meta.index}.${message.meta.term}`;
    case "read_request":
    case "read_answer":
      return `${message.kind} ${message.round}`;
    default:
      return describeMessage(message);
  }
}
