import t from "tap";
import { nodeId, seededRandom } from "../../src/kernel/index.ts";
import { encodeConfiguration, simpleConfiguration } from "../../src/raft/configuration.ts";
import type { CommittedBatch, TakeResult } from "../../src/raft/following.ts";
import { type Entry, MemoryLogStorage, Raft } from "../../src/raft/index.ts";

const [a, b, self] = [nodeId("a"), nodeId("b"), nodeId("self")];
const timing = { tickMs: 10, heartbeatTicks: 1, electionTicks: 10 };

/** An entry whose content says which one it is. */
function entry(index: number, term: number): Entry {
  return { index, term, kind: "normal", data: Buffer.from(`${index}@${term}`) };
}

function configurationEntry(index: number, term: number, voters: readonly string[]): Entry {
  const data = encodeConfiguration(
    simpleConfiguration({ voters: voters.map(nodeId), learners: [] }),
  );
  return { index, term, kind: "configuration", data };
}

/** A node whose log holds these entries, committed up to an index. */
function nodeWith(entries: readonly Entry[], { commitIndex = 0, term = 3 } = {}): Raft {
  const storage = new MemoryLogStorage();
  storage.saveNow({ hardState: { term, vote: undefined, commitIndex }, entries });
  return new Raft({ self, storage, random: seededRandom(1), timing, appliedIndex: 0 });
}

function batch(overrides: Partial<CommittedBatch>): CommittedBatch {
  const { previous = { index: 0, term: 0 }, entries = [] } = overrides;
  const commitIndex = entries.at(-1)?.index ?? previous.index;
  return { term: 3, leader: undefined, commitIndex, previous, entries, ...overrides };
}

const log = [configurationEntry(1, 1, ["a", "b"]), entry(2, 1), entry(3, 2)];
const textOf = (raft: Raft) =>
  Array.from({ length: raft.lastIndex }, (_, position) => raft.termAt(position + 1)).join(" ");

const cases: readonly {
  readonly name: string;
  readonly node: Raft;
  readonly batch: CommittedBatch;
  readonly result: TakeResult;
  /** Terms of the log afterwards, and its commit index. */
  readonly terms: string;
  readonly commitIndex: number;
}[] = [
  {
    name: "an empty node takes a log from its beginning",
    node: nodeWith([]),
    batch: batch({ entries: log }),
    result: "taken",
    terms: "1 1 2",
    commitIndex: 3,
  },
  {
    name: "what is committed here already is skipped",
    node: nodeWith(log, { commitIndex: 2 }),
    batch: batch({ entries: [...log, entry(4, 3)] }),
    result: "taken",
    terms: "1 1 2 3",
    commitIndex: 4,
  },
  {
    name: "an uncommitted tail that conflicts is superseded, of a former voter too",
    node: nodeWith(
      [configurationEntry(1, 1, ["a", "self"]), entry(2, 1), entry(3, 1), entry(4, 1)],
      {
        commitIndex: 2,
      },
    ),
    batch: batch({ previous: { index: 2, term: 1 }, entries: [entry(3, 2)] }),
    result: "taken",
    terms: "1 1 2",
    commitIndex: 3,
  },
  {
    name: "an uncommitted tail that agrees stays, as far as it is longer too",
    node: nodeWith([...log, entry(4, 3)], { commitIndex: 2 }),
    batch: batch({ previous: { index: 2, term: 1 }, entries: [entry(3, 2)] }),
    result: "taken",
    terms: "1 1 2 3",
    commitIndex: 3,
  },
  {
    name: "nothing is committed beyond the entries that came",
    node: nodeWith([...log, entry(4, 3)], { commitIndex: 2 }),
    batch: batch({ previous: { index: 2, term: 1 }, entries: [entry(3, 2)], commitIndex: 9 }),
    result: "taken",
    terms: "1 1 2 3",
    commitIndex: 3,
  },
  {
    name: "entries behind a gap are not taken",
    node: nodeWith(log, { commitIndex: 2 }),
    batch: batch({ previous: { index: 3, term: 2 }, entries: [entry(4, 3)] }),
    result: "gap",
    terms: "1 1 2",
    commitIndex: 2,
  },
  {
    name: "another history is noticed at the entry before",
    node: nodeWith(log, { commitIndex: 3 }),
    batch: batch({ previous: { index: 3, term: 3 }, entries: [entry(4, 3)] }),
    result: "diverged",
    terms: "1 1 2",
    commitIndex: 3,
  },
  {
    name: "another history is noticed at an entry that is committed here",
    node: nodeWith(log, { commitIndex: 3 }),
    batch: batch({ previous: { index: 2, term: 1 }, entries: [entry(3, 3), entry(4, 3)] }),
    result: "diverged",
    terms: "1 1 2",
    commitIndex: 3,
  },
];

t.test("committed entries from whoever has them", async (t) => {
  for (const { name, node, batch, result, terms, commitIndex } of cases) {
    t.test(name, async (t) => {
      t.equal(node.takeCommitted(batch), result);
      t.equal(textOf(node), terms);
      t.equal(node.commitIndex, commitIndex);
    });
  }
});

