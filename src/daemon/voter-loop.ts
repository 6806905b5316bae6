import type { ClusterState, Observations } from "../cluster/index.ts";
import { memberStatus } from "../cluster/index.ts";
import {
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  runReconcileLoop,
  Wakeup,
} from "../kernel/index.ts";
import { planVoters, type RaftRunner, type VoterCandidate } from "../raft/index.ts";

type VoterLoopOptions = {
  readonly self: NodeId;
  readonly raft: RaftRunner;
  readonly state: ReadableCell<ClusterState>;
  readonly observations: ReadableCell<Observations>;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** A voter that has failed keeps its seat this long: most machines come back. */
const failedSeatMs = 60_000;
/** How far behind a learner may be and still become a voter. */
const maxLagEntries = 100;
const resyncMs = 1_000;

/** While this node leads: keeps the set of voters as the membership and its health suggest. */
export function startVoterLoop(options: VoterLoopOptions): AsyncDisposable {
  const { self, raft, state, observations, clock, logger } = options;
  const wakeup = new Wakeup();
  const stops = [state, observations, raft.status].map((cell) =>
    cell.subscribe(() => wakeup.wake()),
  );
  const stopping = new AbortController();

  async function look({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { leader, isSettled, voters, learners } = raft.status.get();
    if (leader !== self || !isSettled) return;
    const current = { voters, learners, votersOutgoing: [], learnersNext: [] };
    const target = planVoters({ members: candidates(options), current });
    if (target === undefined) return;
    logger.info({ voters: target.voters, learners: target.learners }, "changing voters");
    await raft.changeConfiguration(target, { signal });
  }

  const done = runReconcileLoop(
    wakeup,
    {
      reconcile: look,
      onError: (error, retryInMs) =>
        logger.warn({ error: messageOf(error), retryInMs }, "voters not changed"),
      clock,
      resyncMs,
      retryMaxMs: 5_000,
    },
    stopping.signal,
  );
  return {
    [Symbol.asyncDispose]: async () => {
      for (const stop of stops) stop();
      stopping.abort();
      await done;
    },
  };
}

function candidates(options: VoterLoopOptions): readonly VoterCandidate[] {
  const { self, raft, clock } = options;
  const observations = options.observations.get();
  const progress = new Map((raft.progress() ?? []).map((each) => [each.node, each]));
  const lastIndex = progress.get(self)?.matchIndex ?? 0;
  return [...options.state.get().nodes.values()].map((node) => {
    const own = progress.get(node.id);
    const isCaughtUp = own !== undefined && lastIndex - own.matchIndex <= maxLagEntries;
    const member = observations.members.get(node.id);
    const isFailed = member?.status === "failed" && clock.now() - member.sinceMs > failedSeatMs;
    const zone = node.labels["zone"];
    return {
      nodeId: node.id,
      isHealthy:
        node.id === self ||
        (isCaughtUp && own.isActive && memberStatus(observations, node.id) === "alive"),
      isEligible: true,
      isFailed,
      ...(zone === undefined ? {} : { zone }),
    };
  });
}
