import type { RecoveryView } from "../api/index.ts";
import { type ClusterState, type Command, encodeCommand } from "../cluster/index.ts";
import { type Clock, CodedError, type NodeId, type ReadableCell } from "../kernel/index.ts";
import type { EntryId, RaftRunner } from "../raft/index.ts";

/** For other nodes to say how far their logs reach. */
const answerMs = 3_000;
/** From the decision until the survivor leads and has applied it. */
const recoverMs = 30_000;

export type RecoveryOptions = {
  readonly self: NodeId;
  readonly raft: Pick<RaftRunner, "status" | "position" | "positions" | "recover">;
  readonly state: ReadableCell<ClusterState>;
  readonly clock: Clock;
};

/** What a quorum lost for good leaves, and the one way on from it. */
export class Recovery {
  readonly #options: RecoveryOptions;

  constructor(options: RecoveryOptions) {
    this.#options = options;
  }

  /** Asks every node how far its log reaches, and says what a recovery here would do. */
  async view({ signal }: { readonly signal: AbortSignal }): Promise<RecoveryView> {
    const { self, raft, state } = this.#options;
    const { nodes, clusterId } = state.get();
    const others = [...nodes.keys()].filter((node) => node !== self);
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
    const positions = new Map(await raft.positions(others, { signal: inTime }));
    signal.throwIfAborted();
    positions.set(self, raft.position());
    const { voters, commitIndex } = raft.status.get();
    return {
      clusterId,
      commitIndex,
      nodes: [...nodes.values()].map(({ id, name }) => ({
        id,
        name,
        isSelf: id === self,
        isVoter: voters.includes(id),
        position: positions.get(id) ?? null,
      })),
      refusal: this.#refusal(positions) ?? null,
    };
  }

  /**
   * Goes on without the lost nodes. They have to be the ones that the caller was shown.
   * @throws CodedError `conflict` when it cannot be done here, or not any more.
   */
  async recover(
    lost: readonly string[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<{ readonly index: number }> {
    const { raft, self } = this.#options;
    const { nodes, refusal } = await this.view({ signal });
    if (refusal !== null) throw new CodedError("conflict", refusal);
    const gone = nodes.filter(({ position }) => position === null).map(({ id }) => id as NodeId);
    if (new Set(lost).symmetricDifference(new Set(gone)).size > 0) {
      const text = "Other nodes answer now than when you were asked. Look again: skein recover";
      throw new CodedError("conflict", text);
    }
    const learners = nodes
      .map(({ id }) => id as NodeId)
      .filter((id) => id !== self && !gone.includes(id));
    const command: Command = { kind: "recover", lost: gone };
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(recoverMs)]);
    const wanted = { learners, data: encodeCommand(command, this.#options.clock.now()) };
    return { index: await raft.recover(wanted, { signal: inTime }) };
  }

  /** Why it cannot be done on this node; undefined when it can. */
  #refusal(positions: ReadonlyMap<NodeId, EntryId>): string | undefined {
    const { raft, self, state } = this.#options;
    const { leader, voters, votersOutgoing } = raft.status.get();
    const name = (node: NodeId) => state.get().nodes.get(node)?.name ?? node;
    if (leader !== undefined) {
      return `The cluster works: ${name(leader)} leads. There is nothing to recover.`;
    }
    const answering = voters.filter((node) => positions.has(node));
    // While a change of voters is under way, those before it have to agree as well.
    const isQuorumThere = [voters, votersOutgoing]
      .filter(({ length }) => length > 0)
      .every((set) => set.filter((node) => positions.has(node)).length > set.length / 2);
    if (isQuorumThere) {
      return `${answering.length} of ${voters.length} voters answer, so they elect a leader by themselves within seconds.`;
    }
    if (state.get().clusterId === "") {
      return "This node has never heard from its cluster, so it has nothing to go on with.";
    }
    const own = raft.position();
    const best = [...positions].reduce((a, b) => (isAhead(b[1], a[1]) ? b : a), [self, own]);
    if (!isAhead(best[1], own)) return undefined;
    return `${name(best[0])} holds more of the log than this node. Recover there, so that less is lost: skein recover, on ${name(best[0])}`;
  }
}

/** Whose log holds more of what may have been agreed (paper §5.4.1). */
function isAhead(left: EntryId, right: EntryId): boolean {
  return left.term > right.term || (left.term === right.term && left.index > right.index);
}
