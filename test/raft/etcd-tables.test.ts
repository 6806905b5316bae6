import t from "tap";
import { nodeId, seededRandom } from "../../src/kernel/index.ts";
import { MemoryLogStorage, Raft } from "../../src/raft/index.ts";
import { CoreCluster, timing } from "./core-cluster.ts";

// The rest of etcd-io/raft's paper tests, as far as no scenario and no test of the paper has them.

const three = { voters: ["a", "b", "c"] };

function votersOf(count: number): readonly string[] {
  return ["a", "b", "c", "d", "e", "f", "g"].slice(0, count);
}

t.test("StartAsFollower, §5.2", async (t) => {
  const cluster = new CoreCluster(three);
  for (const name of three.voters) t.equal(cluster.raft(name).role, "follower");
});

t.test("LeaderBcastBeat, §5.2: each heartbeat interval, to all", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  cluster.take();
  cluster.tick("a");
  t.match(cluster.take(), [
    { to: "b", message: { kind: "heartbeat" } },
    { to: "c", message: { kind: "heartbeat" } },
  ]);
});

t.test("LeaderElectionInOneRoundRPC, §5.2", async (t) => {
  const cases = [
    { voters: 3, granted: "bc", refused: "", role: "leader" },
    { voters: 3, granted: "b", refused: "", role: "leader" },
    { voters: 3, granted: "b", refused: "c", role: "leader" },
    { voters: 3, granted: "", refused: "bc", role: "follower" },
    { voters: 3, granted: "", refused: "b", role: "candidate" },
    { voters: 5, granted: "bcde", refused: "", role: "leader" },
    { voters: 5, granted: "bc", refused: "de", role: "leader" },
    { voters: 5, granted: "b", refused: "", role: "candidate" },
    { voters: 5, granted: "b", refused: "cd", role: "candidate" },
    { voters: 5, granted: "b", refused: "cde", role: "follower" },
    { voters: 5, granted: "", refused: "", role: "candidate" },
  ];
  for (const { voters, granted, refused, role } of cases) {
    const cluster = new CoreCluster({ voters: votersOf(voters) });
    cluster.tick("a", 2 * timing.electionTicks);
    for (const name of votersOf(voters).slice(1)) {
      if (cluster.raft("a").role !== "pre_candidate") break;
      cluster.step("a", name, { kind: "pre_vote_response", term: 2, isGranted: true });
    }
    for (const name of granted) {
      cluster.step("a", name, { kind: "vote_response", term: 2, isGranted: true });
      // The same answer twice is one vote.
      cluster.step("a", name, { kind: "vote_response", term: 2, isGranted: true });
    }
    for (const name of refused) {
      cluster.step("a", name, { kind: "vote_response", term: 2, isGranted: false });
    }
    t.equal(cluster.raft("a").role, role, JSON.stringify({ voters, granted, refused }));
    t.equal(cluster.raft("a").term, 2);
  }
});

t.test("FollowerVote, §5.2: first come, first served", async (t) => {
  const lastEntry = { index: 1, term: 1 };
  for (const [first, second] of ["ab", "ba", "aa", "bb"].map((pair) => [...pair])) {
    const cluster = new CoreCluster(three);
    for (const from of [first ?? "", second ?? ""]) {
      cluster.step("c", from, { kind: "vote_request", term: 2, lastEntry, isTransfer: false });
    }
    const answers = cluster.take().map(({ to, message }) => [to, message]);
    t.match(answers, [
      [first, { kind: "vote_response", isGranted: true }],
      [second, { kind: "vote_response", isGranted: first === second }],
    ]);
  }
});

