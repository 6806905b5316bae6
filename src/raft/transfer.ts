import type { NodeId } from "../kernel/index.ts";
import { allVoters, isVoter } from "./configuration.ts";
import { type RaftState, send } from "./raft-state.ts";
import type { Leader } from "./role.ts";
import { sendAppend } from "./sending.ts";

/**
 * Begins to hand leadership to a voter (dissertation §3.10): no proposals until it has the
 * whole log, then it is told to campaign at once. Given up after an election timeout.
 */
export function startTransfer(state: RaftState, leader: Leader, to: NodeId): boolean {
  const isPossible = to !== state.self && isVoter(state.configurations.current, to);
  if (!isPossible || !leader.members.has(to)) return false;
  // Asking again must not give a target that is too slow more time.
  if (leader.transfer?.to === to) return true;
  leader.transfer = { to, elapsedTicks: 0 };
  if (!finishTransfer(state, leader)) sendAppend(state, leader, to, { evenIfEmpty: true });
  return true;
}

/** Tells the target to campaign once it has everything. */
export function finishTransfer(state: RaftState, leader: Leader): boolean {
  const { transfer } = leader;
  if (transfer === undefined) return false;
  if (!isVoter(state.configurations.current, transfer.to)) return false;
  if (leader.members.get(transfer.to)?.matchIndex !== state.log.lastIndex) return false;
  send(state, transfer.to, { kind: "timeout_now", term: state.term });
  return true;
}

/** Gives up on a target that is too slow, or no voter any more. */
export function tickTransfer(state: RaftState, leader: Leader): void {
  const { transfer } = leader;
  if (transfer === undefined) return;
  transfer.elapsedTicks += 1;
  const isVoting = isVoter(state.configurations.current, transfer.to);
  if (transfer.elapsedTicks >= state.timing.electionTicks || !isVoting) leader.transfer = undefined;
}

/** Of the other voters that were heard lately, the one with the longest matching log. */
export function mostAdvancedVoter(state: RaftState, leader: Leader): NodeId | undefined {
  let best: { readonly node: NodeId; readonly matchIndex: number } | undefined;
  for (const node of allVoters(state.configurations.current)) {
    const progress = leader.members.get(node);
    if (node === state.self || progress === undefined) continue;
    if (progress.ticksSinceHeard > state.timing.electionTicks) continue;
    const { matchIndex } = progress;
    if (best === undefined || matchIndex > best.matchIndex) best = { node, matchIndex };
  }
  return best?.node;
}
