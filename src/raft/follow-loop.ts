import {
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type Random,
  type ReadableCell,
  Wakeup,
} from "../kernel/index.ts";
import type { PeerStream } from "../network/index.ts";
import { orAborted } from "./deadline.ts";
import { decodeFeed, encodeFollow, type FeedFrame } from "./feed-codec.ts";
import { type FeederCandidates, FeederChoice, maxPauseMs } from "./feeder-choice.ts";
import type { TakeResult } from "./following.ts";
import type { Raft } from "./raft.ts";
import { RaftError } from "./raft-error.ts";
import { SnapshotReceiver } from "./snapshot-transfer.ts";
import type { RaftTiming } from "./timing.ts";
import type { RaftTransport } from "./transport.ts";

/** A feeder that does not answer a subscription for so many election timeouts is left. */
const openElections = 2;
/** A feeder that hears of no leader for so many election timeouts may be cut off itself. */
const leaderlessElections = 2;
const missedHeartbeats = 3;
/** The cluster is known to be ahead of this node, and of its feeder, for so long. */
const lagMs = 2_000;
/** Between two attempts, with jitter, so that a list of dead feeders is no busy loop. */
const attemptPauseMs = 20;
const leaderlessPauseMs = 500;
/** Whoever is fed by a relay, or by the leader, looks for another voter after so many election timeouts. */
const betterElections = 2;
/** The pause between two such looks doubles up to this: voters may stay full for ever. */
const maxBetterMs = 600_000;
const idleMs = 60_000;

export type FollowLoopOptions = {
  readonly raft: Pick<Raft, "commitIndex" | "leader" | "termAt" | "takeCommitted" | "takeSnapshot">;
  /** Whether this node gets the log from nobody else. */
  readonly isWanted: () => boolean;
  readonly candidates: () => FeederCandidates;
  /** The highest index that anybody is said to hold. */
  readonly knownHead: ReadableCell<number> | undefined;
  readonly open: RaftTransport["openStream"];
  readonly request: RaftTransport["request"];
  /** Something was taken in, or the feeder changed. */
  readonly onChange: () => void;
  /** An invariant broke while something was taken in: ends the log. */
  readonly onBroken: (error: unknown) => void;
  readonly timing: RaftTiming;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly snapshotAttemptMs: number;
  readonly checkSnapshot?: (data: Uint8Array) => void;
  readonly signal: AbortSignal;
};

/** Why a feeder was left. */
type Leaving =
  | { readonly kind: "unwanted" | "resubscribe" | "better" }
  | { readonly kind: "redirect"; readonly nodes: readonly NodeId[] }
  | { readonly kind: "failed"; readonly why: string; readonly pauseMs?: number };

class LeavingError extends Error {
  readonly leaving: Leaving;

  constructor(leaving: Leaving) {
    super(`The feeder was left: ${leaving.kind}.`);
    this.leaving = leaving;
  }
}

type Attempt = {
  readonly feeder: NodeId;
  readonly abort: AbortController;
  heardAtTick: number;
  silenceTicks: number;
  leaderAtTick: number;
  /** What the feeder has committed, as far as it said. */
  feederCommitIndex: number;
  isServed: boolean;
  isFetching: boolean;
  /** When to look whether a voter has room. */
  readonly betterAtTick: number;
};

/**
 * The following end: while no leader sends this node the log, keeps a subscription with some
 * feeder and takes in what it sends. A subscription begins behind what is committed here, so
 * nothing is lost and nothing comes twice, whoever feeds.
 */
export class FollowLoop {
  readonly done: Promise<void>;
  readonly #options: FollowLoopOptions;
  readonly #choice: FeederChoice;
  readonly #snapshots: SnapshotReceiver;
  readonly #wakeup = new Wakeup();
  #attempt: Attempt | undefined;
  #tick = 0;
  #lag: { readonly head: number; readonly sinceTick: number } | undefined;
  #fetched: PromiseWithResolvers<void> | undefined;
  #betterTicks: number;

