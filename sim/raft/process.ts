import type { NodeId } from "../../src/kernel/index.ts";
import { AppliedProposals } from "../../src/raft/applied-proposals.ts";
import type { Entry, HardState } from "../../src/raft/log-storage.ts";
import type { SaveBatch } from "../../src/raft/memory-log-storage.ts";
import type { Message, Outgoing } from "../../src/raft/message.ts";
import { decodeProposal } from "../../src/raft/proposal.ts";
import { Raft, type RaftOptions } from "../../src/raft/raft.ts";
import type { Snapshot } from "../../src/raft/raft-log.ts";
import type { Persist, Ready } from "../../src/raft/ready.ts";
import type { Context } from "./context.ts";
import { type DriverMistake, rulesWith } from "./planted-bugs.ts";
import { RegisterMachine } from "./register-machine.ts";
import type { OpenedLog, SimStore, StoreTask } from "./store.ts";

export type ProcessOptions = {
  readonly self: NodeId;
  readonly context: Context;
  readonly store: SimStore;
  readonly opened: OpenedLog;
  readonly send: (outgoing: Outgoing) => void;
};

type WaitingRead = { readonly index: number; readonly done: () => void };

/** One life of a node: the production core, driven as the daemon drives it. */
export class Process {
  readonly raft: Raft;
  readonly proposals = new AppliedProposals();
  readonly registers = new RegisterMachine();
  readonly #options: ProcessOptions;
  readonly #context: Context;
  /** Clients that wait until their proposal is applied here. */
  readonly #waiting = new Map<string, (index: number) => void>();
  readonly #rounds = new Map<number, (index: number) => void>();
  #waitingReads: WaitingRead[] = [];
  #isOver = false;
  #isSnapshotting = false;
  #entriesSinceSnapshot = 0;
  #shown = "";

  constructor(options: ProcessOptions) {
    const { self, context, opened } = options;
    this.#options = options;
    this.#context = context;
    const { snapshot, storage } = opened;
    if (snapshot !== undefined) this.#restore(snapshot);
    const raftOptions: RaftOptions = {
      self,
      storage,
      random: context.random,
      timing: context.swarm.timing,
      appliedIndex: snapshot?.meta.index ?? 0,
      limits: context.swarm.limits,
      rules: rulesWith(context.bug),
      announcement: context.swarm.announcement,
    };
    this.raft = context.bug?.raft?.(raftOptions) ?? new Raft(raftOptions);
    context.checker.restarted(self);
  }

  /** It is dead: nothing that it began is finished. */
  end(): void {
    this.#isOver = true;
  }

  tick(): void {
    this.raft.tick();
    this.drain();
  }

  /** The connection to another process broke, because that one ended. */
  disconnected(from: NodeId): void {
    this.raft.disconnected(from);
    this.drain();
  }

  receive(from: NodeId, message: Message): void {
    const { raft } = this;
    if (message.kind === "snapshot_request" && this.#makes("restores_older_snapshot")) {
      if (message.meta.index <= raft.commitIndex) this.#restore(message);
    }
    raft.step(from, message);
    this.drain();
  }

  /** Appends a client's proposal as the leader; says whether it did. */
  propose(id: string, encoded: Uint8Array): boolean {
    const isApplied = this.proposals.indexOf(id) !== undefined;
    const result = this.raft.propose(isApplied ? [] : [encoded]);
    const isAppended = result.kind === "appended";
    if (isAppended && !isApplied && this.#makes("answers_when_appended")) {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      waiting?.(result.lastIndex);
    }
    this.drain();
    return isAppended;
  }

  /** Tells when the proposal is applied here. */
  whenApplied(id: string, done: (index: number) => void): void {
    const index = this.proposals.indexOf(id);
    if (index === undefined) this.#waiting.set(id, done);
    else done(index);
  }

