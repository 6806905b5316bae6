import type { SourceEdit } from "../planted-source.ts";

/** A mistake, put in on purpose: a simulator that misses it proves nothing. */
export type PlantedRunnerBug = SourceEdit & {
  readonly name: string;
  /** What it breaks. */
  readonly section: string;
  /** The runs within which it must be found. */
  readonly seeds: number;
};

type Draft = Omit<PlantedRunnerBug, "section">;

const runner = "raft/raft-runner.ts";
const transfer = "raft/snapshot-transfer.ts";
const reads = "raft/read-rounds.ts";

const whenWritten = `this.#enqueueWrite(write, () => {
      if (this.#stop.signal.aborted) return;
      if (snapshot !== undefined) this.#restore(snapshot);
      this.#raft.persisted();
      this.#send(sendAfterPersist);`;

const writes: readonly Draft[] = [
  {
    name: "acknowledges before the write",
    seeds: 30,
    file: runner,
    find: "const { snapshot, hardState, entries } = persist;",
    replace: `const { snapshot, hardState, entries } = persist;
    const isEarly = (kind: string) => kind === "append_accepted";
    this.#send(sendAfterPersist.filter(({ message }) => isEarly(message.kind)));`,
  },
  {
    name: "votes before the write",
    seeds: 30,
    file: runner,
    find: "const { snapshot, hardState, entries } = persist;",
    replace: `const { snapshot, hardState, entries } = persist;
    const isEarly = (kind: string) => kind === "vote_response";
    this.#send(sendAfterPersist.filter(({ message }) => isEarly(message.kind)));`,
  },
  {
    name: "asks for votes before the write",
    seeds: 30,
    file: runner,
    find: "const { snapshot, hardState, entries } = persist;",
    replace: `const { snapshot, hardState, entries } = persist;
    const isEarly = (kind: string) => kind === "vote_request";
    this.#send(sendAfterPersist.filter(({ message }) => isEarly(message.kind)));`,
  },
  {
    name: "tells the core of a write before it is done",
    seeds: 30,
    file: runner,
    find: whenWritten,
    replace: `this.#raft.persisted();
    this.#enqueueWrite(write, () => {
      if (this.#stop.signal.aborted) return;
      if (snapshot !== undefined) this.#restore(snapshot);
      this.#send(sendAfterPersist);`,
  },
  {
    name: "writes the entries before the snapshot that they follow",
    seeds: 150,
    file: runner,
    find: `      if (snapshot !== undefined) await storage.saveSnapshot(snapshot.meta, snapshot.data);
      if (hardState !== undefined) await storage.save({ hardState, entries });
      else if (entries.length > 0) await storage.save({ entries });`,
    replace: `      if (hardState !== undefined) await storage.save({ hardState, entries });
      else if (entries.length > 0) await storage.save({ entries });
      if (snapshot !== undefined) await storage.saveSnapshot(snapshot.meta, snapshot.data);`,
  },
  {
    name: "leaves term and vote out of a write with entries",
    seeds: 30,
    file: runner,
    find: "if (hardState !== undefined) await storage.save({ hardState, entries });\n      else if (entries.length > 0) await storage.save({ entries });",
    replace:
      "if (entries.length > 0) await storage.save({ entries });\n      else if (hardState !== undefined) await storage.save({ hardState, entries });",
  },
  {
    name: "leaves term and vote out of a write with a snapshot",
    seeds: 60,
    file: runner,
    find: "if (hardState !== undefined) await storage.save({ hardState, entries });",
    replace:
      "if (hardState !== undefined && snapshot === undefined) await storage.save({ hardState, entries });",
  },
  {
    name: "does several writes at a time",
    seeds: 30,
    file: runner,
    find: "this.#writes = this.#writes.then(async () => {",
    replace: "this.#writes = Promise.resolve().then(async () => {",
  },
];

const snapshots: readonly Draft[] = [
  {
    name: "notes the newest members in its snapshot",
    seeds: 30,
    file: runner,
    find: "const configuration = this.#raft.configurationAt(appliedIndex);",
    replace: "const { configuration } = this.#raft;",
  },
  {
    name: "notes the commit index in its snapshot",
    seeds: 30,
    file: runner,
    find: "const { appliedIndex } = this.#raft;\n    const term",
    replace: "const { commitIndex: appliedIndex } = this.#raft;\n    const term",
  },
  {
    name: "leaves the table of proposals out of its snapshot",
    seeds: 30,
    file: runner,
    find: "const data = this.#applied.encode(",
    replace: "const data = new AppliedProposals().encode(",
  },
  {
    name: "drops all entries behind its snapshot",
    seeds: 30,
    file: runner,
    find: "const usual = Math.max(0, index - retainedEntries);",
    replace: "const usual = index;",
  },
  {
    name: "never drops entries",
    seeds: 30,
    file: runner,
    find: "await storage.compact(this.#compactableIndex(meta.index, policy));",
    replace: "",
  },
  {
    name: "takes no second snapshot",
    seeds: 30,
    file: runner,
    find: "this.#enqueueWrite(async () => {\n      this.#isSnapshotting = false;",
    replace: "this.#enqueueWrite(async () => {",
  },
];

