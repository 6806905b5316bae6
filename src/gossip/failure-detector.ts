import { type Clock, type NodeId, type Random, randomBelow } from "../kernel/index.ts";
import type { MemberEntry } from "./member-table.ts";
import type { GossipTiming } from "./presets.ts";
import { isRefusal, type Reach } from "./prober.ts";
import { watchedBy } from "./watch-ring.ts";

/** Members asked to try a silent one. */
const helpers = 3;
/** Rounds for which a node that was late itself believes nobody to be silent. */
const forgivingRounds = 4;
/** The longest pause between two tries at a member that was given up. */
const maxRetryMs = 5_000;

export type FailureDetectorOptions = {
  readonly self: NodeId;
  readonly timing: GossipTiming;
  readonly clock: Clock;
  readonly random: Random;
  readonly members: () => readonly MemberEntry[];
  /** Rejects when the member does not answer. */
  readonly ping: (node: NodeId, signal: AbortSignal) => Promise<void>;
  /** How `helper` reached `target`; undefined when the helper did not answer either. */
  readonly indirectPing: (
    helper: NodeId,
    target: NodeId,
    signal: AbortSignal,
  ) => Promise<Reach | undefined>;
  /**
   * Neither this node nor those that it asked reach the member; `isGone` when its machine told
   * all of them that nothing listens there.
   */
  readonly onSilent: (node: NodeId, isGone: boolean) => void;
  /** Nobody answers, not even those who were asked about others: true; false when one does. */
  readonly onIsolated: (isIsolated: boolean) => void;
  /** The member is watched no more. */
  readonly onReleased: (node: NodeId) => void;
  /**
   * Suspicions may end. While this node makes up for having stood still itself, only those that
   * rest on more than silence.
   */
  readonly onTick: (options: { readonly isGoneOnly: boolean }) => void;
};

type Watch = {
  lastHeardMs: number;
  isPinging: boolean;
  isProbing: boolean;
  /** Whether the last ping was refused rather than unanswered. */
  isRefused: boolean;
  /** Whether it ever answered a ping of this node's. */
  hasAnswered: boolean;
  /** Whether others may be asked about it: it was not given up already. */
  isSuspectable: boolean;
  /** When a broken connection was followed up last, and how often a ping failed in a row. */
  followedUpMs: number;
  failures: number;
  nextPingMs: number;
};

/**
 * Watches this node's successors on the ring: a ping each interval, indirect ones through
 * others after a silence, and silence only counts when somebody else confirms it. A node
 * that is cut off, or that was itself frozen, blames nobody (Lifeguard's local health); the
 * former only knows of itself that it is alone.
 */
export class FailureDetector {
  readonly #options: FailureDetectorOptions;
  readonly #watches = new Map<NodeId, Watch>();
  #forgiving = 0;
  #signal = AbortSignal.abort();
  #isIsolated = false;
  /** From anybody. */
  #lastHeardMs: number;

  constructor(options: FailureDetectorOptions) {
    this.#options = options;
    this.#lastHeardMs = options.clock.monotonic();
  }

  /** Any sign of life counts. */
  heardFrom(node: NodeId): void {
    this.#lastHeardMs = this.#options.clock.monotonic();
    const watch = this.#watches.get(node);
    if (watch !== undefined) {
      watch.lastHeardMs = this.#lastHeardMs;
      watch.isRefused = false;
    }
    this.#setIsolated(false);
  }

  /**
   * What was open to a member broke. A process that ends looks like this, so it is asked at once;
   * one that breaks off again and again waits for its turn.
   */
  brokeOff(node: NodeId): void {
    const { clock, timing } = this.#options;
    const watch = this.#watches.get(node);
    const nowMs = clock.monotonic();
    if (watch === undefined || nowMs - watch.followedUpMs < timing.pingIntervalMs) return;
    watch.followedUpMs = nowMs;
    this.#ping(node, watch, this.#signal);
  }

  /** Runs until `signal` aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, timing, onTick } = this.#options;
    this.#signal = signal;
    let dueMs = clock.monotonic();
    while (!signal.aborted) {
      const isLate = clock.monotonic() - dueMs > timing.pingIntervalMs / 2;
      if (isLate) this.#forgive();
      else if (this.#forgiving > 0) this.#forgiving -= 1;
      // What came while this node stood still is not read yet: an objection may be among it.
      if (!isLate) onTick({ isGoneOnly: this.#forgiving > 0 });
      this.#round(signal);
      dueMs = clock.monotonic() + timing.pingIntervalMs;
      await clock.sleep(timing.pingIntervalMs, { signal }).catch(() => undefined);
    }
  }

  #setIsolated(isIsolated: boolean): void {
    if (isIsolated === this.#isIsolated) return;
    this.#isIsolated = isIsolated;
    this.#options.onIsolated(isIsolated);
  }

  /** Silence may well have been our own: everybody starts anew. */
  #forgive(): void {
    this.#forgiving = forgivingRounds;
    const nowMs = this.#options.clock.monotonic();
    this.#lastHeardMs = nowMs;
    for (const watch of this.#watches.values()) watch.lastHeardMs = nowMs;
  }

