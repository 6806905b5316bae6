import type { NodeId } from "../kernel/index.ts";
import { isJoint, isSameSet, type TargetConfiguration } from "./configuration.ts";
import type { Configuration } from "./log-storage.ts";

export type VoterCandidate = {
  readonly nodeId: NodeId;
  /** Answers now, and did not disappoint lately. Only such nodes are promoted. */
  readonly isHealthy: boolean;
  /** The leader hears it, and its log is nearly complete. Known of members alone. */
  readonly isReady: boolean;
  /** May vote at all: not being drained, not too old a version. */
  readonly isEligible: boolean;
  /** Gone for so long that its seat may be given away. A short silence is no failure. */
  readonly isFailed: boolean;
  /** Its log is close to the end, as it says itself: it would be ready soon. */
  readonly isNear?: boolean;
  /** Voters are spread over zones. */
  readonly zone?: string;
};

/** Voters when the caller wishes nothing else. */
export const defaultMaxVoters = 5;

/**
 * Who should vote: 1, 3 or 5 (7 on request) of the members, never an even number, because two
 * voters stop when one of them fails. A node that is to vote is a learner first, until it is
 * ready; everybody else is a log follower and in no configuration.
 *
 * Present voters keep their seats until they are gone, or failed or are not eligible while a
 * healthy member can take over. The answer is undefined when nothing is to change, while a
 * change is under way or a learner is catching up, and when the change would leave the voters
 * without a majority that is ready, before or after it.
 */
export function planVoters({
  members,
  current,
  maxVoters = defaultMaxVoters,
}: {
  readonly members: readonly VoterCandidate[];
  readonly current: Configuration;
  readonly maxVoters?: number;
}): TargetConfiguration | undefined {
  if (isJoint(current)) return undefined;
  const ready = new Set(members.filter(({ isReady }) => isReady).map(({ nodeId }) => nodeId));
  const voters = chooseVoters(members, current, maxVoters);
  const arriving = voters.filter((node) => !current.voters.includes(node));
  const isPrepared = arriving.every((node) => current.learners.includes(node) && ready.has(node));
  const target = isPrepared
    ? { voters, learners: [] }
    : { voters: current.voters, learners: arriving };
  const isSame =
    isSameSet(target.voters, current.voters) && isSameSet(target.learners, current.learners);
  const isSafe = hasMajority(current.voters, ready) && hasMajority(target.voters, ready);
  return isSame || !isSafe ? undefined : target;
}

function chooseVoters(
  members: readonly VoterCandidate[],
  current: Configuration,
  maxVoters: number,
): readonly NodeId[] {
  const isFit = ({ isEligible, isFailed }: VoterCandidate) => isEligible && !isFailed;
  const seated = members.filter(({ nodeId }) => current.voters.includes(nodeId));
  const kept = seated.filter(isFit);
  const unfit = seated.filter((member) => !isFit(member));
  const fresh = members.filter(
    (member) => !current.voters.includes(member.nodeId) && member.isHealthy && isFit(member),
  );
  // Who is on the way to a seat is not passed over for somebody else.
  const begun = fresh.filter(({ nodeId }) => current.learners.includes(nodeId));
  // An unfit voter gives its seat to somebody, never to nobody: fewer voters bear less.
  const seats = Math.max(
    largestOdd(Math.min(maxVoters, kept.length + fresh.length)),
    largestOdd(Math.min(maxVoters, seated.length)),
  );
  const rest = fresh.filter((member) => !begun.includes(member));
  const chosen = [kept, begun, rest, unfit].reduce<readonly VoterCandidate[]>(
    (voters, candidates) => spread(voters, candidates, seats),
    [],
  );
  // With nobody left, the present voters stay: an empty configuration could never recover.
  return chosen.length === 0 ? current.voters : chosen.map(({ nodeId }) => nodeId).sort();
}

/** Adds candidates, each time from the zone with the fewest voters, then by order given. */
function spread(
  chosen: readonly VoterCandidate[],
  candidates: readonly VoterCandidate[],
  seats: number,
): readonly VoterCandidate[] {
  const result = [...chosen];
  const left = [...candidates].sort(
    (a, b) => worthOf(b) - worthOf(a) || (a.nodeId < b.nodeId ? -1 : 1),
  );
  while (result.length < seats && left.length > 0) {
    const crowding = left.map(({ zone }) => result.filter((voter) => voter.zone === zone).length);
    const [next] = left.splice(bestOf(left, crowding), 1);
    if (next !== undefined) result.push(next);
  }
  return result;
}

function worthOf({ isHealthy, isNear = false }: VoterCandidate): number {
  return (isHealthy ? 2 : 0) + (isNear ? 1 : 0);
}

/** The first of the healthy ones, where there are any, in the least crowded zone. */
function bestOf(left: readonly VoterCandidate[], crowding: readonly number[]): number {
  let best = 0;
  for (let position = 1; position < left.length; position += 1) {
    const isAsHealthy = left[position]?.isHealthy === left[best]?.isHealthy;
    const isLessCrowded = (crowding[position] ?? 0) < (crowding[best] ?? 0);
    if (isAsHealthy && isLessCrowded) best = position;
  }
  return best;
}

function largestOdd(count: number): number {
  return count <= 0 ? 0 : count % 2 === 1 ? count : count - 1;
}

function hasMajority(voters: readonly NodeId[], healthy: ReadonlySet<NodeId>): boolean {
  const answering = voters.filter((node) => healthy.has(node)).length;
  return answering > voters.length / 2;
}