  /** One round of ReadIndex as the leader. */
  readIndex(done: (index: number) => void): void {
    const context = this.raft.readIndex();
    if (context !== undefined) this.#rounds.set(context, done);
    this.drain();
  }

  whenIndexApplied(index: number, done: () => void): void {
    this.#waitingReads.push({ index, done });
    this.#answerReads();
  }

  loadSnapshot(done: (snapshot: Snapshot) => void): void {
    this.#options.store.loadSnapshot((snapshot) => {
      if (snapshot !== undefined && !this.#isOver) done(snapshot);
    });
  }

  /** Does what the core wants until it wants nothing more. */
  drain(): void {
    const { raft } = this;
    const { checker } = this.#context;
    const { self } = this.#options;
    this.#context.steps += 1;
    checker.checkNode(self, raft);
    if (raft.role !== "leader" && this.#rounds.size > 0) this.#rounds.clear();
    for (let ready = raft.takeReady(); ready !== undefined; ready = raft.takeReady()) {
      this.#perform(ready);
      checker.checkNode(self, raft);
    }
    this.#considerSnapshot();
    if (this.#context.trace.isOn) this.#show();
  }

  #perform(ready: Ready): void {
    this.#send(ready.send);
    if (ready.persist !== undefined) this.#persist(ready.persist, ready.sendAfterPersist);
    for (const { to, term } of ready.sendSnapshots) this.#sendSnapshot(to, term);
    for (const entry of ready.apply) this.#apply(entry);
    for (const { context, index } of ready.reads) {
      const done = this.#rounds.get(context);
      this.#rounds.delete(context);
      done?.(index);
    }
    this.#answerReads();
  }

  #send(outgoing: readonly Outgoing[]): void {
    for (const each of outgoing) {
      this.#context.checker.checkMessage(this.#options.self, each.to, each.message);
      this.#options.send(each);
    }
  }

  #persist(persist: Persist, afterwards: readonly Outgoing[]): void {
    const { self, store } = this.#options;
    const { checker } = this.#context;
    checker.checkPersist(self, persist, this.raft);
    const isEarly = ({ message }: Outgoing) => this.#isSentEarly(message);
    this.#send(afterwards.filter(isEarly));
    store.write(this.#tasksOf(persist), () => {
      if (this.#isOver) return;
      if (persist.snapshot !== undefined) this.#restore(persist.snapshot);
      checker.persisted(self, persist);
      this.raft.persisted();
      this.#send(afterwards.filter((outgoing) => !isEarly(outgoing)));
      this.drain();
    });
  }

  #isSentEarly({ kind }: Message): boolean {
    switch (this.#context.bug?.driver) {
      case "acknowledges_before_sync":
        return kind === "append_accepted";
      case "votes_before_sync":
        return kind === "vote_response";
      case "asks_for_votes_before_sync":
        return kind === "vote_request";
      default:
        return false;
    }
  }

  #tasksOf({ snapshot, hardState, entries }: Persist): readonly StoreTask[] {
    const tasks: StoreTask[] = [];
    if (snapshot !== undefined) {
      tasks.push({ kind: "snapshot", ...snapshot, compactTo: undefined });
    }
    const written = hardState === undefined ? undefined : this.#asWritten(hardState);
    const batch: SaveBatch = written === undefined ? { entries } : { hardState: written, entries };
    if (written !== undefined && this.#makes("writes_hard_state_first")) {
      tasks.push({ kind: "save", batch: { hardState: written, entries: [] } });
    }
    if (written !== undefined || entries.length > 0) tasks.push({ kind: "save", batch });
    return tasks;
  }

  #asWritten(hardState: HardState): HardState {
    if (this.#makes("forgets_vote")) return { ...hardState, vote: undefined };
    if (this.#makes("forgets_term")) return { ...hardState, term: 1, vote: undefined };
    return hardState;
  }

  #apply(entry: Entry): void {
    const { self } = this.#options;
    const { checker } = this.#context;
    const { index } = entry;
    const proposal = entry.kind === "normal" ? decodeProposal(entry.data) : undefined;
    const id = proposal?.id ?? "";
    const isNew = this.proposals.indexOf(id) === undefined || this.#makes("applies_retries");
    const hasEffect = proposal !== undefined && isNew;
    if (hasEffect) {
      this.registers.write(proposal.data);
      this.proposals.add(id, index);
      checker.checkEffect(self, id, index);
    }
    this.registers.note(entry, { hasEffect });
    checker.checkApplied(self, entry, this.registers.digest);
    if (proposal !== undefined) this.#acknowledge(id);
    this.raft.applied(index);
    this.#entriesSinceSnapshot += 1;
  }

  #acknowledge(id: string): void {
    const index = this.proposals.indexOf(id);
    const done = this.#waiting.get(id);
    if (index === undefined || done === undefined) return;
    this.#waiting.delete(id);
    done(index);
  }

  #restore({ meta, data }: Snapshot): void {
    this.registers.restore(this.proposals.restore(data));
    this.#entriesSinceSnapshot = 0;
    const { checker, trace } = this.#context;
    checker.checkRestored(this.#options.self, meta.index, this.registers.digest);
    trace.line(() => `${this.#options.self} restored the snapshot ${meta.index}.${meta.term}`);
    for (const id of [...this.#waiting.keys()]) this.#acknowledge(id);
  }

  #answerReads(): void {
    if (this.#waitingReads.length === 0) return;
    const { appliedIndex } = this.raft;
    const isDue = ({ index }: WaitingRead) =>
      index <= appliedIndex || this.#makes("reads_before_applying");
    const due = this.#waitingReads.filter(isDue);
    if (due.length === 0) return;
    this.#waitingReads = this.#waitingReads.filter((read) => !isDue(read));
    for (const { done } of due) done();
  }

  #considerSnapshot(): void {
    const { everyEntries, retainedEntries } = this.#context.swarm.snapshots;
    if (this.#isSnapshotting || this.#entriesSinceSnapshot < everyEntries) return;
    const { raft } = this;
    const isLater = this.#makes("snapshots_under_later_index");
    const index = isLater ? raft.commitIndex : raft.appliedIndex;
    const term = raft.termAt(index);
    if (term === undefined) return;
    this.#isSnapshotting = true;
    this.#entriesSinceSnapshot = 0;
    const configuration = this.#makes("snapshots_newest_configuration")
      ? raft.configuration
      : raft.configurationAt(index);
    const isForgetful = this.#makes("snapshots_without_proposals");
    const table = isForgetful ? new AppliedProposals() : this.proposals;
    const data = table.encode(this.registers.encode());
    const meta = { index, term, configuration };
    const { trace } = this.#context;
    trace.line(() => `${this.#options.self} takes the snapshot ${index}.${term}`);
    const compactTo = index - retainedEntries;
    this.#options.store.write([{ kind: "snapshot", meta, data, compactTo }], () => {
      this.#isSnapshotting = false;
    });
  }

  #sendSnapshot(to: NodeId, term: number): void {
    this.loadSnapshot(({ meta, data }) => {
      this.#options.send({ to, message: { kind: "snapshot_request", term, meta, data } });
    });
  }

  #makes(mistake: DriverMistake): boolean {
    return this.#context.bug?.driver === mistake;
  }

  #show(): void {
    const { role, term, commitIndex, lastIndex, configuration } = this.raft;
    const { voters, votersOutgoing, learners } = configuration;
    const outgoing = votersOutgoing.length === 0 ? "" : ` (and ${votersOutgoing.join(",")})`;
    const learning = learners.length === 0 ? "" : ` learners ${learners.join(",")}`;
    const shown =
      `${this.#options.self} is ${role} of term ${term}, log ${lastIndex}, commit ${commitIndex}, ` +
      `voters ${voters.join(",")}${outgoing}${learning}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#context.trace.line(() => shown);
  }
}
