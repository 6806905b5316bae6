import type { NodeId, ReadableCell } from "../kernel/index.ts";
import { assert, assertNever, Cell, messageOf, randomName, whenCell } from "../kernel/index.ts";
import { AppliedProposals } from "./applied-proposals.ts";
import {
  allMembers,
  allVoters,
  encodeConfiguration,
  isSameSet,
  simpleConfiguration,
  type TargetConfiguration,
} from "./configuration.ts";
import { withDeadline } from "./deadline.ts";
import { defaultFeedLimits, FeedServer } from "./feed-server.ts";
import type { FeederCandidates } from "./feeder-choice.ts";
import { FollowLoop } from "./follow-loop.ts";
import type { Entry, EntryId, SnapshotMeta } from "./log-storage.ts";
import type { Outgoing, PeerMessage, SnapshotOffer } from "./message.ts";
import { noQuorum, PendingProposals } from "./pending-proposals.ts";
import {
  decodeLeaderAnswer,
  decodeLeaderRequest,
  decodeProposal,
  encodeExchange,
  encodeProposal,
  type LeaderAnswer,
  type LeaderRequest,
} from "./proposal.ts";
import { type MemberProgress, Raft } from "./raft.ts";
import { RaftError } from "./raft-error.ts";
import { type Snapshot, sizeOf } from "./raft-log.ts";
import { ReadRounds } from "./read-rounds.ts";
import type { Ready } from "./ready.ts";
import {
  isSameStatus,
  type ProposeOptions,
  type RaftRunner,
  type RaftRunnerOptions,
  type RaftStatus,
  type SnapshotPolicy,
} from "./runner-contract.ts";
import { SnapshotReceiver, SnapshotSource } from "./snapshot-transfer.ts";
import { electionMsOf } from "./timing.ts";
import type { RaftTransport } from "./transport.ts";
import { WriteWatch } from "./write-watch.ts";

const defaultSnapshotPolicy: SnapshotPolicy = {
  everyEntries: 10_000,
  everyBytes: 8 * 2 ** 20,
  retainedEntries: 2_000,
};
const defaultMaxPutOff = 8;
const minProposalTimeoutMs = 5_000;
/** By default a proposal or read outlives so many election timeouts, so a new leader can take it. */
const proposalElections = 3;
/** So many election timeouts without a leader, and a proposal or read fails at once. */
const leaderlessElections = 4;
/** So many without a leader, and a member looks whether others know more: it may be none any more. */
const forgottenElections = 2;
/** A leader whose disk does not end a write for so many election timeouts hands over. */
const hangingElections = 5;
/** For one chunk of a snapshot to arrive. */
const snapshotAttemptMs = 5_000;
/** How much later than need be a member hears of a commit on which nobody waits there. */
const announceAfterMs = 5;
/** Work for one turn of the event loop; the rest waits for the next. */
const maxReadiesPerTurn = 16;

/**
 * Runs one node. When it resolves, the state machine holds everything that this node knows to
 * be committed, so it can act on the last agreed state without a quorum.
 */
export async function startRaft(options: RaftRunnerOptions): Promise<RaftRunner> {
  const { storage, self, stateMachine, bootstrap } = options;
  const applied = new AppliedProposals();
  const snapshot = await storage.loadSnapshot();
  const isEmpty =
    snapshot === undefined && storage.lastIndex() === 0 && storage.hardState().term === 0;
  if (bootstrap === true && isEmpty) await storage.save(firstEntry(self));
  if (snapshot !== undefined) {
    stateMachine.restore(applied.restore(snapshot.data), snapshot.meta.index);
  }
  return new Runner(options, { applied, appliedIndex: snapshot?.meta.index ?? 0 });
}

function firstEntry(self: NodeId) {
  const data = encodeConfiguration(simpleConfiguration({ voters: [self], learners: [] }));
  const entry: Entry = { index: 1, term: 1, kind: "configuration", data };
  return { hardState: { term: 1, vote: undefined, commitIndex: 1 }, entries: [entry] };
}