  #round(signal: AbortSignal): void {
    const { self, members, clock, timing, onReleased } = this.#options;
    const here = members().filter(({ status }) => status !== "left");
    const idsOf = (list: readonly MemberEntry[]) => list.map(({ nodeId }) => nodeId);
    // Those who failed are tried on, for they may return, but watch nobody: whom they watched
    // is watched by the next ones on the ring.
    const running = here.filter(({ status }) => status !== "failed");
    const suspectable = new Set(idsOf(running));
    const watched = new Set([...watchedBy(self, idsOf(running)), ...watchedBy(self, idsOf(here))]);
    for (const node of this.#watches.keys()) {
      if (watched.has(node)) continue;
      this.#watches.delete(node);
      onReleased(node);
    }
    const nowMs = clock.monotonic();
    for (const node of watched) {
      const watch = this.#watches.get(node) ?? newWatch(nowMs);
      this.#watches.set(node, watch);
      // What others see of a member that was given up would change nothing.
      watch.isSuspectable = suspectable.has(node);
      if (watch.isSuspectable || nowMs >= watch.nextPingMs) this.#ping(node, watch, signal);
      if (!watch.isSuspectable || this.#forgiving > 0) continue;
      if (nowMs - watch.lastHeardMs > timing.silenceMs) this.#probe(node, watch, signal);
    }
  }

  #ping(node: NodeId, watch: Watch, signal: AbortSignal): void {
    if (watch.isPinging || signal.aborted) return;
    watch.isPinging = true;
    this.#options
      .ping(node, signal)
      .then(
        () => {
          watch.failures = 0;
          watch.hasAnswered = true;
        },
        // Success is noted where the answer is read, and most failures show as silence. But a
        // process that has ended is refused at once, and others are asked at once, also by a node
        // that was late itself: that explains silence, and no refusal.
        (error: unknown) => {
          watch.isRefused = isRefusal(error);
          this.#putOff(watch);
          const mayAsk = watch.isSuspectable && !signal.aborted;
          if (watch.isRefused && mayAsk) this.#probe(node, watch, signal);
        },
      )
      .finally(() => {
        watch.isPinging = false;
      });
  }

  /** Tries at a member that was given up become rare: it tells of its return itself. */
  #putOff(watch: Watch): void {
    const { clock, timing, random } = this.#options;
    const pauseMs = Math.min(timing.pingIntervalMs * 2 ** watch.failures, maxRetryMs);
    watch.failures += 1;
    watch.nextPingMs = clock.monotonic() + pauseMs * (0.5 + random.next() / 2);
  }

  #probe(node: NodeId, watch: Watch, signal: AbortSignal): void {
    if (watch.isProbing) return;
    watch.isProbing = true;
    const startedAtMs = this.#options.clock.monotonic();
    this.#reachByOthers(node, signal)
      .then((reach) => {
        if (signal.aborted) return;
        if (reach === "answered") watch.lastHeardMs = this.#options.clock.monotonic();
        const hasSpoken = watch.lastHeardMs > startedAtMs;
        const isUnreached = reach === "silent" || reach === "refused";
        // A newcomer may be turned away by members who have not learnt of it yet. That looks the
        // same, so that a refusal proves the end only of one who has let this node in before.
        const isGone = reach === "refused" && watch.isRefused && watch.hasAnswered;
        if (this.#forgiving > 0 && !isGone) return;
        if (isUnreached && !hasSpoken) this.#options.onSilent(node, isGone);
        // A helper's lost answer is no isolation while anybody else is heard.
        if (reach === undefined && !hasSpoken && this.#hearsNobody()) this.#setIsolated(true);
      })
      .finally(() => {
        watch.isProbing = false;
      })
      .catch(() => undefined);
  }

  #hearsNobody(): boolean {
    const { clock, timing } = this.#options;
    return clock.monotonic() - this.#lastHeardMs > timing.silenceMs;
  }

  /** Undefined: those who were asked did not answer either, so it is rather us who are cut off. */
  async #reachByOthers(node: NodeId, signal: AbortSignal): Promise<Reach | undefined> {
    const { self, members, random, indirectPing } = this.#options;
    const candidates = members()
      .filter(({ nodeId, status }) => status === "alive" && nodeId !== node && nodeId !== self)
      .map(({ nodeId }) => nodeId)
      .sort();
    // With nobody to ask, our own word has to do.
    if (candidates.length === 0) return this.#watches.get(node)?.isRefused ? "refused" : "silent";
    const asked: NodeId[] = [];
    while (asked.length < helpers && candidates.length > 0) {
      asked.push(...candidates.splice(randomBelow(random, candidates.length), 1));
    }
    const answers = await Promise.all(asked.map((helper) => indirectPing(helper, node, signal)));
    if (answers.includes("answered")) return "answered";
    if (answers.includes("silent")) return "silent";
    return answers.includes("refused") ? "refused" : undefined;
  }
}

function newWatch(nowMs: number): Watch {
  return {
    lastHeardMs: nowMs,
    isPinging: false,
    isProbing: false,
    isRefused: false,
    hasAnswered: false,
    isSuspectable: true,
    followedUpMs: Number.NEGATIVE_INFINITY,
    failures: 0,
    nextPingMs: nowMs,
  };
}
