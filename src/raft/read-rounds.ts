import type { Clock, NodeId } from "../kernel/index.ts";
import type { ReadAnswer, ReadRequest } from "./message.ts";
import { isSameReign, noQuorum, type Reign } from "./pending-proposals.ts";
import { RaftError } from "./raft-error.ts";
import type { ConfirmedRead } from "./ready.ts";

/** More reads of this node, and of others that ask it, may not wait at once. */
export const maxWaitingReads = 4_096;
/** Rounds under way at a time; each is for all the reads that waited when it began. */
export const maxReadRounds = 16;
/** After a refusal the leader is asked again so many ticks later. */
const retryTicks = 1;

type Waiter = {
  /** Of another node, which asked this one as the leader. */
  readonly isRemote: boolean;
  readonly deadlineMs: number;
  readonly resolve: (index: number) => void;
  readonly reject: (error: unknown) => void;
};

type Round = {
  readonly reign: Reign;
  readonly startTick: number;
  readonly waiters: readonly Waiter[];
};

export type ReadRoundsOptions = {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** A round without an answer is given up after so many ticks, and its reads begin anew. */
  readonly answerTicks: number;
  /**
   * Unique in the cluster, anew for each start of the node: a late answer to a round of an
   * earlier process must not pass for the answer to a later read.
   */
  readonly session: string;
  /** Starts a round on the leader itself and gives its context. */
  readonly startRound: () => number | undefined;
  readonly isLeader: () => boolean;
  readonly appliedIndex: () => number;
  readonly send: (to: NodeId, message: ReadRequest | ReadAnswer) => void;
  /** Asks for a `flush` soon. */
  readonly wake: () => void;
};

/**
 * Linearizable reads (dissertation §6.4), on the leader by rounds of its own, elsewhere by
 * asking it. While one round is under way, the reads that come share the next: however many
 * they are, they cost two messages to each member. Another round begins before that with the
 * next tick, so that reads over long distances do not wait for one another.
 */
export class ReadRounds {
  readonly #options: ReadRoundsOptions;
  /** All that are neither answered nor failed. */
  readonly #live = new Set<Waiter>();
  /** For the next round. */
  readonly #waiting = new Set<Waiter>();
  /** Under way, by context on the leader and by name elsewhere. */
  readonly #rounds = new Map<string, Round>();
  /** Confirmed, with the index that has to be applied first. */
  readonly #confirmed = new Map<Waiter, number>();
  #count = 0;
  #tick = 0;
  #notBeforeTick = 0;

  constructor(options: ReadRoundsOptions) {
    this.#options = options;
  }