t.test(
  "CandidateFallback, §5.2: a candidate meets the leader of its term, or a later one",
  async (t) => {
    for (const term of [2, 3]) {
      const cluster = new CoreCluster(three);
      cluster.tick("a", 2 * timing.electionTicks);
      cluster.step("a", "b", { kind: "pre_vote_response", term: 2, isGranted: true });
      t.equal(cluster.raft("a").role, "candidate");
      cluster.step("a", "c", { kind: "heartbeat", term, commitIndex: 0, readContext: 0 });
      t.match(cluster.raft("a"), { role: "follower", term, leader: "c" });
    }
  },
);

function timeoutOf(raft: Raft): number {
  for (let ticks = 1; ticks <= 4 * timing.electionTicks; ticks += 1) {
    raft.tick();
    if (raft.takeReady()?.send.some(({ message }) => message.kind === "pre_vote_request")) {
      return ticks;
    }
  }
  throw new Error("no campaign");
}

function startVoter(name: string, seed: number): Raft {
  const { storage } = new CoreCluster(three).node(name);
  return new Raft({
    self: nodeId(name),
    storage,
    random: seededRandom(seed),
    timing,
    appliedIndex: 0,
  });
}

t.test("FollowerElectionTimeoutRandomized, CandidateElectionTimeoutRandomized, §5.2", async (t) => {
  const raft = startVoter("a", 1);
  const seen = new Set<number>();
  for (let round = 0; round < 200; round += 1) seen.add(timeoutOf(raft));
  const { electionTicks } = timing;
  const expected = Array.from({ length: electionTicks }, (_, extra) => electionTicks + extra);
  t.strictSame(
    [...seen].sort((left, right) => left - right),
    expected,
    "each of the range",
  );
});

t.test(
  "FollowersElectionTimeoutNonconflict, §5.2: few collide, with seeds of their own",
  async (t) => {
    let collisions = 0;
    const rounds = 300;
    const rafts = [1, 2, 3].map((seed) => startVoter("a", seed));
    for (let round = 0; round < rounds; round += 1) {
      const first = rafts.map(timeoutOf).sort((left, right) => left - right);
      if (first[0] === first[1]) collisions += 1;
    }
    t.ok(collisions < rounds * 0.3, `${collisions} of ${rounds}`);
  },
);

t.test("LeaderAcknowledgeCommit, §5.3: with a majority of acknowledgements", async (t) => {
  const cases = [
    { voters: 1, from: "", isCommitted: true },
    { voters: 3, from: "", isCommitted: false },
    { voters: 3, from: "b", isCommitted: true },
    { voters: 3, from: "bc", isCommitted: true },
    { voters: 5, from: "", isCommitted: false },
    { voters: 5, from: "b", isCommitted: false },
    { voters: 5, from: "bc", isCommitted: true },
    { voters: 5, from: "bcde", isCommitted: true },
  ];
  for (const { voters, from, isCommitted } of cases) {
    const cluster = new CoreCluster({ voters: votersOf(voters) });
    cluster.elect("a");
    const { lastIndex, term } = cluster.raft("a");
    cluster.propose("a", "x");
    for (const name of from) {
      cluster.step("a", name, { kind: "append_accepted", term, matchIndex: lastIndex + 1 });
    }
    t.equal(cluster.raft("a").commitIndex > lastIndex, isCommitted, `${voters}: ${from}`);
  }
});

const text = (index: number, term: number) => ({
  index,
  term,
  kind: "normal" as const,
  data: Buffer.from(`${term}`),
});