  constructor(options: FollowLoopOptions) {
    const { clock, logger, signal, snapshotAttemptMs, checkSnapshot, request } = options;
    this.#options = options;
    this.#choice = new FeederChoice(options.random);
    this.#betterTicks = betterElections * options.timing.electionTicks;
    this.#snapshots = new SnapshotReceiver({
      clock,
      logger,
      signal,
      attemptMs: snapshotAttemptMs,
      request,
      ...(checkSnapshot === undefined ? {} : { check: checkSnapshot }),
      onSnapshot: (from, term, snapshot) => {
        try {
          this.#take(from, (raft) => raft.takeSnapshot({ ...snapshot, term }));
          this.#fetched?.resolve();
        } catch (error) {
          this.#fetched?.reject(error);
        }
      },
      onFailed: (error) => this.#fetched?.reject(error),
    });
    this.done = this.#run();
  }

  /** Who feeds this node now. */
  get feeder(): NodeId | undefined {
    return this.#attempt?.isServed === true ? this.#attempt.feeder : undefined;
  }

  /** Whether following is wanted may have changed. */
  look(): void {
    const isWanted = this.#options.isWanted();
    if (isWanted && this.#attempt === undefined) this.#wakeup.wake();
    if (!isWanted) this.#leave({ kind: "unwanted" });
  }

  tick(): void {
    this.#tick += 1;
    this.look();
    const attempt = this.#attempt;
    if (attempt === undefined || attempt.isFetching) return;
    const { timing } = this.#options;
    if (this.#tick - attempt.heardAtTick > attempt.silenceTicks) {
      this.#leave({ kind: "failed", why: "it is silent" });
    }
    if (this.#options.raft.leader !== undefined) attempt.leaderAtTick = this.#tick;
    if (this.#tick - attempt.leaderAtTick > leaderlessElections * timing.electionTicks) {
      this.#leave({ kind: "failed", why: "it hears no leader", pauseMs: leaderlessPauseMs });
    }
    this.#watchLag(attempt);
    if (attempt.isServed && this.#tick >= attempt.betterAtTick) this.#considerBetter(attempt);
  }

  async #run(): Promise<void> {
    const { clock, random, signal, isWanted, candidates, logger } = this.#options;
    while (!signal.aborted) {
      this.#wakeup.reset();
      if (!isWanted()) {
        await this.#wakeup.wait(clock, { atMostMs: idleMs, signal });
        continue;
      }
      const next = this.#choice.next(candidates(), clock.monotonic());
      if ("waitMs" in next) {
        await clock.sleep(next.waitMs, { signal }).catch(() => undefined);
        continue;
      }
      const { feeder } = next;
      let leaving = await this.#follow(feeder);
      while (leaving.kind === "resubscribe" && isWanted()) leaving = await this.#follow(feeder);
      if (leaving.kind === "redirect") {
        // A full feeder may have room again; it is asked when there is a reason to look anew.
        this.#choice.failed(feeder, clock.monotonic());
        this.#choice.suggest(leaving.nodes);
      }
      if (leaving.kind !== "failed" || signal.aborted) continue;
      logger.info({ feeder, why: leaving.why }, "feeder left");
      this.#choice.failed(feeder, clock.monotonic(), leaving.pauseMs ?? maxPauseMs);
      const pauseMs = attemptPauseMs * (0.5 + random.next());
      await clock.sleep(pauseMs, { signal }).catch(() => undefined);
    }
  }

  /** One subscription, to its end. */
  async #follow(feeder: NodeId): Promise<Leaving> {
    const { signal, open, timing, onChange, random } = this.#options;
    const abort = new AbortController();
    const attempt: Attempt = {
      feeder,
      abort,
      heardAtTick: this.#tick,
      silenceTicks: openElections * timing.electionTicks,
      leaderAtTick: this.#tick,
      feederCommitIndex: 0,
      isServed: false,
      isFetching: false,
      betterAtTick: this.#tick + this.#betterTicks * (0.5 + random.next()),
    };
    this.#attempt = attempt;
    const either = AbortSignal.any([signal, abort.signal]);
    let stream: PeerStream | undefined;
    try {
      stream = await open(feeder, { signal: either });
      const { raft } = this.#options;
      const index = raft.commitIndex;
      await stream.send(encodeFollow({ index, term: raft.termAt(index) ?? 0 }), { signal: either });
      return await this.#read(stream, attempt, either);
    } catch (error) {
      const cause: unknown = abort.signal.aborted ? abort.signal.reason : error;
      if (cause instanceof LeavingError) return cause.leaving;
      return { kind: "failed", why: messageOf(error) };
    } finally {
      this.#attempt = undefined;
      stream?.abort(new RaftError("stopped", "The follower left its feeder."));
      onChange();
    }
  }

  async #read(stream: PeerStream, attempt: Attempt, signal: AbortSignal): Promise<Leaving> {
    // A stream that is read does not see the signal; one that is aborted ends.
    const reason: () => Error = () =>
      signal.reason instanceof Error ? signal.reason : new Error("The follower stopped.");
    const cut = () => stream.abort(reason());
    signal.addEventListener("abort", cut, { once: true });
    try {
      for await (const frame of stream.frames()) {
        signal.throwIfAborted();
        attempt.heardAtTick = this.#tick;
        const leaving = await this.#consider(attempt, decodeFeed(frame), signal);
        if (leaving !== undefined) return leaving;
      }
      signal.throwIfAborted();
      return { kind: "failed", why: "it closed the stream" };
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener("abort", cut);
    }
  }

  /** Takes in one frame; says when it was the last one. */
  async #consider(
    attempt: Attempt,
    frame: FeedFrame,
    signal: AbortSignal,
  ): Promise<Leaving | undefined> {
    const { feeder } = attempt;
    switch (frame.kind) {
      case "entries":
        this.#takeEntries(attempt, frame);
        return undefined;
      case "snapshot":
        await this.#fetch(attempt, frame, signal);
        return { kind: "resubscribe" };
      case "redirect":
        return frame;
      case "behind":
        return { kind: "failed", why: "it is behind this node, or cut off itself" };
      default:
        throw this.#diverged(feeder);
    }
  }

  #takeEntries(attempt: Attempt, frame: Extract<FeedFrame, { readonly kind: "entries" }>): void {
    const { timing, onChange } = this.#options;
    const { feeder } = attempt;
    const { leader } = frame;
    const result = this.#take(feeder, (raft) =>
      raft.takeCommitted({
        ...frame,
        leader: leader && {
          node: leader.node,
          ageTicks: Math.ceil(leader.ageMs / timing.tickMs),
        },
      }),
    );
    if (result === "refused") {
      const why = "this node stands for election, or was told an impossible term";
      throw new LeavingError({ kind: "failed", why, pauseMs: leaderlessPauseMs });
    }
    if (result === "gap") throw new RaftError("malformed_message", `${feeder} left out entries.`);
    attempt.feederCommitIndex = frame.commitIndex;
    attempt.silenceTicks = Math.ceil((missedHeartbeats * frame.heartbeatMs) / timing.tickMs) + 1;
    if (attempt.isServed) return;
    attempt.isServed = true;
    this.#choice.worked(feeder);
    this.#options.logger.info({ feeder, index: frame.previous.index }, "following a feeder");
    onChange();
  }

  async #fetch(
    attempt: Attempt,
    frame: Extract<FeedFrame, { readonly kind: "snapshot" }>,
    signal: AbortSignal,
  ): Promise<void> {
    const fetched = Promise.withResolvers<void>();
    this.#fetched = fetched;
    attempt.isFetching = true;
    this.#snapshots.offer(attempt.feeder, { ...frame, kind: "snapshot_offer" });
    await orAborted(fetched.promise, signal);
  }

  /** What the core makes of it. Its invariants are the log's: one that breaks ends the log. */
  #take(feeder: NodeId, take: (raft: FollowLoopOptions["raft"]) => TakeResult): TakeResult {
    const { raft, onBroken, onChange } = this.#options;
    let result: TakeResult;
    try {
      result = take(raft);
    } catch (error) {
      onBroken(error);
      throw error;
    }
    if (result === "diverged") throw this.#diverged(feeder);
    onChange();
    return result;
  }

  #diverged(feeder: NodeId): Error {
    const { logger, raft } = this.#options;
    const index = raft.commitIndex;
    logger.error({ feeder, index }, "feeder has another history of the log");
    return new LeavingError({
      kind: "failed",
      why: "its log has another history; if all feeders say so, this node must join anew",
    });
  }

  #leave(leaving: Leaving): void {
    this.#attempt?.abort.abort(new LeavingError(leaving));
  }

  /** A node that knew no voter at first, or found them full, moves to one that has room. */
  #considerBetter({ feeder }: Attempt): void {
    const { candidates, clock, timing } = this.#options;
    const { voters, leader } = candidates();
    const better = voters.filter((node) => node !== leader);
    const isFree = (node: NodeId) => this.#choice.isFree(node, clock.monotonic());
    if (better.includes(feeder) || !better.some(isFree)) return;
    this.#betterTicks = Math.min(2 * this.#betterTicks, maxBetterMs / timing.tickMs);
    this.#leave({ kind: "better" });
  }

  /** Gossip is the alarm: all others may be ahead of a feeder that looks well. */
  #watchLag(attempt: Attempt): void {
    const { raft, knownHead, timing } = this.#options;
    const head = knownHead?.get() ?? 0;
    const { commitIndex } = raft;
    if (this.#lag === undefined || commitIndex >= this.#lag.head) {
      this.#lag = head > commitIndex ? { head, sinceTick: this.#tick } : undefined;
    } else if (
      this.#tick - this.#lag.sinceTick > lagMs / timing.tickMs &&
      attempt.feederCommitIndex <= commitIndex
    ) {
      this.#lag = undefined;
      this.#leave({ kind: "failed", why: "it is behind the others" });
    }
  }
}
