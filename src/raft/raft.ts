import type { NodeId, Random } from "../kernel/index.ts";
import { assert, assertNever, randomBelow } from "../kernel/index.ts";
import { advanceCommit, appendAsLeader, countSelf } from "./commit.ts";
import {
  allVoters,
  ConfigurationHistory,
  emptyConfiguration,
  encodeConfiguration,
  isJoint,
  problemOf,
  simpleConfiguration,
  stepTowards,
  type TargetConfiguration,
} from "./configuration.ts";
import {
  answerPreVote,
  answerVote,
  campaign,
  countVote,
  isLeaseHeld,
  mayCampaign,
  preCampaign,
  suspectLeader,
} from "./election.ts";
import {
  type CommittedBatch,
  type CommittedRead,
  isMember,
  type LeaderHint,
  leaderHint,
  readCommitted,
  type TakeResult,
  takeCommitted,
  takeSnapshot,
} from "./following.ts";
import {
  type Configuration,
  type Entry,
  type EntryId,
  type HardState,
  type LogReader,
  type LogStorage,
  maxLogNumber,
} from "./log-storage.ts";
import type { Message, Outgoing } from "./message.ts";
import type { Progress } from "./progress.ts";
import { hasQuorum } from "./quorum.ts";
import { RaftLog, type Snapshot } from "./raft-log.ts";
import {
  becomeFollower,
  type CommitAnnouncement,
  decidingSets,
  emptyOutbox,
  isWithinReach,
  type RaftState,
  restartElectionTimer,
  send,
} from "./raft-state.ts";
import { startRead } from "./reads.ts";
import type { Persist, Ready } from "./ready.ts";
import {
  handleAppend,
  handleAppendAccepted,
  handleAppendRejected,
  handleHeartbeat,
  handleHeartbeatResponse,
  handleSnapshot,
} from "./replication.ts";
import { type Leader, leaderOf } from "./role.ts";
import { paperRules, type RaftRules } from "./rules.ts";
import { announceCommit, broadcastHeartbeat } from "./sending.ts";
import { defaultRaftLimits, type RaftLimits, type RaftTiming } from "./timing.ts";
import { mostAdvancedVoter, startTransfer, tickTransfer } from "./transfer.ts";

/** A recovery raises the term by a number drawn up to this. */
const maxRecoveryJump = 2 ** 20;
/** A snapshot that is not acknowledged for so many election timeouts is sent again. */
const snapshotElectionTimeouts = 4;

export type RaftOptions = {
  readonly self: NodeId;
  /** Read only. The caller writes what `takeReady()` asks for. */
  readonly storage: LogReader & Pick<LogStorage, "hardState">;
  readonly random: Random;
  readonly timing: RaftTiming;
  /** What the state machine already holds: the index of the snapshot it was restored from. */
  readonly appliedIndex: number;
  readonly limits?: RaftLimits;
  readonly rules?: RaftRules;
  /** `at_once` when left out. */
  readonly announcement?: CommitAnnouncement;
};

export type ProposeResult =
  | { readonly kind: "appended"; readonly lastIndex: number; readonly term: number }
  | { readonly kind: "dropped"; readonly reason: "not_leader" | "transferring" | "overloaded" };

export type ProposeConfigurationResult =
  | { readonly kind: "appended"; readonly index: number }
  | { readonly kind: "unchanged" }
  | { readonly kind: "dropped"; readonly reason: "not_leader" | "pending" }
  | { readonly kind: "invalid"; readonly problem: string };

export type MemberProgress = {
  readonly node: NodeId;
  readonly matchIndex: number;
  /** Where the next append to it begins. */
  readonly nextIndex: number;
  readonly state: Progress["state"];
  /** Whether it is sent nothing until it answers. */
  readonly isPaused: boolean;
  /** Heard within the last election timeout; always true of the leader itself. */
  readonly isActive: boolean;
};

/**
 * One node of the Raft protocol, without any IO: messages and ticks go in, and what has to be
 * written, sent and applied is collected by {@link Raft.takeReady}.
 *
 * Pre-vote and check-quorum are always on. A configuration is in force from the moment it is
 * in the log, committed or not, and is taken back when its entry is.
 */
export class Raft {
  readonly #state: RaftState;
  #inFlight: { readonly persist: Persist; readonly toSelf: readonly Outgoing[] } | undefined;
  #durable: HardState;
  /** The commit index alone is not worth a write at once: it rides along or waits for a tick. */
  #isCommitDue = false;

