import { type Logger, type NodeId, type Random, randomBelow } from "../kernel/index.ts";
import type { PeerStream } from "../network/index.ts";
import { decodeFollow, encodeFeed, type FeedFrame, maxRedirects } from "./feed-codec.ts";
import type { EntryId, SnapshotMeta } from "./log-storage.ts";
import type { Raft } from "./raft.ts";
import { RaftError } from "./raft-error.ts";
import type { RaftTiming } from "./timing.ts";

/** How many followers a node feeds. */
export type FeedLimits = {
  /** As a member of the configuration. */
  readonly member: number;
  /** As a follower that hands on what it gets. */
  readonly relay: number;
};

export const defaultFeedLimits: FeedLimits = { member: 200, relay: 16 };
/** Of the entries in one frame; a single larger entry still goes. */
const frameEntryBytes = 2 ** 20;
/** A child that takes in nothing, or says nothing, for so many election timeouts is cut off. */
const patienceElections = 5;

export type FeedServerOptions = {
  readonly self: NodeId;
  readonly raft: Pick<
    Raft,
    "term" | "leaderHint" | "commitIndex" | "isMember" | "role" | "readCommitted"
  >;
  /** Whom this node follows itself: feeding one's own feeder would close a circle. */
  readonly feeder: () => NodeId | undefined;
  readonly snapshot: () => Promise<
    { readonly meta: SnapshotMeta; readonly data: Uint8Array } | undefined
  >;
  readonly timing: RaftTiming;
  readonly limits: FeedLimits;
  readonly random: Random;
  readonly logger: Logger;
  readonly signal: AbortSignal;
};

/** One subscriber. It costs its position and the frame under way, however slow it is. */
class Child {
  readonly node: NodeId;
  readonly stream: PeerStream;
  /** Takes part in the limit: it was not turned away. */
  isFed = false;
  /** Since when an action of the other side is awaited; undefined while none is. */
  awaitedSinceTick: number | undefined;
  sentAtTick = Number.NEGATIVE_INFINITY;
  /** Under whom the last frame was sent: news of another leader does not wait. */
  sentReign = "";
  isEnded = false;
  #change = Promise.withResolvers<void>();

  constructor(node: NodeId, stream: PeerStream, tick: number) {
    this.node = node;
    this.stream = stream;
    this.awaitedSinceTick = tick;
  }

  wake(): void {
    this.#change.resolve();
  }

  async woken(): Promise<void> {
    await this.#change.promise;
    this.#change = Promise.withResolvers<void>();
  }

  end(reason: Error): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.stream.abort(reason);
    this.wake();
  }
}

type Next = { readonly frame: Uint8Array; readonly position: EntryId; readonly isLast: boolean };

/**
 * The feeding end of log following: serves committed entries, in order, to whoever subscribes
 * at an index. Any node that holds the log can feed, so no restart of many lands on the leader.
 */
export class FeedServer {
  readonly #options: FeedServerOptions;
  readonly #children = new Map<NodeId, Child>();
  readonly #heartbeatTicks: number;
  #tick = 0;
  /** Children are mostly at one position, so one encoded frame serves them all. */
  #cached: { readonly key: string; readonly next: Next } | undefined;