class Runner implements RaftRunner {
  readonly #options: RaftRunnerOptions;
  readonly #raft: Raft;
  readonly #applied: AppliedProposals;
  readonly #proposals: PendingProposals;
  readonly #reads: ReadRounds;
  readonly #snapshotSource: SnapshotSource;
  /** For the sake of whom compactions are put off, and how many were. */
  #putOff = { fetchedIndex: 0, count: 0 };
  readonly #snapshotReceiver: SnapshotReceiver;
  readonly #feedServer: FeedServer;
  readonly #followLoop: FollowLoop;
  readonly #status: Cell<RaftStatus>;
  readonly #stop = new AbortController();
  readonly #ticking: Promise<void>;
  /** Writes happen one after the other: a promise chain, at most a save and a few snapshots long. */
  #writes: Promise<void> = Promise.resolve();
  readonly #writeWatch: WriteWatch;
  /** Of the write under way, since it began or since the last attempt to hand over for it. */
  #writingTicks: number | undefined;
  /** Members that named a term which cannot be true. */
  readonly #impossibleSenders = new Set<NodeId>();
  #isPumpDue = false;
  #isSnapshotting = false;
  #isAnnouncing = false;
  #entriesSinceSnapshot = 0;
  #bytesSinceSnapshot = 0;
  #leaderlessTicks = 0;

