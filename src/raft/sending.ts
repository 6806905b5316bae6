import type { NodeId } from "../kernel/index.ts";
import { Progress } from "./progress.ts";
import { sizeOf } from "./raft-log.ts";
import { type RaftState, send } from "./raft-state.ts";
import type { Leader } from "./role.ts";

/**
 * Sends a member what it lacks, as far as its limits allow; says whether anything was sent.
 * An empty append still tells the commit index and finds out where the logs match.
 */
export function sendAppend(
  state: RaftState,
  leader: Leader,
  to: NodeId,
  { evenIfEmpty }: { readonly evenIfEmpty: boolean },
): boolean {
  const progress = leader.members.get(to);
  if (progress === undefined || to === state.self || progress.isPaused) return false;
  const { log, limits, term } = state;
  const previousIndex = progress.nextIndex - 1;
  const previousTerm = log.term(previousIndex);
  if (previousTerm === undefined) return sendSnapshot(state, progress, to);
  const entries = progress.isInFlightFull(limits.inFlight)
    ? []
    : log.entries({
        from: progress.nextIndex,
        to: log.lastIndex,
        maxBytes: limits.messageBytes,
      });
  if (entries.length === 0 && !evenIfEmpty) return false;
  send(state, to, {
    kind: "append_request",
    term,
    previous: { index: previousIndex, term: previousTerm },
    entries,
    commitIndex: log.commitIndex,
  });
  progress.toldCommitIndex = log.commitIndex;
  const bytes = entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
  progress.sent({ lastIndex: previousIndex + entries.length, bytes }, limits.inFlight);
  return true;
}

function sendSnapshot(state: RaftState, progress: Progress, to: NodeId): boolean {
  const meta = state.log.snapshotMeta;
  // A silent member would hold the snapshot up; it is looked at again when it is heard.
  const isSilent = progress.ticksSinceHeard > state.timing.electionTicks;
  if (meta === undefined || isSilent) return false;
  progress.becomeSnapshot(meta.index);
  state.outbox.sendSnapshots.push({ to, term: state.term });
  return true;
}

/** To every member, also an empty one: it carries the commit index at once. */
export function broadcastAppend(state: RaftState, leader: Leader): void {
  for (const to of [...leader.members.keys()].sort()) {
    sendAppend(state, leader, to, { evenIfEmpty: true });
  }
}

/** Tells those who have not been told of the commit index; where asked, only those who wait. */
export function announceCommit(
  state: RaftState,
  leader: Leader,
  { onlyAwaited }: { readonly onlyAwaited: boolean },
): void {
  const { commitIndex } = state.log;
  leader.isAnnouncementDue = onlyAwaited;
  for (const [to, progress] of [...leader.members].sort(byNode)) {
    const { toldCommitIndex, awaitedIndex } = progress;
    if (toldCommitIndex >= commitIndex) continue;
    if (onlyAwaited && awaitedIndex <= toldCommitIndex) continue;
    sendAppend(state, leader, to, { evenIfEmpty: true });
  }
}

export function broadcastHeartbeat(state: RaftState, leader: Leader): void {
  state.heartbeatElapsedTicks = 0;
  for (const [to, progress] of [...leader.members].sort(byNode)) {
    if (to === state.self) continue;
    const commitIndex = state.rules.heartbeatCommitIndex({
      matchIndex: progress.matchIndex,
      commitIndex: state.log.commitIndex,
    });
    progress.toldCommitIndex = Math.max(progress.toldCommitIndex, commitIndex);
    const { term } = state;
    send(state, to, { kind: "heartbeat", term, commitIndex, readContext: leader.lastReadContext });
  }
}

function byNode([left]: readonly [NodeId, Progress], [right]: readonly [NodeId, Progress]): number {
  return left < right ? -1 : 1;
}

/** Follows the members of the configuration; who is not in it any more may still be kept. */
export function trackMembers(
  state: RaftState,
  leader: Leader,
  { members, keepOthers }: { readonly members: readonly NodeId[]; readonly keepOthers: boolean },
): void {
  for (const node of members) {
    if (leader.members.has(node)) continue;
    leader.members.set(node, new Progress(state.log.lastIndex + 1));
  }
  if (keepOthers) return;
  for (const node of [...leader.members.keys()]) {
    if (node !== state.self && !members.includes(node)) leader.members.delete(node);
  }
}