  constructor(options: FeedServerOptions) {
    this.#options = options;
    this.#heartbeatTicks = Math.max(1, Math.floor(options.timing.electionTicks / 4));
    options.signal.addEventListener("abort", () => {
      for (const child of this.#children.values()) child.end(stopped());
    });
  }

  /** Who is fed now. */
  get children(): readonly NodeId[] {
    return [...this.#children.values()].filter(({ isFed }) => isFed).map(({ node }) => node);
  }

  /** Something was committed, or the leader changed. */
  wake(): void {
    for (const child of this.#children.values()) child.wake();
  }

  tick(): void {
    this.#tick += 1;
    const patienceTicks = patienceElections * this.#options.timing.electionTicks;
    for (const child of this.#children.values()) {
      const { awaitedSinceTick } = child;
      if (awaitedSinceTick !== undefined && this.#tick - awaitedSinceTick > patienceTicks) {
        child.end(new RaftError("stopped", `Node ${child.node} takes in nothing from its feeder.`));
      } else if (this.#tick - child.sentAtTick >= this.#heartbeatTicks) child.wake();
    }
  }

  /** Serves one stream until either side ends it. Rejects for a malformed subscription. */
  async serve(from: NodeId, stream: PeerStream): Promise<void> {
    if (this.#options.signal.aborted) throw stopped();
    this.#children.get(from)?.end(new RaftError("stopped", `Node ${from} subscribed anew.`));
    const child = new Child(from, stream, this.#tick);
    this.#children.set(from, child);
    const frames = stream.frames()[Symbol.asyncIterator]();
    try {
      const first = await frames.next();
      if (first.done === true) return;
      const position = decodeFollow(first.value);
      child.awaitedSinceTick = undefined;
      const ending = untilEnd(frames).then(() =>
        child.end(new RaftError("stopped", `Node ${from} follows no more.`)),
      );
      await this.#feed(child, position);
      child.awaitedSinceTick = this.#tick;
      await stream.close();
      await ending;
    } finally {
      child.end(stopped());
      if (this.#children.get(from) === child) this.#children.delete(from);
    }
  }

  async #feed(child: Child, subscribedAt: EntryId): Promise<void> {
    const { signal, logger } = this.#options;
    const refusal = this.#refusal(child, subscribedAt);
    if (refusal === undefined) {
      child.isFed = true;
      logger.debug({ node: child.node, index: subscribedAt.index }, "feeding a follower");
    }
    let position = subscribedAt;
    while (!child.isEnded) {
      const next =
        refusal === undefined
          ? await this.#next(child, position)
          : { frame: encodeFeed(refusal), position, isLast: true };
      if (next === undefined) {
        await child.woken();
        continue;
      }
      child.awaitedSinceTick = this.#tick;
      await child.stream.send(next.frame, { signal });
      child.awaitedSinceTick = undefined;
      ({ position } = next);
      if (next.isLast) break;
    }
    child.isFed = false;
  }

  #refusal({ node }: Child, { index }: EntryId): FeedFrame | undefined {
    const { raft, limits, feeder } = this.#options;
    const isRelay = !raft.isMember && raft.role !== "leader";
    const isCutOff = isRelay && raft.leaderHint === undefined;
    if (index > raft.commitIndex || isCutOff || feeder() === node) return { kind: "behind" };
    const { children } = this;
    if (children.length < (isRelay ? limits.relay : limits.member)) return undefined;
    return { kind: "redirect", nodes: this.#sample(children) };
  }

  /** The frame to send now; undefined when there is nothing to say yet. */
  async #next(child: Child, position: EntryId): Promise<Next | undefined> {
    const { raft, timing } = this.#options;
    const read = raft.readCommitted({ after: position, maxBytes: frameEntryBytes });
    if (read.kind === "compacted") return await this.#offer(position);
    if (read.kind !== "entries") return last({ kind: read.kind }, position);
    const { entries } = read;
    const hint = raft.leaderHint;
    const reign = `${raft.term} ${hint?.node ?? ""}`;
    const isDue =
      entries.length > 0 ||
      reign !== child.sentReign ||
      this.#tick - child.sentAtTick >= this.#heartbeatTicks;
    if (!isDue) return undefined;
    child.sentAtTick = this.#tick;
    child.sentReign = reign;
    const ageTicks = hint?.ageTicks ?? 0;
    const key = `${position.index} ${position.term} ${raft.commitIndex} ${reign} ${ageTicks}`;
    if (this.#cached?.key === key) return this.#cached.next;
    const frame = encodeFeed({
      kind: "entries",
      term: raft.term,
      leader: hint === undefined ? undefined : { node: hint.node, ageMs: ageTicks * timing.tickMs },
      heartbeatMs: this.#heartbeatTicks * timing.tickMs,
      previous: position,
      entries,
      commitIndex: raft.commitIndex,
    });
    const { index, term } = entries.at(-1) ?? position;
    const next = { frame, position: { index, term }, isLast: false };
    this.#cached = { key, next };
    return next;
  }

  async #offer(position: EntryId): Promise<Next> {
    const { raft, snapshot } = this.#options;
    const newest = await snapshot();
    if (newest === undefined || newest.meta.index <= position.index) {
      return last({ kind: "behind" }, position);
    }
    const { meta, data } = newest;
    const { term } = raft;
    return last({ kind: "snapshot", term, meta, bytes: data.byteLength }, position);
  }

  #sample(nodes: readonly NodeId[]): readonly NodeId[] {
    const left = [...nodes];
    const sample: NodeId[] = [];
    while (left.length > 0 && sample.length < maxRedirects) {
      sample.push(...left.splice(randomBelow(this.#options.random, left.length), 1));
    }
    return sample;
  }
}

function last(frame: FeedFrame, position: EntryId): Next {
  return { frame: encodeFeed(frame), position, isLast: true };
}

function stopped(): RaftError {
  return new RaftError("stopped", "This node's replicated log is closed.");
}

/** A subscriber says one thing and then only ends; whatever else it sends is not kept. */
async function untilEnd(frames: AsyncIterator<Uint8Array>): Promise<void> {
  try {
    while ((await frames.next()).done !== true);
  } catch {
    // A broken stream is an ended one.
  }
}
