import type { NodeId } from "../kernel/index.ts";
import { assert } from "../kernel/index.ts";
import { advanceCommit } from "./commit.ts";
import type {
  AppendAccepted,
  AppendRejected,
  AppendRequest,
  Heartbeat,
  HeartbeatResponse,
  SnapshotRequest,
} from "./message.ts";
import { type RaftState, send, sendAfterPersist } from "./raft-state.ts";
import { advanceReads } from "./reads.ts";
import type { Leader } from "./role.ts";
import { sendAppend } from "./sending.ts";
import { finishTransfer } from "./transfer.ts";

/** The follower's half of AppendEntries (paper §5.3). The sender is the leader of this term. */
export function handleAppend(state: RaftState, from: NodeId, request: AppendRequest): void {
  const { log, rules, term } = state;
  const { previous, entries } = request;
  // What is committed here is settled; comparing with compacted entries is not possible.
  if (previous.index < log.commitIndex) {
    const settled = [previous, ...entries].filter(({ index }) => index <= log.commitIndex);
    const other = settled.find((id) => log.differs(id));
    assert(
      other === undefined,
      `entry ${other?.index} of ${from} is another one than was agreed here: this node belongs to another history ` +
        "of the cluster, so move its data directory away and let it join anew",
    );
    const { commitIndex: comparedIndex, lastIndex } = log;
    const matchIndex = rules.acknowledgedIndex({ comparedIndex, lastIndex, isLate: true });
    sendAfterPersist(state, from, { kind: "append_accepted", term, matchIndex });
    return;
  }
  if (!log.matches(previous)) {
    const hint = log.lastPossibleMatch({
      index: Math.min(previous.index, log.lastIndex),
      term: previous.term,
    });
    const rejectedIndex = previous.index;
    sendAfterPersist(state, from, { kind: "append_rejected", term, rejectedIndex, hint });
    return;
  }
  const fresh = rules.newEntries(entries, (index) => log.term(index));
  log.append(fresh);
  state.configurations.append(fresh);
  const lastNewIndex = previous.index + entries.length;
  const { lastIndex } = log;
  const leaderCommitIndex = request.commitIndex;
  log.commitTo(rules.followerCommitIndex({ leaderCommitIndex, lastNewIndex, lastIndex }));
  const matchIndex = rules.acknowledgedIndex({
    comparedIndex: lastNewIndex,
    lastIndex,
    isLate: false,
  });
  sendAfterPersist(state, from, { kind: "append_accepted", term, matchIndex });
}

export function handleHeartbeat(state: RaftState, from: NodeId, heartbeat: Heartbeat): void {
  state.log.commitTo(heartbeat.commitIndex);
  const { readContext } = heartbeat;
  // It only says that no later leader is known here, so it does not wait for the disk.
  send(state, from, { kind: "heartbeat_response", term: state.term, readContext });
}

/** The follower's half of InstallSnapshot (paper §7). */
export function handleSnapshot(state: RaftState, from: NodeId, request: SnapshotRequest): void {
  const { log, term } = state;
  const { meta, data } = request;
  if (meta.index > log.commitIndex) {
    // With the entry in the log the snapshot brings nothing but the knowledge of its commit.
    if (log.matches(meta)) {
      log.commitTo(meta.index);
    } else {
      log.restore({ meta, data });
      state.configurations.reset(meta);
    }
  }
  sendAfterPersist(state, from, { kind: "append_accepted", term, matchIndex: log.commitIndex });
}

/** The leader learns how far a member's log matches. */
export function handleAppendAccepted(
  state: RaftState,
  leader: Leader,
  from: NodeId,
  { matchIndex }: AppendAccepted,
): void {
  const progress = leader.members.get(from);
  if (progress === undefined || matchIndex > state.log.lastIndex) return;
  progress.ticksSinceHeard = 0;
  const wasPaused = progress.isPaused;
  const isNews = progress.acknowledge(matchIndex);
  const isProbeAnswer = progress.state === "probe" && matchIndex === progress.matchIndex;
  if (!isNews && !isProbeAnswer) return;
  // The snapshot is done with when it arrived, and when the log can go on without it.
  const isSnapshotNeeded =
    progress.state === "snapshot" &&
    matchIndex < progress.snapshotIndex &&
    state.log.term(matchIndex) === undefined;
  if (progress.state !== "replicate" && !isSnapshotNeeded) progress.becomeReplicate();
  const isToldToAll = advanceCommit(state, leader);
  if (state.role !== leader) return;
  if (!isToldToAll && wasPaused) sendAppend(state, leader, from, { evenIfEmpty: true });
  while (sendAppend(state, leader, from, { evenIfEmpty: false }));
  if (leader.transfer?.to === from) finishTransfer(state, leader);
}

/** The member's log differs: go back, whole terms at a time (paper §5.3, end). */
export function handleAppendRejected(
  state: RaftState,
  leader: Leader,
  from: NodeId,
  { rejectedIndex, hint }: AppendRejected,
): void {
  const progress = leader.members.get(from);
  if (progress === undefined) return;
  progress.ticksSinceHeard = 0;
  const hintIndex = hint.term === 0 ? hint.index : state.log.lastPossibleMatch(hint).index;
  if (progress.reject({ rejectedIndex, hintIndex })) {
    sendAppend(state, leader, from, { evenIfEmpty: true });
  }
}

/** A sign of life, a read's confirmation, and the moment to repeat what may have been lost. */
export function handleHeartbeatResponse(
  state: RaftState,
  leader: Leader,
  from: NodeId,
  { readContext }: HeartbeatResponse,
): void {
  const progress = leader.members.get(from);
  if (progress === undefined) return;
  progress.ticksSinceHeard = 0;
  if (progress.state !== "snapshot") progress.isPaused = false;
  if (readContext > progress.readContext && readContext <= leader.lastReadContext) {
    progress.readContext = readContext;
    advanceReads(state, leader);
  }
  if (progress.matchIndex < state.log.lastIndex) {
    sendAppend(state, leader, from, { evenIfEmpty: true });
  }
}
