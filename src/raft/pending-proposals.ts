import type { Clock, NodeId } from "../kernel/index.ts";
import {
  decodeLeaderAnswer,
  encodeExchange,
  encodeProposal,
  maxForwardBytes,
  maxProposalBytes,
} from "./proposal.ts";
import type { ProposeResult } from "./raft.ts";
import { RaftError } from "./raft-error.ts";
import type { ProposeOptions } from "./runner-contract.ts";

/** More proposals of this node than this may not wait at once. */
export const maxPendingProposals = 4_096;
/** A refused or lost attempt is repeated after so many ticks. */
const retryTicks = 1;

/** Under whom a proposal was sent: a new leader or term means that it may be lost. */
export type Reign = { readonly leader: NodeId; readonly term: number };

type Pending = {
  readonly id: string;
  readonly encoded: Uint8Array;
  readonly deadlineMs: number;
  readonly resolve: (index: number) => void;
  readonly reject: (error: unknown) => void;
  sentUnder: Reign | undefined;
  notBeforeTick: number;
};

export type PendingProposalsOptions = {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** A forwarded request without an answer is repeated after so many ticks. */
  readonly answerTicks: number;
  /** Unique in the cluster, anew for each start of the node. */
  readonly session: string;
  readonly propose: (encoded: readonly Uint8Array[]) => ProposeResult;
  readonly request: (
    to: NodeId,
    body: Uint8Array,
    options: { readonly signal: AbortSignal },
  ) => Promise<Uint8Array>;
  /** Asks for a `flush` soon. */
  readonly wake: () => void;
};

/**
 * The proposals made on this node that it has not applied yet. Each is sent to the present
 * leader, again whenever there is a new one, until it is applied here or its time is up; its
 * id keeps it from being applied twice.
 */
export class PendingProposals {
  readonly #options: PendingProposalsOptions;
  readonly #pending = new Map<string, Pending>();
  readonly #requests = new Set<{
    readonly reign: Reign;
    readonly untilTick: number;
    readonly abort: AbortController;
  }>();
  #count = 0;
  #tick = 0;

  constructor(options: PendingProposalsOptions) {
    this.#options = options;
  }

  /** Resolves with the index at which this node applied it. */
  propose(data: Uint8Array, { signal, id: named }: ProposeOptions): Promise<number> {
    const { clock, session, timeoutMs } = this.#options;
    if (signal.aborted) return Promise.reject(signal.reason);
    if (data.byteLength > maxProposalBytes) {
      const text = `A proposal has at most ${maxProposalBytes} bytes, this one ${data.byteLength}. Split it.`;
      return Promise.reject(new RaftError("too_large", text));
    }
    if (this.#pending.size >= maxPendingProposals) {
      const text = `${maxPendingProposals} proposals of this node wait already. Try again later.`;
      return Promise.reject(new RaftError("overloaded", text));
    }
    if (named !== undefined && this.#pending.has(named)) {
      return Promise.reject(new RaftError("overloaded", `Proposal ${named} waits already.`));
    }
    this.#count += 1;
    const id = named ?? `${session}:${this.#count.toString(36)}`;
    let encoded: Uint8Array;
    try {
      encoded = encodeProposal({ id, data });
    } catch (error) {
      return Promise.reject(error);
    }
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#pending.set(id, {
      id,
      encoded,
      deadlineMs: clock.monotonic() + timeoutMs,
      resolve,
      reject,
      sentUnder: undefined,
      notBeforeTick: 0,
    });
    const abort = () => this.#fail(id, signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    this.#options.wake();
    return promise.finally(() => signal.removeEventListener("abort", abort));
  }

  /** Sends what was not sent under this reign, and forgets requests to leaders of old. */
  flush(reign: Reign | undefined): void {
    for (const request of this.#requests) {
      const isPast = request.untilTick < this.#tick || !isSameReign(request.reign, reign);
      if (isPast) request.abort.abort(new RaftError("leadership_lost", "The leader changed."));
    }
    if (reign === undefined) return;
    const due = [...this.#pending.values()].filter(
      ({ sentUnder, notBeforeTick }) =>
        notBeforeTick <= this.#tick && !isSameReign(sentUnder, reign),
    );
    for (const batch of batchesOf(due)) {
      for (const proposal of batch) proposal.sentUnder = reign;
      if (reign.leader === this.#options.self) this.#append(batch);
      else void this.#forward(batch, reign);
    }
  }

  /** Time passes; without a leader for long, waiting is pointless. */
  tick({ isLeaderless }: { readonly isLeaderless: boolean }): void {
    this.#tick += 1;
    const now = this.#options.clock.monotonic();
    for (const { id, deadlineMs } of [...this.#pending.values()]) {
      if (isLeaderless) this.#fail(id, noQuorum("no leader can be found"));
      else if (now >= deadlineMs) this.#fail(id, noQuorum("it was not committed in time"));
    }
  }

  applied(id: string, index: number): void {
    this.#pending.get(id)?.resolve(index);
    this.#pending.delete(id);
  }

  /** The ids that still wait, for a look at what a snapshot brought. */
  ids(): readonly string[] {
    return [...this.#pending.keys()];
  }

  failAll(error: RaftError): void {
    for (const request of this.#requests) request.abort.abort(error);
    for (const id of this.ids()) this.#fail(id, error);
  }

  #append(batch: readonly Pending[]): void {
    const result = this.#options.propose(batch.map(({ encoded }) => encoded));
    if (result.kind === "dropped") this.#retry(batch);
  }

  async #forward(batch: readonly Pending[], reign: Reign): Promise<void> {
    const abort = new AbortController();
    const request = { reign, untilTick: this.#tick + this.#options.answerTicks, abort };
    this.#requests.add(request);
    const proposals = batch.map(({ encoded }) => encoded);
    try {
      const body = encodeExchange({ kind: "propose", proposals });
      const answer = await this.#options.request(reign.leader, body, { signal: abort.signal });
      if (decodeLeaderAnswer(answer).kind !== "accepted") this.#retry(batch);
    } catch {
      // Unreachable, refused or too late: whichever it was, it is sent again.
      this.#retry(batch);
    } finally {
      this.#requests.delete(request);
    }
  }

  #retry(batch: readonly Pending[]): void {
    for (const proposal of batch) {
      proposal.sentUnder = undefined;
      proposal.notBeforeTick = this.#tick + retryTicks;
    }
  }

  #fail(id: string, error: unknown): void {
    this.#pending.get(id)?.reject(error);
    this.#pending.delete(id);
  }
}

export function noQuorum(why: string): RaftError {
  return new RaftError(
    "no_quorum",
    `No quorum, so the cluster cannot decide now: ${why}. What runs goes on. Check that a majority of the voters is up and reachable; if it is gone for good, go on without it: skein recover`,
  );
}

export function isSameReign(left: Reign | undefined, right: Reign | undefined): boolean {
  return left?.leader === right?.leader && left?.term === right?.term;
}

function batchesOf(proposals: readonly Pending[]): readonly (readonly Pending[])[] {
  const batches: Pending[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const proposal of proposals) {
    const size = proposal.encoded.byteLength + 16;
    if (bytes + size > maxForwardBytes) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(proposal);
    bytes += size;
  }
  return batches;
}