  /**
   * Resolves with an index that covers all that was committed before the call, once this node
   * has applied it. @throws RaftError `no_quorum`, `overloaded`.
   */
  read({ signal }: { readonly signal: AbortSignal }): Promise<number> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#isFull) return Promise.reject(overloaded());
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const waiter = this.#add({ isRemote: false, resolve, reject });
    const abort = () => this.#fail(waiter, signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    return promise.finally(() => signal.removeEventListener("abort", abort));
  }

  /** Another node asks this one, which it takes for the leader. */
  asked(from: NodeId, { round }: ReadRequest): void {
    const { isLeader, send } = this.#options;
    const answer = (index: number | null) => send(from, { kind: "read_answer", round, index });
    if (!isLeader() || this.#isFull) answer(null);
    else this.#add({ isRemote: true, resolve: answer, reject: () => answer(null) });
  }

  /** The leader's answer; only the one to a round of this node that is under way counts. */
  answered(from: NodeId, { round: name, index }: ReadAnswer): void {
    const round = this.#rounds.get(name);
    if (round?.reign.leader !== from) return;
    if (index !== null) {
      this.#confirm(name, index);
      return;
    }
    this.#notBeforeTick = this.#tick + retryTicks;
    this.#giveUp(name, round);
  }

  /** The core confirmed rounds of this node as the leader. */
  confirm(reads: readonly ConfirmedRead[]): void {
    for (const { context, index } of reads) this.#confirm(String(context), index);
  }

  /** Gives up the rounds of a past reign, begins one for the reads that wait, resolves what is applied. */
  flush(reign: Reign | undefined): void {
    for (const [name, round] of this.#rounds) {
      if (!isSameReign(round.reign, reign)) this.#giveUp(name, round);
    }
    if (this.#waiting.size > 0 && reign !== undefined && this.#mayStart) this.#start(reign);
    this.#settle();
  }

  tick({ isLeaderless }: { readonly isLeaderless: boolean }): void {
    const { clock, answerTicks } = this.#options;
    this.#tick += 1;
    for (const [name, round] of this.#rounds) {
      if (round.startTick + answerTicks < this.#tick) this.#giveUp(name, round);
    }
    const now = clock.monotonic();
    for (const waiter of this.#live) {
      if (isLeaderless) this.#fail(waiter, noQuorum("no leader can be found"));
      else if (now >= waiter.deadlineMs) {
        this.#fail(waiter, noQuorum("the leader did not confirm a read in time"));
      }
    }
  }

  failAll(error: unknown): void {
    for (const waiter of this.#live) this.#fail(waiter, error);
    this.#rounds.clear();
  }

  get #isFull(): boolean {
    return this.#live.size >= maxWaitingReads;
  }

  get #mayStart(): boolean {
    if (this.#tick < this.#notBeforeTick || this.#rounds.size >= maxReadRounds) return false;
    return [...this.#rounds.values()].every(({ startTick }) => startTick < this.#tick);
  }

  #add(waiter: Omit<Waiter, "deadlineMs">): Waiter {
    const { clock, timeoutMs, wake } = this.#options;
    const added = { ...waiter, deadlineMs: clock.monotonic() + timeoutMs };
    this.#live.add(added);
    this.#waiting.add(added);
    wake();
    return added;
  }

  #start(reign: Reign): void {
    const { self, session, startRound, send } = this.#options;
    const isOwn = reign.leader === self;
    if (!isOwn) this.#refuseRemote();
    const waiters = [...this.#waiting];
    if (waiters.length === 0) return;
    const context = isOwn ? startRound() : undefined;
    if (isOwn && context === undefined) {
      this.#notBeforeTick = this.#tick + retryTicks;
      return;
    }
    this.#count += 1;
    const name = context === undefined ? `${session}:${this.#count}` : String(context);
    this.#waiting.clear();
    this.#rounds.set(name, { reign, startTick: this.#tick, waiters });
    if (!isOwn) send(reign.leader, { kind: "read_request", round: name });
  }

  /** Whoever asked this node while it led finds the next leader by itself. */
  #refuseRemote(): void {
    for (const waiter of this.#waiting) {
      if (waiter.isRemote) this.#fail(waiter, undefined);
    }
  }

  #confirm(name: string, index: number): void {
    const round = this.#rounds.get(name);
    if (round === undefined) return;
    this.#rounds.delete(name);
    for (const waiter of round.waiters) {
      if (this.#live.has(waiter)) this.#confirmed.set(waiter, index);
    }
    this.#settle();
    if (this.#waiting.size > 0) this.#options.wake();
  }

  #giveUp(name: string, { waiters }: Round): void {
    this.#rounds.delete(name);
    for (const waiter of waiters) {
      if (this.#live.has(waiter)) this.#waiting.add(waiter);
    }
  }

  #settle(): void {
    if (this.#confirmed.size === 0) return;
    const applied = this.#options.appliedIndex();
    for (const [waiter, index] of this.#confirmed) {
      if (!waiter.isRemote && applied < index) continue;
      this.#confirmed.delete(waiter);
      this.#live.delete(waiter);
      waiter.resolve(index);
    }
  }

  #fail(waiter: Waiter, error: unknown): void {
    if (!this.#live.delete(waiter)) return;
    this.#waiting.delete(waiter);
    this.#confirmed.delete(waiter);
    waiter.reject(error);
  }
}

function overloaded(): RaftError {
  const text = `${maxWaitingReads} reads of this node wait already. Try again later.`;
  return new RaftError("overloaded", text);
}
