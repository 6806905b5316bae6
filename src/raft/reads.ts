import { quorumValue } from "./quorum.ts";
import { decidingSets, type RaftState } from "./raft-state.ts";
import type { Leader } from "./role.ts";
import { broadcastHeartbeat } from "./sending.ts";

/** More rounds than this at a time are refused. */
export const maxPendingReads = 4_096;

/**
 * Begins a read round (dissertation §6.4): remembers the commit index, then lets a majority
 * confirm that this is still the leader. Every round has a context of its own, higher than
 * all before it in this term, so a late answer never confirms a later read.
 */
export function startRead(state: RaftState, leader: Leader): number | undefined {
  if (leader.reads.length >= maxPendingReads) return undefined;
  leader.lastReadContext += 1;
  leader.reads.push({ context: leader.lastReadContext, index: undefined });
  broadcastHeartbeat(state, leader);
  advanceReads(state, leader);
  return leader.lastReadContext;
}

/** Answers the rounds that can be; called when a confirmation or a commit came in. */
export function advanceReads(state: RaftState, leader: Leader): void {
  const { log, rules, term, self } = state;
  if (leader.reads.length === 0) return;
  if (rules.mayStartRead({ committedTerm: log.term(log.commitIndex), term })) {
    for (const read of leader.reads) read.index ??= log.commitIndex;
  }
  const confirmed = quorumValue(decidingSets(state), (node) =>
    node === self ? leader.lastReadContext : (leader.members.get(node)?.readContext ?? 0),
  );
  for (let read = leader.reads[0]; read !== undefined; read = leader.reads[0]) {
    const { context, index } = read;
    if (index === undefined || !rules.mayAnswerRead({ context, confirmed })) return;
    state.outbox.reads.push({ context, index });
    leader.reads.shift();
  }
}