t.test("a newer term is adopted, and the leader named while it is fresh", async (t) => {
  const node = nodeWith(log, { commitIndex: 3 });
  const previous = { index: 3, term: 2 };
  node.takeCommitted(batch({ previous, term: 5, leader: { node: b, ageTicks: 2 } }));
  t.equal(node.term, 5);
  t.strictSame(node.leaderHint, { node: b, ageTicks: 2 });
  node.tick();
  t.strictSame(node.leaderHint, { node: b, ageTicks: 3 });
  node.takeCommitted(batch({ previous, term: 5, leader: { node: b, ageTicks: 8 } }));
  t.strictSame(node.leaderHint, { node: b, ageTicks: 3 }, "older news changes nothing");
  node.takeCommitted(batch({ previous, term: 5, leader: { node: a, ageTicks: 10 } }));
  t.equal(node.leader, b, "nor does a leader that nobody has heard for long");
});

t.test("two nodes that feed each other do not keep a dead leader's name alive", async (t) => {
  const [one, two] = [nodeWith(log, { commitIndex: 3 }), nodeWith(log, { commitIndex: 3 })];
  const previous = { index: 3, term: 2 };
  const tell = (from: Raft, to: Raft) =>
    to.takeCommitted(batch({ previous, leader: from.leaderHint }));
  one.takeCommitted(batch({ previous, leader: { node: a, ageTicks: 0 } }));
  tell(one, two);
  t.equal(two.leader, a);
  for (let tick = 0; tick < 2 * timing.electionTicks; tick += 1) {
    for (const node of [one, two]) node.tick();
    tell(one, two);
    tell(two, one);
  }
  t.strictSame([one.leader, two.leader], [undefined, undefined]);
});

t.test("a member takes entries, but hears of the leader only from the leader", async (t) => {
  const node = nodeWith([configurationEntry(1, 1, ["a", "b", "self"])], { commitIndex: 1 });
  const previous = { index: 1, term: 1 };
  const leader = { node: a, ageTicks: 0 };
  t.equal(node.takeCommitted(batch({ previous, entries: [entry(2, 2)], leader })), "taken");
  t.equal(node.commitIndex, 2);
  t.equal(node.leader, undefined);
  const removal = batch({
    previous: { index: 2, term: 2 },
    entries: [configurationEntry(3, 3, ["a", "b"])],
    leader,
  });
  node.takeCommitted(removal);
  t.equal(node.leader, a, "as soon as it is no member any more");
});

t.test("a leader takes nothing from others", async (t) => {
  const node = nodeWith([configurationEntry(1, 1, ["self"])], { commitIndex: 1, term: 1 });
  node.tick();
  while (node.takeReady() !== undefined) node.persisted();
  t.equal(node.role, "leader");
  t.equal(node.takeCommitted(batch({ previous: { index: 1, term: 1 }, term: 9 })), "refused");
  t.equal(node.role, "leader");
});

t.test("a snapshot is taken when it is news, and then the entries behind it", async (t) => {
  const node = nodeWith(log, { commitIndex: 3 });
  const configuration = simpleConfiguration({ voters: [a], learners: [] });
  const snapshot = (index: number, term: number) => ({
    term: 6,
    meta: { index, term, configuration },
    data: Buffer.from("state"),
  });
  t.equal(node.takeSnapshot(snapshot(3, 2)), "taken");
  t.equal(node.commitIndex, 3, "an old one changes nothing");
  t.equal(node.takeSnapshot(snapshot(20, 5)), "taken");
  t.strictSame([node.commitIndex, node.term], [20, 6]);
  t.strictSame(node.configuration.voters, [a]);
  const next = batch({ term: 6, previous: { index: 20, term: 5 }, entries: [entry(21, 6)] });
  t.equal(node.takeCommitted(next), "taken");
  t.equal(node.commitIndex, 21);
});

t.test("what a feeder can give depends on where the other one is", async (t) => {
  const node = nodeWith([...log, entry(4, 3)], { commitIndex: 3 });
  const read = (index: number, term: number) =>
    node.readCommitted({ after: { index, term }, maxBytes: 1e6 });
  t.match(read(1, 1), { kind: "entries", entries: [{ index: 2 }, { index: 3 }] });
  t.strictSame(read(3, 2), { kind: "entries", entries: [] }, "what is not committed stays here");
  t.strictSame(read(4, 3), { kind: "behind" });
  t.strictSame(read(2, 2), { kind: "diverged" });
  const storage = new MemoryLogStorage();
  storage.saveNow({ hardState: { term: 3, vote: undefined, commitIndex: 3 }, entries: log });
  const configuration = simpleConfiguration({ voters: [a, b], learners: [] });
  storage.saveSnapshotNow({ index: 2, term: 1, configuration }, Buffer.from("state"));
  storage.compactNow(2);
  const compacted = new Raft({ self, storage, random: seededRandom(1), timing, appliedIndex: 2 });
  t.strictSame(compacted.readCommitted({ after: { index: 1, term: 1 }, maxBytes: 1e6 }), {
    kind: "compacted",
  });
  t.match(compacted.readCommitted({ after: { index: 2, term: 1 }, maxBytes: 1e6 }), {
    kind: "entries",
    entries: [{ index: 3 }],
  });
});