  constructor(options: RaftOptions) {
    const { self, storage, random, timing, appliedIndex, limits, rules, announcement } = options;
    const hardState = storage.hardState();
    const meta = storage.snapshotMeta();
    const log = new RaftLog(storage, { commitIndex: hardState.commitIndex, appliedIndex });
    const base = { index: meta?.index ?? 0, configuration: meta?.configuration };
    const configurations = new ConfigurationHistory({
      index: base.index,
      configuration: base.configuration ?? emptyConfiguration,
    });
    // A snapshot is written before the hard state of its term, and a crash may come between.
    const term = Math.max(hardState.term, log.lastEntry.term);
    this.#durable = hardState;
    this.#state = {
      self,
      log,
      configurations,
      rules: rules ?? paperRules,
      random,
      timing,
      limits: limits ?? defaultRaftLimits,
      announcement: announcement ?? "at_once",
      term,
      vote: term === hardState.term ? hardState.vote : undefined,
      role: { kind: "follower", leader: undefined },
      electionElapsedTicks: 0,
      electionTimeoutTicks: 0,
      heartbeatElapsedTicks: 0,
      outbox: emptyOutbox(),
    };
    restartElectionTimer(this.#state);
    this.#readConfigurations(base.index);
    // A node that is the only voter has nobody to wait for.
    const voters = allVoters(configurations.current);
    if (voters.length === 1 && voters[0] === self) this.#state.electionTimeoutTicks = 1;
  }

  get term(): number {
    return this.#state.term;
  }

  get vote(): NodeId | undefined {
    return this.#state.vote;
  }

  get role(): "follower" | "pre_candidate" | "candidate" | "leader" {
    return this.#state.role.kind;
  }

