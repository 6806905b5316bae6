import type { ClusterState, Observations } from "../cluster/index.ts";
import { defaultMaxVoters, memberStatus } from "../cluster/index.ts";
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
  /** Asked before learners become voters: whether they hold what a voter has to hold. */
  readonly mayVote: (
    nodes: readonly NodeId[],
    options: { readonly signal: AbortSignal },
  ) => Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** A voter that has failed keeps its seat this long: most machines come back. */
const failedSeatMs = 60_000;
/** How far behind a learner may be and still become a voter. */
const maxLagEntries = 100;
/** A learner that is not ready after so long is dropped, and another tried. */
const learnerGraceMs = 10_000;
/** One that was dropped is not tried again for so long. */
const droppedRestMs = 60_000;
const resyncMs = 5_000;
/** How soon a learner's progress, which wakes nobody, is seen. */
const progressMs = 500;

/**
 * While this node leads: keeps the set of voters as the membership and its health suggest. A
 * node that is to vote becomes a learner first; everybody else is a log follower.
 */
export function startVoterLoop(options: VoterLoopOptions): AsyncDisposable {
  const { self, raft, state, observations, clock, logger } = options;
  const wakeup = new Wakeup();
  const stops = [state, observations, raft.status].map((cell) =>
    cell.subscribe(() => wakeup.wake()),
  );
  const stopping = new AbortController();
  const learning = new LearnerWatch(clock);

  async function look({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { leader, isSettled, voters, learners } = raft.status.get();
    if (leader !== self) {
      learning.clear();
      return;
    }
    if (!isSettled) return;
    const current = { voters, learners, votersOutgoing: [], learnersNext: [] };
    const members = candidates(options);
    learning.look(learners, members);
    if (learners.length > 0) lookAgainSoon();
    const target = planVoters({
      members: members.map((member) =>
        learning.isResting(member.nodeId) ? { ...member, isHealthy: false } : member,
      ),
      current,
      maxVoters: state.get().maxVoters ?? defaultMaxVoters,
    });
    if (target === undefined) return;
    const arriving = target.voters.filter((node) => !voters.includes(node));
    if (arriving.length > 0 && !(await options.mayVote(arriving, { signal }))) return;
    logger.info({ voters: target.voters, learners: target.learners }, "changing voters");
    await raft.changeConfiguration(target, { signal });
  }

  let isLookingAgain = false;
  function lookAgainSoon(): void {
    if (isLookingAgain) return;
    isLookingAgain = true;
    // Rejects only by the end of the loop.
    clock.sleep(progressMs, { signal: stopping.signal }).then(
      () => {
        isLookingAgain = false;
        wakeup.wake();
      },
      () => undefined,
    );
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

/** Since when each learner is one, and which of them took too long. */
class LearnerWatch {
  readonly #clock: Clock;
  #sinceMs = new Map<NodeId, number>();
  readonly #restingUntilMs = new Map<NodeId, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  look(learners: readonly NodeId[], members: readonly VoterCandidate[]): void {
    const nowMs = this.#clock.monotonic();
    const ready = new Set(members.filter(({ isReady }) => isReady).map(({ nodeId }) => nodeId));
    this.#sinceMs = new Map(learners.map((node) => [node, this.#sinceMs.get(node) ?? nowMs]));
    for (const [node, sinceMs] of this.#sinceMs) {
      const isLate = !ready.has(node) && nowMs - sinceMs > learnerGraceMs;
      if (isLate) this.#restingUntilMs.set(node, nowMs + droppedRestMs);
    }
    for (const [node, untilMs] of this.#restingUntilMs) {
      if (untilMs <= nowMs) this.#restingUntilMs.delete(node);
    }
  }

  isResting(node: NodeId): boolean {
    return this.#restingUntilMs.has(node);
  }

  clear(): void {
    this.#sinceMs.clear();
    this.#restingUntilMs.clear();
  }
}

function candidates(options: VoterLoopOptions): readonly VoterCandidate[] {
  const { self, raft, clock } = options;
  const observations = options.observations.get();
  const progress = new Map((raft.progress() ?? []).map((each) => [each.node, each]));
  const lastIndex = progress.get(self)?.matchIndex ?? 0;
  const isShut = (node: NodeId) => observations.reports.get(node)?.isDialOutOnly === true;
  // Voters have to reach each other: one of them may be a node that only dials out, not two.
  const hasWays = [...observations.reports.keys()].filter(isShut).length < 2;
  return [...options.state.get().nodes.values()].map((node) => {
    const own = progress.get(node.id);
    // An index of 0 says that the leader has not heard from it yet.
    const matchIndex = own?.matchIndex ?? 0;
    const isCaughtUp = matchIndex > 0 && lastIndex - matchIndex <= maxLagEntries;
    const saidIndex = observations.reports.get(node.id)?.logIndex ?? 0;
    const member = observations.members.get(node.id);
    const isAlive = memberStatus(observations, node.id) === "alive";
    const isFailed = member?.status === "failed" && clock.now() - member.sinceMs > failedSeatMs;
    const zone = node.labels["zone"];
    return {
      nodeId: node.id,
      isHealthy: node.id === self || isAlive,
      isReady: node.id === self || (isCaughtUp && own?.isActive === true && isAlive),
      isEligible: node.eligibility !== "drain" && (hasWays || !isShut(node.id)),
      isFailed,
      isNear: lastIndex - saidIndex <= maxLagEntries,
      ...(zone === undefined ? {} : { zone }),
    };
  });
}