  constructor(
    options: RaftRunnerOptions,
    restored: { readonly applied: AppliedProposals; readonly appliedIndex: number },
  ) {
    const { self, storage, random, timing, transport, clock } = options;
    this.#options = options;
    this.#applied = restored.applied;
    const { appliedIndex } = restored;
    this.#raft = new Raft({
      self,
      storage,
      random,
      timing,
      appliedIndex,
      announcement: "on_request",
    });
    const {
      proposalTimeoutMs = Math.max(minProposalTimeoutMs, proposalElections * electionMsOf(timing)),
    } = options;
    this.#writeWatch = new WriteWatch({ electionMs: electionMsOf(timing) });
    const request: RaftTransport["request"] = (to, body, { signal }) =>
      transport.request(to, body, { signal: AbortSignal.any([signal, this.#stop.signal]) });
    this.#proposals = new PendingProposals({
      self,
      clock,
      request,
      timeoutMs: proposalTimeoutMs,
      answerTicks: timing.electionTicks,
      session: randomName(random, 16),
      propose: (encoded) => this.#raft.propose(encoded),
      wake: () => this.#wake(),
    });
    this.#reads = new ReadRounds({
      self,
      clock,
      timeoutMs: proposalTimeoutMs,
      answerTicks: timing.electionTicks,
      session: randomName(random, 16),
      startRound: () => this.#raft.readIndex(),
      isLeader: () => this.#raft.role === "leader",
      appliedIndex: () => this.#raft.appliedIndex,
      send: (to, message) => transport.send(to, [message]),
      wake: () => this.#wake(),
    });
    this.#snapshotSource = new SnapshotSource({ load: () => this.#loadSnapshot(), clock });
    this.#snapshotReceiver = new SnapshotReceiver({
      clock,
      logger: options.logger,
      signal: this.#stop.signal,
      attemptMs: snapshotAttemptMs,
      request,
      check: (data) => this.#checkSnapshot(data),
      onSnapshot: (from, term, { meta, data }) => {
        this.#guard(() => this.#raft.step(from, { kind: "snapshot_request", term, meta, data }));
        this.#wake();
      },
    });
    this.#feedServer = this.#startFeedServer();
    this.#followLoop = this.#startFollowLoop(request);
    this.#status = new Cell(this.#readStatus());
    this.#applyWhatIsKnown();
    transport.onMessages((from, messages) => this.#receive(from, messages));
    transport.onDisconnect((from) => this.#disconnected(from));
    transport.onRequest((from, body) => this.#answer(from, body));
    transport.onStream((from, stream) => this.#feedServer.serve(from, stream));
    this.#ticking = this.#tickLoop();
  }

  get status(): ReadableCell<RaftStatus> {
    return this.#status;
  }

  propose(data: Uint8Array, options: ProposeOptions): Promise<number> {
    if (this.#stop.signal.aborted) return Promise.reject(stopped());
    const index = options.id === undefined ? undefined : this.#applied.indexOf(options.id);
    if (index !== undefined) return Promise.resolve(index);
    if (this.#isLeaderless) return Promise.reject(noQuorum("no leader can be found"));
    return this.#proposals.propose(data, options);
  }

  async barrier({ signal }: { readonly signal: AbortSignal }): Promise<number> {
    if (this.#stop.signal.aborted) throw stopped();
    if (this.#isLeaderless) throw noQuorum("no leader can be found");
    return await this.#reads.read({ signal });
  }

  async changeConfiguration(
    target: TargetConfiguration,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    const { self } = this.#options;
    const { term } = this.#raft;
    const result = this.#raft.proposeConfiguration(target);
    if (result.kind === "invalid") throw new RaftError("invalid_configuration", result.problem);
    if (result.kind === "dropped") throw changeRefused(result.reason);
    this.#pump(); // Also brings the status up to date, which is waited on below.
    const isDone = (status: RaftStatus) =>
      status.isSettled &&
      isSameSet(status.voters, target.voters) &&
      isSameSet(status.learners, target.learners);
    const isLost = (status: RaftStatus) => status.leader !== self || status.term !== term;
    const either = AbortSignal.any([signal, this.#stop.signal]);
    const test = (status: RaftStatus) => isDone(status) || isLost(status);
    const status = await whenCell(this.#status, test, { signal: either });
    if (isDone(status)) return;
    throw new RaftError(
      "leadership_lost",
      "This node lost the lead while it changed the members. Look at the members before trying again.",
    );
  }

  position(): EntryId {
    const { lastIndex } = this.#raft;
    return { index: lastIndex, term: this.#raft.termAt(lastIndex) ?? 0 };
  }

  async positions(
    nodes: readonly NodeId[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<ReadonlyMap<NodeId, EntryId>> {
    const found = new Map<NodeId, EntryId>();
    const body = encodeExchange({ kind: "position" });
    await Promise.allSettled(
      nodes.map(async (node) => {
        const answer = await this.#options.transport.request(node, body, { signal });
        const read = decodeLeaderAnswer(answer);
        if (read.kind === "position") found.set(node, { index: read.index, term: read.term });
      }),
    );
    return found;
  }

  async recover(
    { learners, data }: { readonly learners: readonly NodeId[]; readonly data: Uint8Array },
    { signal }: { readonly signal: AbortSignal },
  ): Promise<number> {
    if (this.#raft.leader !== undefined) {
      throw new RaftError("has_quorum", "A leader works here, so nothing is to be recovered.");
    }
    const index = this.#raft.lastIndex + 2;
    const id = randomName(this.#options.random, 16);
    this.#raft.recover({ learners, data: encodeProposal({ id, data }) });
    this.#options.logger.warn({ index, learners }, "going on without a majority");
    this.#pump();
    const either = AbortSignal.any([signal, this.#stop.signal]);
    await whenCell(this.#status, ({ appliedIndex }) => appliedIndex >= index, { signal: either });
    return index;
  }

  progress(): readonly MemberProgress[] | undefined {
    return this.#raft.progress();
  }

  async transferLeadership({
    signal,
  }: {
    readonly signal: AbortSignal;
  }): Promise<NodeId | undefined> {
    const { self, clock, timing } = this.#options;
    if (this.#raft.role !== "leader") throw changeRefused("not_leader");
    const target = this.#raft.mostAdvancedVoter();
    if (target === undefined || !this.#raft.transferLeadership(target)) return undefined;
    this.#pump();
    const timeoutMs = 2 * timing.electionTicks * timing.tickMs;
    const reason = new RaftError("leadership_lost", "Nobody took over in time.");
    const hasMoved = ({ leader }: RaftStatus) => leader !== undefined && leader !== self;
    try {
      const either = AbortSignal.any([signal, this.#stop.signal]);
      const status = await withDeadline(clock, { timeoutMs, signal: either, reason }, (options) =>
        whenCell(this.#status, hasMoved, options),
      );
      return status.leader;
    } catch (error) {
      if (error === reason) return undefined;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#halt(stopped());
    await this.#ticking;
    await this.#followLoop.done;
    await this.#writes;
  }

  /** Not an election under way, nor a split vote that is repeated, but no majority. */
  get #isLeaderless(): boolean {
    const limitTicks = leaderlessElections * this.#options.timing.electionTicks;
    return this.#raft.leader === undefined && this.#leaderlessTicks > limitTicks;
  }

  #startFeedServer(): FeedServer {
    const { self, random, timing, logger, feedLimits } = this.#options;
    return new FeedServer({
      self,
      raft: this.#raft,
      feeder: () => this.#followLoop.feeder,
      snapshot: () => this.#offeredSnapshot(),
      timing,
      limits: feedLimits ?? defaultFeedLimits,
      random,
      logger,
      signal: this.#stop.signal,
    });
  }

  #startFollowLoop(request: RaftTransport["request"]): FollowLoop {
    const { transport, knownHead, timing, clock, random, logger } = this.#options;
    return new FollowLoop({
      raft: this.#raft,
      isWanted: () => this.#isWithoutLog,
      candidates: () => this.#feederCandidates(),
      knownHead,
      open: (to, options) => transport.openStream(to, options),
      request,
      onChange: () => this.#wake(),
      onBroken: (error) => this.#fail(error),
      timing,
      clock,
      random,
      logger,
      snapshotAttemptMs,
      checkSnapshot: (data) => this.#checkSnapshot(data),
      signal: this.#stop.signal,
    });
  }

  #checkSnapshot(data: Uint8Array): void {
    const state = new AppliedProposals().restore(data);
    this.#options.stateMachine.check?.(state);
  }

  /** Whether no leader sends this node the log, be it that it was removed and has not heard of it. */
  get #isWithoutLog(): boolean {
    if (this.#raft.role === "leader") return false;
    const forgottenTicks = forgottenElections * this.#options.timing.electionTicks;
    const isForgotten = this.#raft.leader === undefined && this.#leaderlessTicks > forgottenTicks;
    return !this.#raft.isMember || isForgotten;
  }

  #feederCandidates(): FeederCandidates {
    const { self, feeders } = this.#options;
    const { configuration, leader } = this.#raft;
    const voters = allVoters(configuration).filter((node) => node !== self);
    const known = new Set([...allMembers(configuration), ...(feeders?.() ?? [])]);
    const others = [...known].filter((node) => node !== self && !voters.includes(node));
    return { voters, leader, others };
  }

  async #tickLoop(): Promise<void> {
    const { clock, timing } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#guard(() => {
        this.#raft.tick();
        this.#considerHandover();
      });
      this.#leaderlessTicks = this.#raft.leader === undefined ? this.#leaderlessTicks + 1 : 0;
      this.#proposals.tick({ isLeaderless: this.#isLeaderless });
      this.#reads.tick({ isLeaderless: this.#isLeaderless });
      this.#snapshotSource.tick();
      this.#feedServer.tick();
      this.#followLoop.tick();
      this.#pump();
      // After the first tick: who votes alone leads at once.
      await clock.sleep(timing.tickMs, { signal }).catch(() => undefined);
    }
  }

  /**
   * The others commit without this disk, but nothing is applied here, and a leader that does not
   * know what is agreed neither schedules nor heals.
   */
  #considerHandover(): void {
    if (this.#writingTicks === undefined) return;
    // By ticks: a process that was stopped has not waited for its disk meanwhile.
    this.#writingTicks += 1;
    const limitTicks = hangingElections * this.#options.timing.electionTicks;
    if (this.#writingTicks <= limitTicks) return;
    const target = this.#raft.mostAdvancedVoter();
    if (target === undefined || !this.#raft.transferLeadership(target)) return;
    this.#writingTicks = 0;
    this.#options.logger.warn({ target }, "a write to the log hangs, handing over the lead");
  }

  #receive(from: NodeId, messages: readonly PeerMessage[]): void {
    if (this.#stop.signal.aborted) return;
    this.#guard(() => {
      for (const message of messages) this.#step(from, message);
    });
    this.#wake();
  }

  #disconnected(from: NodeId): void {
    if (this.#stop.signal.aborted) return;
    this.#guard(() => this.#raft.disconnected(from));
    this.#wake();
  }

  #step(from: NodeId, message: PeerMessage): void {
    switch (message.kind) {
      case "snapshot_offer":
        this.#considerOffer(from, message);
        break;
      case "read_request":
        this.#reads.asked(from, message);
        break;
      case "read_answer":
        this.#reads.answered(from, message);
        break;
      default:
        if (!this.#raft.isWithinReach(message.term)) this.#warnOfTerm(from, message.term);
        this.#raft.step(from, message);
    }
  }

  /** Once for each sender: it will not stop. */
  #warnOfTerm(from: NodeId, term: number): void {
    if (this.#impossibleSenders.has(from)) return;
    this.#impossibleSenders.add(from);
    const { logger } = this.#options;
    logger.warn({ from, term, own: this.#raft.term }, "a member speaks of an impossible term");
  }

  async #answer(from: NodeId, body: Uint8Array): Promise<Uint8Array> {
    if (this.#stop.signal.aborted) throw stopped();
    const request = decodeLeaderRequest(body);
    const answer = await this.#answerRequest(from, request);
    if (answer.kind === "refused") {
      this.#options.logger.debug({ from, kind: request.kind }, "request to the leader refused");
    }
    return encodeExchange(answer);
  }

  async #answerRequest(from: NodeId, request: LeaderRequest): Promise<LeaderAnswer> {
    switch (request.kind) {
      case "propose":
        return this.#appendForwarded(from, request.proposals);
      case "position":
        return { kind: "position", ...this.position() };
      case "snapshot_chunk":
        return await this.#snapshotSource.chunk(request, request.offset);
      default:
        return assertNever(request);
    }
  }

  #appendForwarded(from: NodeId, proposals: readonly Uint8Array[]): LeaderAnswer {
    // One that is applied already was sent again because its first answer was lost.
    const fresh = proposals.filter((encoded) => {
      const proposal = decodeProposal(encoded);
      return proposal !== undefined && this.#applied.indexOf(proposal.id) === undefined;
    });
    const result = this.#raft.propose(fresh, { awaitedBy: from });
    this.#wake();
    return { kind: result.kind === "appended" ? "accepted" : "refused" };
  }

  /** Asks for a pump in the next turn, so that what comes in during this one is one batch. */
  #wake(): void {
    if (this.#isPumpDue || this.#stop.signal.aborted) return;
    this.#isPumpDue = true;
    const nextTurn = this.#options.nextTurn ?? setImmediate;
    nextTurn(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  /** Does what the core wants done. */
  #pump(): void {
    if (this.#stop.signal.aborted) return;
    this.#guard(() => {
      const { leader, term } = this.#raft;
      const reign = leader === undefined ? undefined : { leader, term };
      this.#proposals.flush(reign);
      this.#reads.flush(reign);
      for (let count = 0; count < maxReadiesPerTurn; count += 1) {
        const ready = this.#raft.takeReady();
        if (ready === undefined) break;
        this.#perform(ready);
        if (count === maxReadiesPerTurn - 1) this.#wake();
      }
      this.#considerSnapshot();
      this.#considerAnnouncement();
      this.#publishStatus();
    });
  }

  /** Under load the next append carries the news; only when none follows is it sent by itself. */
  #considerAnnouncement(): void {
    if (this.#isAnnouncing || !this.#raft.isAnnouncementDue) return;
    this.#isAnnouncing = true;
    this.#options.clock
      .sleep(announceAfterMs, { signal: this.#stop.signal })
      .then(() => {
        this.#isAnnouncing = false;
        this.#raft.announceCommit();
        this.#wake();
      })
      .catch(() => undefined);
  }

  #perform(ready: Ready): void {
    this.#send(ready.send);
    if (ready.persist !== undefined) this.#persist(ready);
    for (const request of ready.sendSnapshots) this.#sendSnapshot(request);
    for (const entry of ready.apply) this.#apply(entry);
    this.#reads.confirm(ready.reads);
  }

  #send(outgoing: readonly Outgoing[]): void {
    const byPeer = new Map<NodeId, PeerMessage[]>();
    for (const { to, message } of outgoing) {
      assert(message.kind !== "snapshot_request", "snapshots are offered, not sent");
      const messages = byPeer.get(to);
      if (messages === undefined) byPeer.set(to, [message]);
      else messages.push(message);
    }
    for (const [to, messages] of byPeer) this.#options.transport.send(to, messages);
  }

  #persist({ persist, sendAfterPersist }: Ready): void {
    if (persist === undefined) return;
    const { storage } = this.#options;
    const { snapshot, hardState, entries } = persist;
    const write = async () => {
      if (snapshot !== undefined) await storage.saveSnapshot(snapshot.meta, snapshot.data);
      if (hardState !== undefined) await storage.save({ hardState, entries });
      else if (entries.length > 0) await storage.save({ entries });
    };
    this.#enqueueWrite(write, () => {
      if (this.#stop.signal.aborted) return;
      if (snapshot !== undefined) this.#restore(snapshot);
      this.#raft.persisted();
      this.#send(sendAfterPersist);
      this.#pump();
    });
  }

  /** A failed write leaves the disk in an unknown state: it ends the runner, never a retry. */
  #enqueueWrite(write: () => Promise<void>, whenDurable: () => void = () => undefined): void {
    const { clock, timing, logger } = this.#options;
    this.#writes = this.#writes.then(async () => {
      if (this.#stop.signal.aborted) return;
      const startMs = clock.monotonic();
      this.#writingTicks = 0;
      try {
        await write();
      } catch (error) {
        this.#fail(error);
        return;
      } finally {
        this.#writingTicks = undefined;
      }
      const nowMs = clock.monotonic();
      const tookMs = Math.round(nowMs - startMs);
      if (this.#writeWatch.note(tookMs, nowMs)) {
        const electionMs = electionMsOf(timing);
        logger.warn({ tookMs, electionMs }, "log writes come near the election timeout");
      }
      this.#guard(whenDurable);
    });
  }

  #apply(entry: Entry): void {
    const { index, kind, data } = entry;
    const proposal = kind === "normal" ? decodeProposal(data) : undefined;
    if (proposal !== undefined) {
      const { id } = proposal;
      if (this.#applied.indexOf(id) === undefined) {
        this.#options.stateMachine.apply({ index, data: proposal.data });
        this.#applied.add(id, index);
      }
      this.#proposals.applied(id, this.#applied.indexOf(id) ?? index);
    }
    this.#raft.applied(index);
    this.#entriesSinceSnapshot += 1;
    this.#bytesSinceSnapshot += sizeOf(entry);
  }

  #restore({ meta, data }: Snapshot): void {
    this.#options.stateMachine.restore(this.#applied.restore(data), meta.index);
    this.#entriesSinceSnapshot = 0;
    this.#bytesSinceSnapshot = 0;
    for (const id of this.#proposals.ids()) {
      const index = this.#applied.indexOf(id);
      if (index !== undefined) this.#proposals.applied(id, index);
    }
    this.#options.logger.info({ index: meta.index }, "restored a snapshot of another node");
  }

  #applyWhatIsKnown(): void {
    const { commitIndex } = this.#raft;
    while (this.#raft.appliedIndex < commitIndex && !this.#stop.signal.aborted) this.#pump();
  }

  #considerSnapshot(): void {
    const policy = this.#options.snapshots ?? defaultSnapshotPolicy;
    const isDue =
      this.#entriesSinceSnapshot >= policy.everyEntries ||
      this.#bytesSinceSnapshot >= policy.everyBytes;
    const { appliedIndex } = this.#raft;
    const term = this.#raft.termAt(appliedIndex);
    if (!isDue || this.#isSnapshotting || term === undefined) return;
    this.#isSnapshotting = true;
    this.#entriesSinceSnapshot = 0;
    this.#bytesSinceSnapshot = 0;
    const configuration = this.#raft.configurationAt(appliedIndex);
    const meta: SnapshotMeta = { index: appliedIndex, term, configuration };
    const data = this.#applied.encode(this.#options.stateMachine.snapshot());
    const { storage } = this.#options;
    this.#enqueueWrite(async () => {
      this.#isSnapshotting = false;
      // A newer one may have come from the leader while this one waited.
      if ((storage.snapshotMeta()?.index ?? 0) >= meta.index) return;
      await storage.saveSnapshot(meta, data);
      await storage.compact(this.#compactableIndex(meta.index, policy));
    });
  }

  /** The entries up to it are not needed any more, now that there is a snapshot at `index`. */
  #compactableIndex(index: number, policy: SnapshotPolicy): number {
    const { retainedEntries, maxPutOff = defaultMaxPutOff } = policy;
    const usual = Math.max(0, index - retainedEntries);
    const { fetchedIndex } = this.#snapshotSource;
    if (fetchedIndex === undefined || fetchedIndex > usual) return usual;
    const { fetchedIndex: before, count } = this.#putOff;
    this.#putOff = { fetchedIndex, count: before === fetchedIndex ? count + 1 : 1 };
    // The snapshot's own entry stays as well: its term is what the next one must follow on.
    return this.#putOff.count <= maxPutOff ? fetchedIndex - 1 : usual;
  }

  #offeredSnapshot(): Promise<Snapshot | undefined> {
    const { storage } = this.#options;
    const [newest, firstIndex] = [storage.snapshotMeta(), storage.firstIndex()];
    return this.#snapshotSource.offered({ newest, firstIndex });
  }

  #sendSnapshot({ to, term }: { readonly to: NodeId; readonly term: number }): void {
    const { transport, logger } = this.#options;
    void this.#offeredSnapshot().then((snapshot) => {
      if (snapshot === undefined || this.#stop.signal.aborted) return;
      const { meta, data } = snapshot;
      logger.info({ to, index: meta.index, bytes: data.byteLength }, "offering a snapshot");
      transport.send(to, [{ kind: "snapshot_offer", term, meta, bytes: data.byteLength }]);
    });
  }

  /** In turn with the writes, so that no newer snapshot replaces the one being read. */
  async #loadSnapshot(): Promise<Snapshot | undefined> {
    let snapshot: Snapshot | undefined;
    this.#enqueueWrite(async () => {
      snapshot = await this.#options.storage.loadSnapshot();
    });
    await this.#writes;
    return snapshot;
  }

  #considerOffer(from: NodeId, offer: SnapshotOffer): void {
    const { term, meta } = offer;
    if (meta.index <= this.#raft.commitIndex) {
      // It came another way, as from a feeder. The leader has to hear that, else it offers for ever.
      this.#raft.step(from, { kind: "snapshot_request", term, meta, data: new Uint8Array() });
      return;
    }
    // A sign of life like a heartbeat; it also shows an outdated leader the present term.
    this.#raft.step(from, { kind: "heartbeat", term, commitIndex: 0, readContext: 0 });
    if (this.#raft.term === term) this.#snapshotReceiver.offer(from, offer);
  }

  #readStatus(): RaftStatus {
    const { leader, term, commitIndex, appliedIndex, configuration } = this.#raft;
    return {
      leader,
      term,
      commitIndex,
      appliedIndex,
      voters: configuration.voters,
      votersOutgoing: configuration.votersOutgoing,
      learners: [...configuration.learners, ...configuration.learnersNext],
      hasQuorum: leader !== undefined,
      feeder: this.#followLoop.feeder,
      isSettled: this.#raft.isConfigurationSettled,
      slowWriteMs: this.#writeWatch.slowMs(this.#options.clock.monotonic()),
    };
  }

  #publishStatus(): void {
    const old = this.#status.get();
    const status = this.#readStatus();
    if (old.leader !== status.leader) {
      const { leader, term } = status;
      this.#options.logger.info({ leader, term }, "leader changed");
    }
    const isNews = old.commitIndex !== status.commitIndex || old.leader !== status.leader;
    if (isNews || old.term !== status.term) this.#feedServer.wake();
    this.#followLoop.look();
    if (!isSameStatus(old, status)) this.#status.set(status);
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    const text = `The replicated log has stopped: ${messageOf(error)}. Restart the node.`;
    this.#halt(new RaftError("storage_failed", text, { cause: error }));
    this.#options.logger.error({ error: messageOf(error) }, "raft stopped");
    this.#options.onFatal(error);
  }

  #halt(error: RaftError): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(error);
    this.#proposals.failAll(error);
    this.#reads.failAll(error);
  }
}

function stopped(): RaftError {
  return new RaftError("stopped", "This node's replicated log is closed.");
}

function changeRefused(reason: "not_leader" | "pending"): RaftError {
  return reason === "not_leader"
    ? new RaftError("not_leader", "Only the leader can do this. Ask the leader.")
    : new RaftError("configuration_pending", "Another change of members is not finished yet.");
}
