import type { NodeId } from "../kernel/index.ts";
import { randomBelow } from "../kernel/index.ts";
import { appendAsLeader } from "./commit.ts";
import { allMembers, allVoters, isVoter } from "./configuration.ts";
import { maxLogNumber } from "./log-storage.ts";
import type { PreVoteRequest, PreVoteResponse, VoteRequest, VoteResponse } from "./message.ts";
import { Progress } from "./progress.ts";
import { tally } from "./quorum.ts";
import {
  becomeFollower,
  decidingSets,
  enterTerm,
  type RaftState,
  restartElectionTimer,
  send,
  sendAfterPersist,
} from "./raft-state.ts";
import { type Candidate, type Leader, leaderOf } from "./role.ts";

/**
 * Whether this node may become leader: as a voter, or as one whose removal is not committed
 * yet. Without the latter nobody might be able to lead: the removed hold the longest logs
 * and the remaining lack the very entry that removes them (dissertation §4.2.2).
 */
export function mayCampaign({ configurations, log, self, term }: RaftState): boolean {
  // Past the last term that the log can write there is no election.
  if (term >= maxLogNumber) return false;
  const { current, currentIndex } = configurations;
  if (isVoter(current, self)) return true;
  const isRemovalOpen = currentIndex > log.commitIndex;
  return isRemovalOpen && isVoter(configurations.at(currentIndex - 1), self);
}

/**
 * Asks for pre-votes (dissertation §9.6). The term stays, so a node that cannot win disturbs
 * nobody; the known leader is forgotten, else two such nodes would refuse each other for ever.
 */
export function preCampaign(state: RaftState): void {
  const candidate: Candidate = { kind: "pre_candidate", votes: new Map([[state.self, true]]) };
  state.role = candidate;
  restartElectionTimer(state);
  const { lastEntry } = state.log;
  for (const to of allVoters(state.configurations.current)) {
    if (to === state.self) continue;
    send(state, to, { kind: "pre_vote_request", term: state.term + 1, lastEntry });
  }
  concludeElection(state, candidate);
}

/**
 * The connection to the leader broke, as it does when its process ends: soon asks for
 * pre-votes, instead of waiting for its silence. That the leader is forgotten gives up this
 * node's lease; who still hears it keeps theirs, so only a majority that lost it can elect.
 * A heartbeat over a new connection brings it back, hence the time for one.
 */
export function suspectLeader(state: RaftState): void {
  const { random, timing } = state;
  const { electionTicks, heartbeatTicks } = timing;
  becomeFollower(state, { term: state.term, leader: undefined });
  const spreadTicks = Math.max(1, Math.floor(electionTicks / 4));
  const soonTicks = heartbeatTicks + 1 + randomBelow(random, spreadTicks);
  state.electionTimeoutTicks = Math.min(soonTicks, state.electionTimeoutTicks);
}

/** Starts an election in a new term (paper §5.2). */
export function campaign(state: RaftState, { isTransfer }: { readonly isTransfer: boolean }): void {
  enterTerm(state, state.term + 1);
  state.vote = state.self;
  state.role = { kind: "candidate", votes: new Map() };
  restartElectionTimer(state);
  const { self, term } = state;
  const { lastEntry } = state.log;
  for (const to of allVoters(state.configurations.current)) {
    if (to === self) continue;
    // A candidacy that a crash forgets could be repeated with a shorter log, and the
    // votes for the longer one counted.
    sendAfterPersist(state, to, { kind: "vote_request", term, lastEntry, isTransfer });
  }
  sendAfterPersist(state, self, { kind: "vote_response", term, isGranted: true });
}

/** While a leader is heard, nobody else is helped to replace it (dissertation §4.2.3). */
export function isLeaseHeld(state: RaftState): boolean {
  const { role, electionElapsedTicks, timing } = state;
  // Check-quorum keeps a leader's own lease honest.
  if (role.kind === "leader") return true;
  const isFollowing = role.kind === "follower" && role.leader !== undefined;
  return isFollowing && electionElapsedTicks < timing.electionTicks;
}

export function answerPreVote(state: RaftState, from: NodeId, request: PreVoteRequest): void {
  const isUpToDate = state.rules.isUpToDate({
    candidate: request.lastEntry,
    own: state.log.lastEntry,
  });
  const isGranted = request.term > state.term && isUpToDate;
  const term = isGranted ? request.term : state.term;
  // Also a refusal is an answer: it tells a node of an older term that it is behind.
  send(state, from, { kind: "pre_vote_response", term, isGranted });
}

/** Votes on a request of this very term; anybody may be asked, also who is no voter (yet). */
export function answerVote(state: RaftState, from: NodeId, request: VoteRequest): void {
  const { rules, term, vote } = state;
  const isFree = rules.isVoteFree({
    vote,
    candidate: from,
    leader: leaderOf(state.role, state.self),
  });
  const isUpToDate = rules.isUpToDate({ candidate: request.lastEntry, own: state.log.lastEntry });
  const isGranted = isFree && isUpToDate && request.term === term;
  if (isGranted) {
    state.vote = from;
    state.electionElapsedTicks = 0;
  }
  sendAfterPersist(state, from, { kind: "vote_response", term, isGranted });
}

/** Counts an answer to this node's own (pre-)campaign. */
export function countVote(
  state: RaftState,
  from: NodeId,
  { kind, term, isGranted }: PreVoteResponse | VoteResponse,
): void {
  const { role } = state;
  if (role.kind === "follower" || role.kind === "leader") return;
  const isPreVote = kind === "pre_vote_response";
  if (isPreVote !== (role.kind === "pre_candidate")) return;
  const isOfThisElection = isPreVote && isGranted ? term === state.term + 1 : term === state.term;
  if (!isOfThisElection) return;
  if (!role.votes.has(from)) role.votes.set(from, isGranted);
  concludeElection(state, role);
}

function concludeElection(state: RaftState, candidate: Candidate): void {
  const result = tally(decidingSets(state), candidate.votes);
  if (result === "lost") becomeFollower(state, { term: state.term, leader: undefined });
  if (result !== "won") return;
  if (candidate.kind === "pre_candidate") campaign(state, { isTransfer: false });
  else becomeLeader(state);
}

/** Opens the term with an empty entry: committing it commits everything before (paper §8). */
function becomeLeader(state: RaftState): void {
  const nextIndex = state.log.lastIndex + 1;
  const nodes = new Set([...allMembers(state.configurations.current), state.self]);
  const leader: Leader = {
    kind: "leader",
    members: new Map([...nodes].map((node) => [node, new Progress(nextIndex)])),
    uncommitted: [],
    reads: [],
    lastReadContext: 0,
    isAnnouncementDue: false,
    transfer: undefined,
  };
  state.role = leader;
  restartElectionTimer(state);
  appendAsLeader(state, leader, [{ kind: "empty", data: new Uint8Array() }]);
}