const files: readonly Draft[] = [
  {
    name: "keeps no snapshot but the newest",
    seeds: 30,
    file: "raft/io/file-log-storage.ts",
    find: "const keptSnapshots = 2;",
    replace: "const keptSnapshots = 1;",
  },
  {
    name: "forgets the old vote when it drops segments",
    seeds: 1_500,
    file: "raft/io/log-state.ts",
    find: 'const records: LogRecord[] = [{ kind: "hard_state", hardState }];',
    replace:
      'const records: LogRecord[] = [{ kind: "hard_state", hardState: { ...hardState, vote: undefined } }];',
  },
  {
    name: "takes the mark of a snapshot for the end of the entries before it",
    seeds: 30,
    file: "raft/io/log-state.ts",
    find: 'records.push({ kind: "snapshot", id: mark, replacesLog: false });',
    replace: 'records.push({ kind: "snapshot", id: mark, replacesLog: true });',
  },
];

const restoring: readonly Draft[] = [
  {
    name: "does not restore the snapshot that it wrote",
    seeds: 30,
    file: runner,
    find: "if (snapshot !== undefined) this.#restore(snapshot);",
    replace: "",
  },
  {
    name: "restores a snapshot before it is written",
    seeds: 30,
    file: runner,
    find: whenWritten,
    replace: `if (snapshot !== undefined) this.#restore(snapshot);
    this.#enqueueWrite(write, () => {
      if (this.#stop.signal.aborted) return;
      this.#raft.persisted();
      this.#send(sendAfterPersist);`,
  },
  {
    name: "does not answer the proposals that a snapshot brought",
    seeds: 30,
    file: runner,
    find: "for (const id of this.#proposals.ids()) {",
    replace: "for (const id of this.#proposals.ids().slice(0, 0)) {",
  },
  {
    name: "starts without the table of proposals",
    seeds: 30,
    file: runner,
    find: "stateMachine.restore(applied.restore(snapshot.data), snapshot.meta.index);",
    replace:
      "stateMachine.restore(new AppliedProposals().restore(snapshot.data), snapshot.meta.index);",
  },
  {
    name: "waits for ever for a snapshot that cannot be fetched",
    seeds: 400,
    file: "raft/follow-loop.ts",
    find: "onFailed: (error) => this.#fetched?.reject(error),",
    replace: "onFailed: () => undefined,",
  },
  {
    name: "offers an old snapshot as long as it is asked for",
    seeds: 400,
    file: transfer,
    find: "if (index === log.newest?.index) return await pending;",
    replace: "if (index !== undefined) return await pending;",
  },
  {
    name: "serves a chunk of another snapshot than the one asked for",
    seeds: 400,
    file: transfer,
    find: "if (snapshot?.meta.index !== id.index || snapshot.meta.term !== id.term) {",
    replace: "if (snapshot === undefined) {",
  },
  {
    name: "goes on with the bytes of another snapshot",
    seeds: 2_000,
    file: transfer,
    find: `present.offer.meta.index === offer.meta.index &&
      present.offer.meta.term === offer.meta.term &&
      present.offer.bytes === offer.bytes;`,
    replace: "true;",
  },
];

const clients: readonly Draft[] = [
  {
    name: "applies again what was proposed again",
    seeds: 30,
    file: runner,
    find: "if (this.#applied.indexOf(id) === undefined) {",
    replace: "if (id.length > 0) {",
  },
  {
    name: "answers when a proposal is in the log",
    seeds: 30,
    file: "raft/pending-proposals.ts",
    find: 'if (result.kind === "dropped") this.#retry(batch);',
    replace: `if (result.kind === "dropped") this.#retry(batch);
    else for (const { id } of batch) this.applied(id, result.lastIndex);`,
  },
  {
    name: "leaves proposals open when it stops",
    seeds: 30,
    file: runner,
    find: "    this.#proposals.failAll(error);\n",
    replace: "",
  },
  {
    name: "leaves reads open when it stops",
    seeds: 150,
    file: runner,
    find: "    this.#reads.failAll(error);\n",
    replace: "",
  },
  {
    name: "confirms reads before they are applied",
    seeds: 30,
    file: reads,
    find: "if (!waiter.isRemote && applied < index) continue;",
    replace: "",
  },
  {
    name: "answers the reads of others without asking anybody",
    seeds: 30,
    file: reads,
    find: "else this.#add({ isRemote: true, resolve: answer, reject: () => answer(null) });",
    replace: "else answer(this.#options.appliedIndex());",
  },
  {
    name: "calls a change of members done that is under way",
    seeds: 30,
    file: runner,
    find: "      status.isSettled &&\n      isSameSet(status.voters",
    replace: "      isSameSet(status.voters",
  },
];

function of(section: string, drafts: readonly Draft[]): readonly PlantedRunnerBug[] {
  return drafts.map((draft) => ({ ...draft, section }));
}

export const plantedRunnerBugs: readonly PlantedRunnerBug[] = [
  ...of("writes", writes),
  ...of("own snapshots", snapshots),
  ...of("log files", files),
  ...of("snapshots of others", restoring),
  ...of("clients", clients),
];
