import { allMembers, encodeConfiguration, isJoint, isVoter, leaveJoint } from "./configuration.ts";
import type { Entry } from "./log-storage.ts";
import { quorumValue } from "./quorum.ts";
import { sizeOf } from "./raft-log.ts";
import { becomeFollower, decidingSets, type RaftState, send } from "./raft-state.ts";
import { advanceReads } from "./reads.ts";
import type { Leader } from "./role.ts";
import { announceCommit, broadcastAppend, trackMembers } from "./sending.ts";
import { mostAdvancedVoter } from "./transfer.ts";

/** Appends to the leader's own log and begins to replicate. */
export function appendAsLeader(
  state: RaftState,
  leader: Leader,
  contents: readonly Pick<Entry, "kind" | "data">[],
): void {
  const { log, term } = state;
  const firstIndex = log.lastIndex + 1;
  const entries = contents.map(({ kind, data }, position) => ({
    index: firstIndex + position,
    term,
    kind,
    data,
  }));
  log.append(entries);
  state.configurations.append(entries);
  const bytes = entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
  leader.uncommitted.push({ lastIndex: log.lastIndex, bytes });
  // Removed members still hear of the change that removes them, until it is committed.
  const members = allMembers(state.configurations.current);
  trackMembers(state, leader, { members, keepOthers: true });
  countSelf(state, leader);
  broadcastAppend(state, leader);
}

/** The leader's own progress: only what is on its disk counts. */
export function countSelf(state: RaftState, leader: Leader): void {
  const { stableIndex, lastIndex } = state.log;
  const matchIndex = state.rules.selfMatchIndex({ stableIndex, lastIndex });
  leader.members.get(state.self)?.acknowledge(matchIndex);
}

/**
 * Moves the commit index to what a majority holds (paper §5.3, §5.4) and does what follows
 * from it. Says whether every member was told. The leader may have stepped down afterwards.
 */
export function advanceCommit(state: RaftState, leader: Leader): boolean {
  const { log, rules, term } = state;
  const matched = quorumValue(
    decidingSets(state),
    (node) => leader.members.get(node)?.matchIndex ?? 0,
  );
  if (matched <= log.commitIndex) return false;
  if (!rules.mayCommit({ entryTerm: log.term(matched), term })) return false;
  const { currentIndex } = state.configurations;
  // Whoever is removed by it is not told later.
  const isConfigurationNew = currentIndex > log.commitIndex && currentIndex <= matched;
  const isToldToAll = state.announcement === "at_once" || isConfigurationNew;
  log.commitTo(matched);
  while ((leader.uncommitted[0]?.lastIndex ?? Number.POSITIVE_INFINITY) <= matched) {
    leader.uncommitted.shift();
  }
  advanceReads(state, leader);
  if (isToldToAll) broadcastAppend(state, leader);
  else announceCommit(state, leader, { onlyAwaited: true });
  finishConfiguration(state, leader);
  return isToldToAll;
}

/**
 * A committed joint configuration is left, by whichever leader sees it committed; a leader
 * that is no voter of the committed configuration hands over (dissertation §4.2.2, §4.3).
 */
export function finishConfiguration(state: RaftState, leader: Leader): void {
  const { configurations, log, rules, self } = state;
  const { current, currentIndex } = configurations;
  const { commitIndex } = log;
  if (!rules.isConfigurationCommitted({ configurationIndex: currentIndex, commitIndex })) return;
  if (isJoint(current)) {
    const data = encodeConfiguration(leaveJoint(current));
    appendAsLeader(state, leader, [{ kind: "configuration", data }]);
    return;
  }
  trackMembers(state, leader, { members: allMembers(current), keepOthers: false });
  if (isVoter(current, self)) return;
  const successor = mostAdvancedVoter(state, leader);
  if (successor !== undefined) {
    send(state, successor, { kind: "timeout_now", term: state.term });
  }
  becomeFollower(state, { term: state.term, leader: undefined });
}