t.test("FollowerCheckMsgApp, §5.3: the entry before must match", async (t) => {
  // The log of "b": entries 1@1, 2@1, 3@2; entry 1 is committed.
  const cases = [
    { previous: { index: 1, term: 1 }, answer: { kind: "append_accepted", matchIndex: 1 } },
    { previous: { index: 2, term: 1 }, answer: { kind: "append_accepted", matchIndex: 2 } },
    { previous: { index: 3, term: 2 }, answer: { kind: "append_accepted", matchIndex: 3 } },
    // Below the commit index there is nothing to compare: it is settled.
    { previous: { index: 0, term: 0 }, answer: { kind: "append_accepted", matchIndex: 1 } },
    {
      previous: { index: 3, term: 1 },
      answer: { kind: "append_rejected", rejectedIndex: 3, hint: { index: 2, term: 1 } },
    },
    {
      previous: { index: 2, term: 2 },
      answer: { kind: "append_rejected", rejectedIndex: 2, hint: { index: 2, term: 1 } },
    },
    {
      previous: { index: 9, term: 4 },
      answer: { kind: "append_rejected", rejectedIndex: 9, hint: { index: 3, term: 2 } },
    },
  ];
  for (const { previous, answer } of cases) {
    const cluster = new CoreCluster({ ...three, logs: { b: [1, 2] } });
    const request = { kind: "append_request" as const, term: 4, entries: [], commitIndex: 0 };
    cluster.step("b", "a", { ...request, previous });
    t.match(cluster.take(), [{ to: "a", message: answer }], JSON.stringify(previous));
  }
});

t.test("FollowerAppendEntries, §5.3: a conflict ends the old log, nothing else does", async (t) => {
  const cases = [
    { previous: { index: 3, term: 2 }, entries: [text(4, 3)], terms: [1, 1, 2, 3] },
    { previous: { index: 2, term: 1 }, entries: [text(3, 3), text(4, 3)], terms: [1, 1, 3, 3] },
    { previous: { index: 1, term: 1 }, entries: [text(2, 1)], terms: [1, 1, 2] },
    { previous: { index: 1, term: 1 }, entries: [text(2, 3)], terms: [1, 3] },
    { previous: { index: 2, term: 1 }, entries: [], terms: [1, 1, 2] },
  ];
  for (const { previous, entries, terms } of cases) {
    const cluster = new CoreCluster({ ...three, logs: { b: [1, 2] } });
    const request = { kind: "append_request" as const, term: 4, commitIndex: 1 };
    cluster.step("b", "a", { ...request, previous, entries });
    const { storage } = cluster.node("b");
    const onDisk = Array.from({ length: storage.lastIndex() }, (_, n) => storage.term(n + 1));
    t.strictSame(onDisk, terms, JSON.stringify(previous));
    t.strictSame(cluster.terms("b"), terms);
  }
});

t.test("a follower commits no more than it was shown to match (HandleMsgApp)", async (t) => {
  const cases = [
    { entries: [], commitIndex: 3, expected: 2 },
    { entries: [text(3, 2)], commitIndex: 3, expected: 3 },
    { entries: [text(3, 2)], commitIndex: 2, expected: 2 },
    { entries: [text(3, 2)], commitIndex: 9, expected: 3 },
  ];
  for (const { entries, commitIndex, expected } of cases) {
    const cluster = new CoreCluster({ ...three, logs: { b: [1, 2] } });
    const previous = { index: 2, term: 1 };
    cluster.step("b", "a", { kind: "append_request", term: 4, previous, entries, commitIndex });
    t.equal(cluster.raft("b").commitIndex, expected);
  }
});

t.test(
  "a disk that lost acknowledged entries is noticed, with the remedy (etcd #10166)",
  async (t) => {
    const cluster = new CoreCluster(three);
    cluster.elect("a");
    const { term, lastIndex } = cluster.raft("b");
    const late = { kind: "heartbeat" as const, term, commitIndex: lastIndex + 1, readContext: 0 };
    t.throws(() => cluster.step("b", "a", late), /data directory lost entries.*join anew/);
  },
);

t.test("an empty node starts without members and campaigns never", async (t) => {
  const raft = new Raft({
    self: nodeId("a"),
    storage: new MemoryLogStorage(),
    random: seededRandom(1),
    timing,
    appliedIndex: 0,
  });
  for (let ticks = 0; ticks < 10 * timing.electionTicks; ticks += 1) raft.tick();
  t.equal(raft.role, "follower");
  t.equal(raft.takeReady(), undefined);
});
