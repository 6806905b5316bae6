import { z } from "zod";
import {
  type ClusterEvent,
  type EventSelection,
  isSelected,
  maxSelectedEvents,
  NewestEvents,
  readEvent,
} from "../events/index.ts";
import type { EventJournal } from "../events/io/event-journal.ts";
import { CodedError, type NodeId } from "../kernel/index.ts";
import { PeerCodec, type PeerNetwork, type PeerStream } from "../network/index.ts";

const protocol = "/skein/events/1";
const packr = new PeerCodec();

/** So many events travel in a frame; a frame stays far below what a stream carries. */
const eventsPerFrame = 200;
/** Whoever asks while so many are being answered is refused, and asks again. */
const maxAnswers = 16;
const answerMs = 10_000;

const texts = z.array(z.string().max(300)).max(100);
const index = z.int().nonnegative();

const questionSchema = z.object({
  sinceMs: z.number(),
  untilMs: z.number().optional(),
  namespace: z.string().max(300).optional(),
  objects: texts,
  reasons: texts,
  types: z.array(z.enum(["Normal", "Warning"])).max(2),
  limit: z.int().min(1).max(maxSelectedEvents),
  /** Only what the asked node saw after its event of this number. */
  sequence: z.int(),
  /** Stretches of the log whose events the asker does not have. */
  gaps: z.array(z.object({ from: index, to: index })).max(64),
});

const frameSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("events"), events: z.array(z.unknown()).max(eventsPerFrame) }),
  z.object({ kind: z.literal("end"), head: index, isCut: z.boolean() }),
]);

type Question = z.infer<typeof questionSchema>;

export type EventQuestion = {
  readonly selection: EventSelection;
  readonly sequence: number;
  readonly sinceMs: number;
  readonly gaps: Question["gaps"];
};

export type EventAnswer = {
  readonly events: readonly ClusterEvent[];
  /** The number of the last event that the asked node saw. */
  readonly head: number;
  readonly isCut: boolean;
};

type ExchangeOptions = {
  readonly self: NodeId;
  readonly network: PeerNetwork;
  readonly journal: EventJournal;
};

/** How nodes ask each other for the events that only the other has. */
export class EventExchange {
  readonly #options: ExchangeOptions;
  #answering = 0;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    options.network.handleStream(protocol, (_, stream) => this.#serve(stream));
  }

  async ask(
    node: NodeId,
    { selection, sequence, sinceMs, gaps }: EventQuestion,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<EventAnswer> {
    const stream = await this.#options.network.openStream(node, protocol, { signal });
    const abort = () => stream.abort(new Error("no longer wanted"));
    signal.addEventListener("abort", abort, { once: true });
    try {
      const question = { ...selection, sinceMs, sequence, gaps: gaps.slice(-64) };
      await stream.send(packr.pack(question), { signal });
      const events: ClusterEvent[] = [];
      for await (const bytes of stream.frames()) {
        const frame = frameSchema.parse(packr.unpack(bytes));
        if (frame.kind === "end") return { events, head: frame.head, isCut: frame.isCut };
        for (const value of frame.events) {
          const event = readEvent(value);
          // Nobody speaks for another node, and of the log only of what was asked for.
          if (event !== undefined && isExpected(event, node, gaps)) events.push(event);
        }
        if (events.length > selection.limit) break;
      }
      throw new CodedError("incomplete", `The answer of ${node} was not complete.`);
    } finally {
      signal.removeEventListener("abort", abort);
      await stream.close().catch(() => undefined);
    }
  }

  async #serve(stream: PeerStream): Promise<void> {
    const { journal } = this.#options;
    if (this.#answering >= maxAnswers) throw new Error("too many ask for events at once");
    this.#answering += 1;
    const signal = AbortSignal.timeout(answerMs);
    const abort = () => stream.abort(new Error("took too long"));
    signal.addEventListener("abort", abort, { once: true });
    try {
      const first = await stream.frames()[Symbol.asyncIterator]().next();
      if (first.done === true) return;
      const question = questionSchema.parse(packr.unpack(first.value));
      const head = journal.head.get();
      const newest = await this.#answer(question, signal);
      const events = newest.list();
      for (let from = 0; from < events.length; from += eventsPerFrame) {
        const part = events.slice(from, from + eventsPerFrame);
        await stream.send(packr.pack({ kind: "events", events: part }), { signal });
      }
      await stream.send(packr.pack({ kind: "end", head, isCut: newest.isCut }), { signal });
    } finally {
      this.#answering -= 1;
      signal.removeEventListener("abort", abort);
      await stream.close().catch(() => undefined);
    }
  }

  async #answer(question: Question, signal: AbortSignal): Promise<NewestEvents> {
    const { self, journal } = this.#options;
    const newest = new NewestEvents(question.limit);
    const { sequence, gaps } = question;
    const atHand = gaps.length === 0 ? journal.seenAfter(sequence) : undefined;
    const isEnough = () => newest.stopsHere();
    for await (const event of atHand ?? journal.read(question.sinceMs, { isEnough, signal })) {
      const isWanted = isExpected(event, self, gaps) && isSelected(event, question);
      if (isWanted && (event.by === "log" || event.sequence > sequence)) newest.add(event);
    }
    return newest;
  }
}

function isExpected({ by, index: at }: ClusterEvent, node: NodeId, gaps: Question["gaps"]) {
  return by === "log" ? gaps.some(({ from, to }) => at >= from && at <= to) : by === node;
}
