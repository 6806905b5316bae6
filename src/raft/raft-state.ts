import type { NodeId, Random } from "../kernel/index.ts";
import { randomBelow } from "../kernel/index.ts";
import type { ConfigurationHistory } from "./configuration.ts";
import { maxLogNumber } from "./log-storage.ts";
import type { Message, Outgoing } from "./message.ts";
import type { DecidingSets } from "./quorum.ts";
import type { RaftLog } from "./raft-log.ts";
import type { ConfirmedRead } from "./ready.ts";
import type { Role } from "./role.ts";
import type { RaftRules } from "./rules.ts";
import type { RaftLimits, RaftTiming } from "./timing.ts";

/**
 * When members are told of a commit that no message was due to carry.
 *
 * - `at_once`: by an empty append, which costs a message and an answer for each member.
 * - `on_request`: at once only those where somebody waits; the others with whatever is sent
 *   next, or when `announceCommit()` is called.
 */
export type CommitAnnouncement = "at_once" | "on_request";

/**
 * What one node of the protocol is. Owned by `Raft`, changed by the functions of this folder
 * that are named after the protocol's parts; nobody outside sees it.
 */
export type RaftState = {
  readonly self: NodeId;
  readonly log: RaftLog;
  readonly configurations: ConfigurationHistory;
  readonly rules: RaftRules;
  readonly random: Random;
  readonly timing: RaftTiming;
  readonly limits: RaftLimits;
  readonly announcement: CommitAnnouncement;
  term: number;
  vote: NodeId | undefined;
  role: Role;
  electionElapsedTicks: number;
  electionTimeoutTicks: number;
  heartbeatElapsedTicks: number;
  readonly outbox: Outbox;
};

/** What waits for the next `takeReady()`. */
export type Outbox = {
  send: Outgoing[];
  /** Messages to this node itself are delivered when the write is durable: its own vote. */
  sendAfterPersist: Outgoing[];
  sendSnapshots: { readonly to: NodeId; readonly term: number }[];
  reads: ConfirmedRead[];
};

export function emptyOutbox(): Outbox {
  return { send: [], sendAfterPersist: [], sendSnapshots: [], reads: [] };
}

/** For what promises nothing about the disk. */
export function send(state: RaftState, to: NodeId, message: Message): void {
  state.outbox.send.push({ to, message });
}

/** For what a crash must not be able to take back. */
export function sendAfterPersist(state: RaftState, to: NodeId, message: Message): void {
  state.outbox.sendAfterPersist.push({ to, message });
}

export function becomeFollower(
  state: RaftState,
  { term, leader }: { readonly term: number; readonly leader: NodeId | undefined },
): void {
  enterTerm(state, term);
  state.role = { kind: "follower", leader };
  restartElectionTimer(state);
}

/**
 * Terms rise by one with an election, and pre-votes let nobody raise them alone; a recovery raises
 * them by up to 2^20. So not even a node that was away for a century of elections, one a second, or
 * for four thousand recoveries meets a term so far above its own: the sender is broken.
 */
const maxTermJump = 2 ** 32;

/** Whether a term may be true. A node without any history has nothing to compare it with. */
export function isWithinReach(state: RaftState, term: number): boolean {
  return term <= maxLogNumber && (state.term === 0 || term - state.term <= maxTermJump);
}

/**
 * A vote belongs to its term, so a new term begins without one. What was promised to the leader of
 * the old one is not sent any more: its entries may be replaced before they have been written.
 */
export function enterTerm(state: RaftState, term: number): void {
  if (term === state.term) return;
  state.term = term;
  state.vote = undefined;
  const { outbox } = state;
  outbox.sendAfterPersist = outbox.sendAfterPersist.filter(
    ({ message }) => message.kind !== "append_accepted",
  );
}

/** Drawn anew each time, so that two nodes do not collide for ever (paper §5.2). */
export function restartElectionTimer(state: RaftState): void {
  const { electionTicks } = state.timing;
  state.electionElapsedTicks = 0;
  state.heartbeatElapsedTicks = 0;
  state.electionTimeoutTicks = electionTicks + randomBelow(state.random, electionTicks);
}

export function decidingSets(state: RaftState): DecidingSets {
  return state.rules.decidingSets(state.configurations.current);
}
