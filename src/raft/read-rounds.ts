import type { Clock, NodeId } from "../kernel/index.ts";
import { orAborted, withDeadline } from "./deadline.ts";
import { noQuorum } from "./pending-proposals.ts";
import { decodeLeaderAnswer, encodeExchange } from "./proposal.ts";
import { RaftError } from "./raft-error.ts";
import type { ConfirmedRead } from "./ready.ts";

export type ReadRoundsOptions = {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly retryMs: number;
  readonly attemptMs: number;
  readonly leader: () => NodeId | undefined;
  /** Starts a round on the leader itself and gives its context. */
  readonly startRound: () => number | undefined;
  readonly request: (
    to: NodeId,
    body: Uint8Array,
    options: { readonly signal: AbortSignal },
  ) => Promise<Uint8Array>;
};

/** Linearizable read indexes, on the leader by a round of its own, elsewhere by asking it. */
export class ReadRounds {
  readonly #options: ReadRoundsOptions;
  readonly #rounds = new Map<number, PromiseWithResolvers<number>>();

  constructor(options: ReadRoundsOptions) {
    this.#options = options;
  }

  /** Tries until the signal aborts: an index that covers all that was committed before the call. */
  async readIndex({ signal }: { readonly signal: AbortSignal }): Promise<number> {
    const { clock, attemptMs, retryMs } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      try {
        const reason = noQuorum("the leader did not answer");
        return await withDeadline(clock, { timeoutMs: attemptMs, signal, reason }, (options) =>
          this.#attempt(options),
        );
      } catch {
        await clock.sleep(retryMs, { signal });
      }
    }
  }

  /** One round on this node, as the leader. @throws RaftError `not_leader`, `leadership_lost`. */
  async lead({ signal }: { readonly signal: AbortSignal }): Promise<number> {
    const context = this.#options.startRound();
    if (context === undefined) throw new RaftError("not_leader", "This node does not lead.");
    const round = Promise.withResolvers<number>();
    this.#rounds.set(context, round);
    try {
      return await orAborted(round.promise, signal);
    } finally {
      this.#rounds.delete(context);
    }
  }

  confirm(reads: readonly ConfirmedRead[]): void {
    for (const { context, index } of reads) this.#rounds.get(context)?.resolve(index);
  }

  /** Leadership ended: its rounds will not be confirmed. */
  failAll(): void {
    for (const round of this.#rounds.values()) {
      round.reject(new RaftError("leadership_lost", "The leader changed during a read."));
    }
    this.#rounds.clear();
  }

  async #attempt({ signal }: { readonly signal: AbortSignal }): Promise<number> {
    const { leader, self, request } = this.#options;
    const to = leader();
    if (to === undefined) throw noQuorum("no leader can be found");
    if (to === self) return await this.lead({ signal });
    const body = encodeExchange({ kind: "read_index" });
    const answer = decodeLeaderAnswer(await request(to, body, { signal }));
    if (answer.kind !== "index") throw new RaftError("not_leader", `Node ${to} does not lead.`);
    return answer.index;
  }
}
