import type { ClusterState, Observations } from "../cluster/index.ts";
import { memberStatus } from "../cluster/index.ts";
import {
  type ClusterEvent,
  type EventSelection,
  type Gap,
  identityOf,
  isSelected,
  NewestEvents,
  nodeNameIn,
} from "../events/index.ts";
import type { EventJournal } from "../events/io/event-journal.ts";
import {
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  Wakeup,
} from "../kernel/index.ts";
import type { PeerNetwork } from "../network/index.ts";
import { type EventAnswer, EventExchange } from "./event-exchange.ts";

export type ClusterEventsOptions = {
  readonly self: NodeId;
  readonly network: PeerNetwork;
  readonly journal: EventJournal;
  readonly state: ReadableCell<ClusterState>;
  readonly observations: ReadableCell<Observations>;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Events in order, and the nodes whose own observations are missing among them. */
export type EventsFound = {
  readonly events: readonly ClusterEvent[];
  readonly unreachable: readonly string[];
  /** Whether there were older ones that were left out. */
  readonly isCut: boolean;
};

/** A node that does not answer in this time is named as missing. */
const askMs = 3_000;
/** All of them together, however many there are. */
const askAllMs = 8_000;
const maxAskedAtOnce = 16;
/** Changes within this time are told together. */
const gatherMs = 100;
/** After this long a follower asks again those that did not answer. */
const askAgainMs = 2_000;
/** So many are remembered while following, so that nothing is told twice. */
const maxRemembered = 5_000;

/** Up to where a follower knows what a node saw. */
type Cursor = { readonly sequence: number; readonly sinceMs: number };

/** What a follower has to remember between two looks. */
type Following = {
  readonly selection: EventSelection;
  readonly cursors: Map<NodeId, Cursor>;
  /** Those that did not answer are not asked again before this, monotonic, ms. */
  readonly restsUntilMs: Map<NodeId, number>;
  gaps: readonly Gap[];
};

/**
 * The whole cluster's events, from whichever node is asked: what was agreed is in its own
 * journal, what others saw it asks them for.
 */
export class ClusterEvents {
  readonly #options: ClusterEventsOptions;
  readonly #exchange: EventExchange;

  constructor(options: ClusterEventsOptions) {
    this.#options = options;
    this.#exchange = new EventExchange(options);
  }

  async list(
    selection: EventSelection,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<EventsFound> {
    return (await this.#collect(selection, { signal })).found;
  }

  /** What there is already, then what comes, in parcels. Ends when `signal` aborts. */
  async *follow(
    selection: EventSelection,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncIterable<EventsFound> {
    const { journal, observations, clock } = this.#options;
    const wakeup = new Wakeup();
    const wake = () => wakeup.wake();
    const stops = [journal.position.subscribe(wake), observations.subscribe(wake)];
    try {
      let position = journal.position.get();
      const { gaps } = journal;
      const { found, cursors } = await this.#collect(selection, { signal });
      const following: Following = { selection, cursors, restsUntilMs: new Map(), gaps };
      const told = new Set(found.events.map(identityOf));
      let missing = new Set(found.unreachable);
      yield found;
      while (!signal.aborted) {
        await wakeup.wait(clock, { atMostMs: askAgainMs, signal });
        await clock.sleep(gatherMs, { signal });
        wakeup.reset();
        const newest = new NewestEvents(selection.limit);
        const next = journal.position.get();
        for await (const event of this.#ownAfter(position, { signal })) newest.add(event);
        position = next;
        const unreachable = await this.#askForMore(following, newest, signal);
        const events = newest
          .list()
          .filter((event) => isSelected(event, selection) && !told.has(identityOf(event)));
        remember(told, events);
        const news = unreachable.filter((name) => !missing.has(name));
        missing = new Set(unreachable);
        if (events.length > 0 || news.length > 0) {
          yield { events, unreachable: news, isCut: newest.isCut };
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      for (const stop of stops) stop();
    }
  }

  async #collect(
    selection: EventSelection,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<{ readonly found: EventsFound; readonly cursors: Map<NodeId, Cursor> }> {
    const { journal, clock } = this.#options;
    const { sinceMs } = selection;
    const newest = new NewestEvents(selection.limit);
    const cursors = new Map<NodeId, Cursor>();
    let isCut = false;
    const gaps = journal.gaps.filter(({ atMs }) => atMs >= sinceMs);
    const asked = this.#askAll(
      this.#others(),
      async (node, limited) => {
        const cursor = { sequence: -1, sinceMs };
        const answer = await this.#exchange.ask(node, { selection, ...cursor, gaps }, limited);
        for (const event of answer.events) newest.add(event);
        cursors.set(node, cursorAfter(cursor, answer, clock.now()));
        isCut ||= answer.isCut;
      },
      signal,
    );
    // With what others say already: they may have newer ones, so that less of the own is wanted.
    const isEnough = () => newest.stopsHere();
    for await (const event of journal.read(sinceMs, { isEnough, signal })) {
      if (isSelected(event, selection)) newest.add(event);
    }
    const unreachable = await asked;
    const found = { events: newest.list(), unreachable, isCut: isCut || newest.isCut };
    return { found, cursors };
  }

  /** What this node added after a position; from its files where it is not at hand any more. */
  async *#ownAfter(
    position: number,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncIterable<ClusterEvent> {
    const { journal, clock } = this.#options;
    const added = journal.after(position);
    if (added !== undefined) yield* added;
    else yield* journal.read(clock.now() - catchUpMs, { signal });
  }

  /**
   * Asks those whose reports say that they saw more, and everybody for what this node leapt
   * over meanwhile. Returns the names of those that do not answer.
   */
  async #askForMore(
    following: Following,
    newest: NewestEvents,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { journal, state, observations, clock } = this.#options;
    const { selection, cursors, restsUntilMs } = following;
    const { reports } = observations.get();
    const gaps = journal.gaps.filter((gap) => !following.gaps.includes(gap));
    following.gaps = journal.gaps;
    const nodes = this.#others().filter((node) => {
      const known = cursors.get(node);
      const head = reports.get(node)?.eventsHead ?? -1;
      const isBehind = known === undefined || head > known.sequence || gaps.length > 0;
      return isBehind || !this.#mayAnswer(node);
    });
    const isResting = (node: NodeId) => (restsUntilMs.get(node) ?? 0) > clock.monotonic();
    const resting = nodes.filter(isResting).map((node) => nodeNameIn(state.get(), node));
    const missing = await this.#askAll(
      nodes.filter((node) => !isResting(node)),
      async (node, limited) => {
        const cursor = cursors.get(node) ?? { sequence: -1, sinceMs: selection.sinceMs };
        // Until it has answered.
        restsUntilMs.set(node, clock.monotonic() + askAgainMs);
        const sinceMs = gaps.length > 0 ? selection.sinceMs : cursor.sinceMs;
        const question = { selection, sequence: cursor.sequence, sinceMs, gaps };
        const answer = await this.#exchange.ask(node, question, limited);
        restsUntilMs.delete(node);
        for (const event of answer.events) newest.add(event);
        cursors.set(node, cursorAfter(cursor, answer, clock.now()));
      },
      signal,
    );
    return [...missing, ...resting];
  }

  #others(): readonly NodeId[] {
    const { self, state } = this.#options;
    return [...state.get().nodes.keys()].filter((node) => node !== self);
  }

  #mayAnswer(node: NodeId): boolean {
    const status = memberStatus(this.#options.observations.get(), node);
    return status === "alive" || status === "suspect";
  }

  /** A few at a time, and all in a limited time. Returns the names of those that did not answer. */
  async #askAll(
    nodes: readonly NodeId[],
    ask: (node: NodeId, options: { readonly signal: AbortSignal }) => Promise<void>,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { state, logger } = this.#options;
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(askAllMs)]);
    const waiting = nodes.filter((node) => this.#mayAnswer(node));
    const missing = nodes.filter((node) => !this.#mayAnswer(node));
    const worker = async () => {
      for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
        try {
          await ask(node, { signal: AbortSignal.any([inTime, AbortSignal.timeout(askMs)]) });
        } catch (error) {
          logger.debug({ node, error: messageOf(error) }, "events not to be had");
          missing.push(node);
        }
      }
    };
    await Promise.all(Array.from({ length: maxAskedAtOnce }, worker));
    signal.throwIfAborted();
    return missing.map((node) => nodeNameIn(state.get(), node)).sort();
  }
}

/** How far back a follower looks that did not keep up with what is at hand. */
const catchUpMs = 60_000;

function cursorAfter(before: Cursor, { head, events }: EventAnswer, now: number): Cursor {
  // A little overlap: the clocks of two machines differ, and nothing is told twice.
  const newestMs = events.at(-1)?.timeMs ?? before.sinceMs;
  const sinceMs = Math.min(Math.max(before.sinceMs, newestMs - catchUpMs), now);
  return { sequence: Math.max(before.sequence, head), sinceMs };
}

function remember(told: Set<string>, events: readonly ClusterEvent[]): void {
  for (const event of events) told.add(identityOf(event));
  for (const identity of told) {
    if (told.size <= maxRemembered) return;
    told.delete(identity);
  }
}