  /** Who leads, as far as this node knows; forgotten after an election timeout of silence. */
  get leader(): NodeId | undefined {
    return leaderOf(this.#state.role, this.#state.self);
  }

  /** The same with the time since it was heard: what others are told. */
  get leaderHint(): LeaderHint | undefined {
    return leaderHint(this.#state);
  }

  /** Whether the configuration in force names this node, so that the leader sends it the log. */
  get isMember(): boolean {
    return isMember(this.#state);
  }

  get commitIndex(): number {
    return this.#state.log.commitIndex;
  }

  get appliedIndex(): number {
    return this.#state.log.appliedIndex;
  }

  get lastIndex(): number {
    return this.#state.log.lastIndex;
  }

  /** The one in force. */
  get configuration(): Configuration {
    return this.#state.configurations.current;
  }

  /** Whether the one in force is committed and not joint. */
  get isConfigurationSettled(): boolean {
    const { configurations, log } = this.#state;
    return !isJoint(configurations.current) && configurations.currentIndex <= log.commitIndex;
  }

  /** Term of an entry; undefined when it is compacted or absent. */
  termAt(index: number): number | undefined {
    return this.#state.log.term(index);
  }

  /** The configuration at an applied index: what a snapshot there has to record. */
  configurationAt(index: number): Configuration {
    return this.#state.configurations.at(index);
  }

  /** What the leader knows of its members; undefined on others. */
  progress(): readonly MemberProgress[] | undefined {
    const { role, self, timing } = this.#state;
    if (role.kind !== "leader") return undefined;
    return [...role.members]
      .map(([node, { matchIndex, nextIndex, state, isPaused, ticksSinceHeard }]) => ({
        node,
        matchIndex,
        nextIndex,
        state,
        isPaused,
        isActive: node === self || ticksSinceHeard <= timing.electionTicks,
      }))
      .sort((left, right) => (left.node < right.node ? -1 : 1));
  }

  /** The voter that a transfer reaches soonest; undefined on others than the leader. */
  mostAdvancedVoter(): NodeId | undefined {
    const { role } = this.#state;
    return role.kind === "leader" ? mostAdvancedVoter(this.#state, role) : undefined;
  }

  /** Time passes, by one tick. */
  tick(): void {
    const state = this.#state;
    this.#isCommitDue = state.log.commitIndex > this.#durable.commitIndex;
    state.electionElapsedTicks += 1;
    if (state.role.kind === "leader") {
      this.#tickLeader(state.role);
      return;
    }
    if (state.electionElapsedTicks < state.electionTimeoutTicks) return;
    if (mayCampaign(state)) preCampaign(state);
    else becomeFollower(state, { term: state.term, leader: undefined });
  }

  /** The connection to a peer broke. Where it led, another leader is looked for soon. */
  disconnected(from: NodeId): void {
    const { role } = this.#state;
    if (role.kind === "follower" && role.leader === from) suspectLeader(this.#state);
  }

  /** Whether a message of this term would be looked at; one far above the own is not. */
  isWithinReach(term: number): boolean {
    return isWithinReach(this.#state, term);
  }

  /** Takes in one message from a peer. Never waits; all that follows is in the next ready. */
  step(from: NodeId, message: Message): void {
    const state = this.#state;
    if (!isWithinReach(state, message.term)) return;
    if (message.term > state.term && !this.#meetNewerTerm(from, message)) return;
    if (message.term < state.term) {
      this.#answerOlderTerm(from, message);
      return;
    }
    switch (message.kind) {
      case "pre_vote_request":
        answerPreVote(state, from, message);
        break;
      case "vote_request":
        answerVote(state, from, message);
        break;
      case "pre_vote_response":
      case "vote_response":
        countVote(state, from, message);
        break;
      case "append_request":
        this.#followLeader(from);
        handleAppend(state, from, message);
        break;
      case "heartbeat":
        this.#followLeader(from);
        handleHeartbeat(state, from, message);
        break;
      case "snapshot_request":
        this.#followLeader(from);
        handleSnapshot(state, from, message);
        break;
      case "append_accepted":
        if (state.role.kind === "leader") handleAppendAccepted(state, state.role, from, message);
        break;
      case "append_rejected":
        if (state.role.kind === "leader") handleAppendRejected(state, state.role, from, message);
        break;
      case "heartbeat_response":
        if (state.role.kind === "leader") handleHeartbeatResponse(state, state.role, from, message);
        break;
      case "timeout_now":
        this.#takeOver();
        break;
      default:
        assertNever(message);
    }
  }

  /** Takes in committed entries from any node that holds them: how log followers live. */
  takeCommitted(batch: CommittedBatch): TakeResult {
    return takeCommitted(this.#state, batch);
  }

  /** Takes in a snapshot from any node, where it brings anything new. */
  takeSnapshot(snapshot: Snapshot & { readonly term: number }): TakeResult {
    return takeSnapshot(this.#state, snapshot);
  }

  /** Committed entries for another node whose last committed entry is `after`. */
  readCommitted(range: { readonly after: EntryId; readonly maxBytes: number }): CommittedRead {
    return readCommitted(this.#state, range);
  }

  /**
   * Appends proposals, all or none. An appended one is committed or superseded later. Whoever
   * awaits them, if it is a member, hears of their commit at once.
   */
  propose(
    data: readonly Uint8Array[],
    { awaitedBy }: { readonly awaitedBy?: NodeId } = {},
  ): ProposeResult {
    const state = this.#state;
    const { role, limits } = state;
    if (role.kind !== "leader") return { kind: "dropped", reason: "not_leader" };
    if (role.transfer !== undefined) return { kind: "dropped", reason: "transferring" };
    const waitingBytes = role.uncommitted.reduce((sum, { bytes }) => sum + bytes, 0);
    const bytes = data.reduce((sum, { byteLength }) => sum + byteLength, waitingBytes);
    // With nothing else waiting, also a larger one passes, else it could never be proposed.
    if (waitingBytes > 0 && bytes > limits.uncommittedBytes) {
      return { kind: "dropped", reason: "overloaded" };
    }
    appendAsLeader(
      state,
      role,
      data.map((bytes) => ({ kind: "normal", data: bytes })),
    );
    const waiting = awaitedBy === undefined ? undefined : role.members.get(awaitedBy);
    if (waiting !== undefined) waiting.awaitedIndex = state.log.lastIndex;
    advanceCommit(state, role);
    return { kind: "appended", lastIndex: state.log.lastIndex, term: state.term };
  }

  /**
   * Begins to change the members, through a joint configuration where voters change; the
   * leader then leaves that by itself. One change at a time, and none before this leader has
   * committed an entry of its term (Ongaro's correction of 2015).
   */
  proposeConfiguration(target: TargetConfiguration): ProposeConfigurationResult {
    const state = this.#state;
    const { role, log, configurations, rules, term } = state;
    if (role.kind !== "leader") return { kind: "dropped", reason: "not_leader" };
    const problem = problemOf(target);
    if (problem !== undefined) return { kind: "invalid", problem };
    const { current, currentIndex } = configurations;
    const isCommitted = rules.isConfigurationCommitted({
      configurationIndex: currentIndex,
      commitIndex: log.commitIndex,
    });
    const mayChange = rules.mayChangeMembers({ committedTerm: log.term(log.commitIndex), term });
    if (isJoint(current) || !isCommitted || !mayChange || role.transfer !== undefined) {
      return { kind: "dropped", reason: "pending" };
    }
    const data = encodeConfiguration(stepTowards(current, target));
    if (isSameBytes(data, encodeConfiguration(current))) return { kind: "unchanged" };
    appendAsLeader(state, role, [{ kind: "configuration", data }]);
    advanceCommit(state, role);
    return { kind: "appended", index: log.lastIndex };
  }

  /**
   * Goes on without a majority, as the only voter: what this log holds becomes the agreed
   * truth, `data` right after it. Breaks the protocol's promise that nothing agreed is lost,
   * so it is for a quorum that will never come back, on the survivor with the longest log.
   */
  recover({
    learners,
    data,
  }: {
    readonly learners: readonly NodeId[];
    readonly data: Uint8Array;
  }): void {
    const state = this.#state;
    const { log, self } = state;
    // Not the next term: others may reach that one as well, be it by a recovery of their own or
    // as lost voters that come back. Terms tell their history from this one.
    const jump = 1 + randomBelow(state.random, maxRecoveryJump);
    assert(
      state.term + jump <= maxLogNumber,
      `the log has no room for a term after ${state.term}: start a new cluster and restore a backup in it`,
    );
    becomeFollower(state, { term: state.term + jump, leader: undefined });
    const { term } = state;
    const index = log.lastIndex + 1;
    const configuration = simpleConfiguration({ voters: [self], learners });
    const entries: readonly Entry[] = [
      { index, term, kind: "configuration", data: encodeConfiguration(configuration) },
      { index: index + 1, term, kind: "normal", data },
    ];
    log.append(entries);
    state.configurations.append(entries);
    preCampaign(state);
  }

  /** Hands leadership to a voter; says whether that was begun. */
  transferLeadership(to: NodeId): boolean {
    const { role } = this.#state;
    return role.kind === "leader" && startTransfer(this.#state, role, to);
  }

  /**
   * Begins a linearizable read and gives its context, which comes back in `Ready.reads`,
   * unless leadership ends first. Undefined when this is no leader, or too many are waiting.
   */
  readIndex(): number | undefined {
    const { role } = this.#state;
    return role.kind === "leader" ? startRead(this.#state, role) : undefined;
  }

  /** Whether a member was not told of a commit, so that `announceCommit()` is to follow soon. */
  get isAnnouncementDue(): boolean {
    const { role } = this.#state;
    return role.kind === "leader" && role.isAnnouncementDue;
  }

  /** Tells of the newest commit whoever was not told of it by other messages. */
  announceCommit(): void {
    const { role } = this.#state;
    if (role.kind === "leader") announceCommit(this.#state, role, { onlyAwaited: false });
  }

  /** What is to be done now; undefined when nothing is. */
  takeReady(): Ready | undefined {
    const state = this.#state;
    const persist = this.#inFlight === undefined ? this.#startPersist() : undefined;
    const isWriting = this.#inFlight !== undefined;
    const { outbox } = state;
    const sendAfterPersist = persist === undefined ? [] : outbox.sendAfterPersist;
    if (persist !== undefined) outbox.sendAfterPersist = [];
    // Without a write on its way, everything that was promised is on disk already.
    const release = isWriting ? [] : outbox.sendAfterPersist.splice(0);
    assert(!release.some(({ to }) => to === state.self), "a vote for oneself comes with a write");
    const ready: Ready = {
      persist,
      send: [...outbox.send, ...release],
      sendAfterPersist: sendAfterPersist.filter(({ to }) => to !== state.self),
      sendSnapshots: outbox.sendSnapshots,
      apply: state.log.takeCommitted(state.limits.applyBytes),
      reads: outbox.reads,
    };
    if (persist !== undefined) {
      const toSelf = sendAfterPersist.filter(({ to }) => to === state.self);
      this.#inFlight = { persist, toSelf };
    }
    outbox.send = [];
    outbox.sendSnapshots = [];
    outbox.reads = [];
    const isEmpty =
      persist === undefined &&
      ready.send.length + ready.sendSnapshots.length + ready.apply.length + ready.reads.length ===
        0;
    return isEmpty ? undefined : ready;
  }

  /**
   * The write of the last `Ready.persist` is durable and, where it had a snapshot, the state
   * machine is restored from it.
   */
  persisted(): void {
    const state = this.#state;
    const inFlight = this.#inFlight;
    assert(inFlight !== undefined, "a write is acknowledged once");
    this.#inFlight = undefined;
    const { persist, toSelf } = inFlight;
    if (persist.hardState !== undefined) this.#durable = persist.hardState;
    state.log.persisted(persist);
    for (const { message } of toSelf) this.step(state.self, message);
    if (state.role.kind === "leader") {
      countSelf(state, state.role);
      advanceCommit(state, state.role);
    }
  }

  /** Everything up to `index` is applied. */
  applied(index: number): void {
    const { log, configurations } = this.#state;
    log.applied(index);
    configurations.prune(log.appliedIndex);
  }

  #startPersist(): Persist | undefined {
    const { log, term, vote } = this.#state;
    const { commitIndex } = log;
    const isVoteNew = term !== this.#durable.term || vote !== this.#durable.vote;
    if (!log.hasUnstable && !isVoteNew && !this.#isCommitDue) return undefined;
    this.#isCommitDue = false;
    const isChanged = isVoteNew || commitIndex !== this.#durable.commitIndex;
    return {
      snapshot: log.pendingSnapshot,
      hardState: isChanged ? { term, vote, commitIndex } : undefined,
      entries: log.unstableEntries(),
    };
  }

  #readConfigurations(after: number): void {
    const { log, configurations, limits } = this.#state;
    for (let from = Math.max(after + 1, log.firstIndex); from <= log.lastIndex; ) {
      const entries: readonly Entry[] = log.entries({
        from,
        to: log.lastIndex,
        maxBytes: limits.applyBytes,
      });
      assert(entries.length > 0, "the log has no holes");
      configurations.append(entries.filter(({ kind }) => kind === "configuration"));
      from += entries.length;
    }
  }

  #tickLeader(leader: Leader): void {
    const state = this.#state;
    const { self, timing } = state;
    for (const [node, progress] of leader.members) {
      if (node === self) continue;
      progress.ticksSinceHeard += 1;
      if (progress.state !== "snapshot") continue;
      progress.ticksInSnapshot += 1;
      const isLost = progress.ticksInSnapshot > snapshotElectionTimeouts * timing.electionTicks;
      if (isLost) progress.abortSnapshot();
    }
    // A leader that cannot reach a majority must not hold clients up (dissertation §6.2).
    const isHeard = (node: NodeId) =>
      node === self ||
      (leader.members.get(node)?.ticksSinceHeard ?? Number.POSITIVE_INFINITY) <=
        timing.electionTicks;
    if (!hasQuorum(decidingSets(state), isHeard)) {
      becomeFollower(state, { term: state.term, leader: undefined });
      return;
    }
    tickTransfer(state, leader);
    if (leader.isAnnouncementDue) announceCommit(state, leader, { onlyAwaited: false });
    state.heartbeatElapsedTicks += 1;
    if (state.heartbeatElapsedTicks >= timing.heartbeatTicks) broadcastHeartbeat(state, leader);
  }

  /** Says whether the message of a newer term is to be handled. */
  #meetNewerTerm(from: NodeId, message: Message): boolean {
    const state = this.#state;
    const { term } = message;
    switch (message.kind) {
      case "pre_vote_request":
        return !isLeaseHeld(state);
      case "vote_request":
        if (!message.isTransfer && isLeaseHeld(state)) return false;
        becomeFollower(state, { term, leader: undefined });
        return true;
      case "pre_vote_response":
        // A granted one names the term of the coming election, not of anybody.
        if (!message.isGranted) becomeFollower(state, { term, leader: undefined });
        return true;
      case "append_request":
      case "heartbeat":
      case "snapshot_request":
        becomeFollower(state, { term, leader: from });
        return true;
      default:
        becomeFollower(state, { term, leader: undefined });
        return true;
    }
  }

  /** A sender that is behind learns the present term, else it could stay cut off for ever. */
  #answerOlderTerm(from: NodeId, message: Message): void {
    const state = this.#state;
    const { term } = state;
    switch (message.kind) {
      case "append_request":
      case "heartbeat":
      case "snapshot_request":
        send(state, from, { kind: "heartbeat_response", term, readContext: 0 });
        break;
      case "pre_vote_request":
        send(state, from, { kind: "pre_vote_response", term, isGranted: false });
        break;
      case "vote_request":
        send(state, from, { kind: "vote_response", term, isGranted: false });
        break;
      default:
        break;
    }
  }

  #followLeader(from: NodeId): void {
    const state = this.#state;
    const { role, term } = state;
    assert(role.kind !== "leader", `term ${term} has one leader, not also ${from}`);
    if (role.kind !== "follower" || role.leader !== from) {
      becomeFollower(state, { term, leader: from });
    }
    state.electionElapsedTicks = 0;
  }

  #takeOver(): void {
    const state = this.#state;
    if (mayCampaign(state) && state.role.kind !== "leader") campaign(state, { isTransfer: true });
  }
}

function isSameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, position) => byte === right[position]);
}
