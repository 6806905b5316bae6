import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import type { Message } from "../../src/raft/message.ts";
import { paperRules } from "../../src/raft/rules.ts";
import { CoreCluster, timing } from "./core-cluster.ts";

const three = { voters: ["a", "b", "c"] };

t.test("§5.1: a newer term makes a follower, also of a leader", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  const { term } = cluster.raft("a");
  cluster.step("a", "b", { kind: "heartbeat", term: term + 1, commitIndex: 0, readContext: 0 });
  t.equal(cluster.raft("a").role, "follower");
  t.equal(cluster.raft("a").term, term + 1);
  t.equal(cluster.node("a").storage.hardState().term, term + 1, "durably");
});

t.test(
  "§5.1: a message of an older term changes nothing and is answered with the term",
  async (t) => {
    const cluster = new CoreCluster(three);
    cluster.elect("a");
    const { term, lastIndex } = cluster.raft("b");
    const entries = [{ index: 2, term: 1, kind: "normal" as const, data: Buffer.from("old") }];
    const previous = { index: 1, term: 1 };
    cluster.step("b", "c", { kind: "append_request", term: 1, previous, entries, commitIndex: 2 });
    t.equal(cluster.raft("b").lastIndex, lastIndex);
    t.match(cluster.take(), [{ to: "c", message: { term } }]);
  },
);

t.test("§5.2: a follower without a leader asks for pre-votes, then for votes", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.tick("a", 2 * timing.electionTicks);
  t.equal(cluster.raft("a").role, "pre_candidate");
  t.equal(cluster.raft("a").term, 1, "a pre-vote keeps the term");
  const asked = cluster.take();
  t.match(asked.slice(0, 2), [
    { to: "b", message: { kind: "pre_vote_request", term: 2 } },
    { to: "c", message: { kind: "pre_vote_request", term: 2 } },
  ]);
  cluster.step("a", "b", { kind: "pre_vote_response", term: 2, isGranted: true });
  t.equal(cluster.raft("a").role, "candidate");
  t.equal(cluster.raft("a").term, 2);
});

t.test("§5.2: one vote a term, kept over a crash", async (t) => {
  const cluster = new CoreCluster(three);
  const ask = (from: string) => {
    const lastEntry = { index: 1, term: 1 };
    cluster.step("c", from, { kind: "vote_request", term: 2, lastEntry, isTransfer: false });
    return cluster.take().at(-1)?.message;
  };
  t.match(ask("a"), { kind: "vote_response", isGranted: true });
  cluster.restart("c");
  t.match(ask("b"), { kind: "vote_response", isGranted: false });
  t.match(ask("a"), { kind: "vote_response", isGranted: true }, "again for the same candidate");
});

t.test("§5.2, figure 2: a vote leaves after the write that records it", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.node("c").holdsWrites = true;
  const lastEntry = { index: 1, term: 1 };
  cluster.step("c", "a", { kind: "vote_request", term: 2, lastEntry, isTransfer: false });
  t.strictSame(cluster.take(), []);
  cluster.finishWrite("c");
  t.match(cluster.take(), [{ to: "a", message: { kind: "vote_response", isGranted: true } }]);
});

t.test("§5.3: a follower acknowledges entries after the write that stores them", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  cluster.node("b").holdsWrites = true;
  cluster.propose("a", "x");
  cluster.deliver(({ to }) => to === "b");
  t.equal(cluster.raft("a").commitIndex, cluster.raft("a").lastIndex - 1);
  cluster.finishWrite("b");
  cluster.deliver(({ to }) => to !== "c");
  t.equal(cluster.raft("a").commitIndex, cluster.raft("a").lastIndex);
});

t.test(
  "dissertation §10.2.1: the leader sends before its own write, counts itself after",
  async (t) => {
    const cluster = new CoreCluster(three);
    cluster.elect("a");
    cluster.node("a").holdsWrites = true;
    cluster.propose("a", "x");
    t.match(cluster.waiting, [{ message: { kind: "append_request" } }, {}]);
    cluster.deliver(({ to }) => to !== "c");
    t.strictSame(cluster.texts("a"), [], "one follower alone is no majority");
    cluster.finishWrite("a");
    cluster.drain("a");
    t.equal(cluster.raft("a").commitIndex, cluster.raft("a").lastIndex);
  },
);

t.test("a single voter answers nothing before its own write (etcd #14370)", async (t) => {
  const cluster = new CoreCluster({ voters: ["a"] });
  cluster.elect("a");
  cluster.node("a").holdsWrites = true;
  cluster.propose("a", "x");
  t.strictSame(cluster.texts("a"), []);
  cluster.finishWrite("a");
  cluster.drain("a");
  t.strictSame(cluster.texts("a"), ["x"]);
});

t.test("§5.3, figure 7: every kind of divergence is repaired", async (t) => {
  const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const followers: Readonly<Record<string, readonly number[]>> = {
    a: [1, 1, 1, 4, 4, 5, 5, 6, 6],
    b: [1, 1, 1, 4],
    c: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    e: [1, 1, 1, 4, 4, 4, 4],
    f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  };
  for (const [name, log] of Object.entries(followers)) {
    // A third voter without a log of interest gives the leader its majority.
    const logs = { l: [...leaderLog, 8], [name]: log };
    const cluster = new CoreCluster({ voters: ["l", name, "z"], logs });
    cluster.elect("l");
    cluster.tick("l", 2);
    cluster.deliver();
    t.strictSame(cluster.terms(name), cluster.terms("l"), `follower (${name})`);
    t.equal(cluster.raft(name).commitIndex, cluster.raft("l").commitIndex);
  }
});

t.test("§5.3, end: whole terms are skipped when logs differ", async (t) => {
  const many = Array.from({ length: 200 }, () => 2);
  const logs = { a: Array.from({ length: 200 }, () => 3), b: many };
  const cluster = new CoreCluster({ ...three, logs });
  cluster.elect("a");
  cluster.tick("a");
  let rejections = 0;
  cluster.deliver(({ message }) => {
    if (message.kind === "append_rejected") rejections += 1;
    return true;
  });
  t.strictSame(cluster.terms("b"), cluster.terms("a"));
  t.ok(rejections <= 2, `few rejections, not one an entry: ${rejections}`);
});

t.test(
  "§5.3, end: the search for where logs part ends exactly there, so the first append cuts a tail",
  async (t) => {
    // An acknowledgement of a whole log would say too much only about a tail that stayed.
    const logs = risingTerms({ maxLength: 4, maxTerm: 4 });
    let pairs = 0;
    for (const leading of logs) {
      for (const following of logs) {
        const shared = sharedLength(leading, following);
        if (shared === undefined) continue;
        pairs += 1;
        const first = firstTaken(leading, following);
        const name = `${leading.join(" ")} leads ${following.join(" ")}`;
        if (first?.previous.index !== 1 + shared) t.fail(`${name}: ${first?.previous.index}`);
        if (first?.entries.length !== 1) t.fail(`${name}: ${first?.entries.length} entries`);
      }
    }
    t.ok(pairs > 500, `${pairs} pairs of logs`);
  },
);

/** All logs' terms, behind the configuration at index 1. */
function risingTerms({
  maxLength,
  maxTerm,
}: {
  readonly maxLength: number;
  readonly maxTerm: number;
}): readonly (readonly number[])[] {
  const all: (readonly number[])[] = [[]];
  for (const log of all) {
    if (log.length === maxLength) continue;
    for (let term = log.at(-1) ?? 1; term <= maxTerm; term += 1) all.push([...log, term]);
  }
  return all;
}

/** How many entries two logs share; undefined when no two logs can be like that (§5.3). */
function sharedLength(left: readonly number[], right: readonly number[]): number | undefined {
  const parting = left.findIndex((term, position) => right[position] !== term);
  const shared = parting === -1 ? left.length : parting;
  const isSameLater = left.some((term, position) => position >= shared && right[position] === term);
  return isSameLater ? undefined : shared;
}

/** The append that a follower accepts first from a new leader. */
function firstTaken(
  leading: readonly number[],
  following: readonly number[],
): Extract<Message, { readonly kind: "append_request" }> | undefined {
  const logs = { a: leading, b: following, c: leading };
  const cluster = new CoreCluster({ ...three, logs, limits: { messageBytes: 1 } });
  let asked: Extract<Message, { readonly kind: "append_request" }> | undefined;
  let taken: typeof asked;
  for (let ticks = 0; ticks < 100 && taken === undefined; ticks += 1) {
    cluster.tick("a");
    cluster.deliver(({ from, to, message }) => {
      if (to === "b" && message.kind === "append_request") asked = message;
      if (from === "b" && message.kind === "append_accepted") taken ??= asked;
      return true;
    });
  }
  return taken;
}

t.test("§5.3: a late append does not undo newer entries that match", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  const { lastIndex, term } = cluster.raft("b");
  cluster.propose("a", "1");
  cluster.propose("a", "2");
  const late = cluster.waiting.find(({ to }) => to === "b");
  cluster.deliver();
  if (late === undefined) throw new Error("an append was sent");
  cluster.step("b", "a", late.message);
  t.equal(cluster.raft("b").lastIndex, lastIndex + 2);
  t.equal(cluster.raft("b").termAt(lastIndex + 2), term);
});

t.test("§5.3: a follower commits no further than the logs were compared", async (t) => {
  const indexes = { leaderCommitIndex: 9, lastNewIndex: 5, lastIndex: 9 };
  t.equal(paperRules.followerCommitIndex(indexes), 5);
  t.equal(paperRules.heartbeatCommitIndex({ matchIndex: 5, commitIndex: 9 }), 5);
});

t.test("§5.4.1: no vote for an older log", async (t) => {
  const cases = [
    { own: [2, 2], candidate: { index: 9, term: 1 }, isGranted: false },
    { own: [2, 2], candidate: { index: 2, term: 2 }, isGranted: false },
    { own: [2, 2], candidate: { index: 3, term: 2 }, isGranted: true },
    { own: [2, 2], candidate: { index: 2, term: 3 }, isGranted: true },
  ];
  for (const { own, candidate, isGranted } of cases) {
    const cluster = new CoreCluster({ ...three, logs: { b: own } });
    const request = { kind: "vote_request" as const, term: 5, isTransfer: false };
    cluster.step("b", "a", { ...request, lastEntry: candidate });
    t.match(cluster.take(), [{ message: { isGranted } }], JSON.stringify({ own, candidate }));
  }
});

t.test("§5.4.2, figure 8: an older term's entry is not committed by counting", async (t) => {
  const cluster = new CoreCluster({ ...three, logs: { a: [2], b: [2] } });
  t.equal(paperRules.mayCommit({ entryTerm: 2, term: 4 }), false);
  // Only the empty entry of the new term takes the old one with it.
  while (cluster.raft("a").role !== "leader") {
    cluster.tick("a");
    cluster.deliver(({ message }) => message.kind !== "append_request");
  }
  const { lastIndex } = cluster.raft("a");
  const { term } = cluster.raft("a");
  cluster.step("a", "b", { kind: "append_accepted", term, matchIndex: lastIndex - 1 });
  t.equal(cluster.raft("a").commitIndex, 1);
  cluster.step("a", "b", { kind: "append_accepted", term, matchIndex: lastIndex });
  t.equal(cluster.raft("a").commitIndex, lastIndex);
});

t.test("dissertation §9.6: a node that comes back with old ideas disturbs nobody", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  cluster.tick("c", 20 * timing.electionTicks);
  const { term } = cluster.raft("a");
  cluster.tick("a");
  cluster.deliver();
  t.equal(cluster.raft("a").role, "leader");
  t.equal(cluster.raft("a").term, term);
  t.equal(cluster.raft("c").leader, nodeId("a"));
});

t.test("dissertation §6.2: a leader without a majority steps down", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  cluster.tick("a", timing.electionTicks + 1);
  t.equal(cluster.raft("a").role, "follower");
  t.equal(cluster.raft("a").leader, undefined);
});

t.test(
  "dissertation §3.10: a transfer waits for the log, skips pre-vote and stops proposals",
  async (t) => {
    const cluster = new CoreCluster(three);
    cluster.elect("a");
    cluster.propose("a", "x");
    t.equal(cluster.raft("a").transferLeadership(nodeId("b")), true);
    cluster.drain("a");
    t.strictSame(cluster.propose("a", "y"), { kind: "dropped", reason: "transferring" });
    cluster.deliver();
    t.equal(cluster.raft("b").role, "leader");
    t.strictSame(cluster.texts("b"), ["x"]);
  },
);

t.test("dissertation §3.10: a transfer to a silent node is given up", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  cluster.propose("a", "x");
  cluster.raft("a").transferLeadership(nodeId("c"));
  cluster.drain("a");
  for (let ticks = 0; ticks < timing.electionTicks; ticks += 1) {
    cluster.tick("a");
    cluster.deliver(({ from, to }) => from !== "c" && to !== "c");
  }
  t.match(cluster.propose("a", "y"), { kind: "appended" });
});

t.test("dissertation §6.4: a read is answered after a majority confirmed this round", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  cluster.raft("a").readIndex();
  cluster.drain("a");
  t.strictSame(cluster.node("a").reads, []);
  const { term, commitIndex } = cluster.raft("a");
  cluster.step("a", "b", { kind: "heartbeat_response", term, readContext: 0 });
  t.strictSame(cluster.node("a").reads, [], "an answer to an earlier round confirms nothing");
  cluster.step("a", "b", { kind: "heartbeat_response", term, readContext: 1 });
  t.strictSame(cluster.node("a").reads, [commitIndex]);
});

t.test("dissertation §6.4: a new leader answers reads after its first commit", async (t) => {
  const cluster = new CoreCluster(three);
  while (cluster.raft("a").role !== "leader") {
    cluster.tick("a");
    cluster.deliver(({ message }) => message.kind !== "append_request");
  }
  cluster.raft("a").readIndex();
  cluster.drain("a");
  cluster.deliver(({ message }) => message.kind !== "append_request");
  t.strictSame(cluster.node("a").reads, []);
  cluster.tick("a");
  cluster.deliver();
  t.strictSame(cluster.node("a").reads, [cluster.raft("a").commitIndex]);
});

t.test("§7: who is behind the compacted log gets a snapshot and goes on after it", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  cluster.propose("a", "1", "2", "3");
  cluster.deliver(({ to }) => to !== "c");
  const { storage, raft } = cluster.node("a");
  const index = raft.appliedIndex;
  const term = raft.termAt(index) ?? 0;
  const configuration = raft.configurationAt(index);
  storage.saveSnapshotNow({ index, term, configuration }, Buffer.from("state"));
  storage.compactNow(index);
  cluster.tick("a");
  cluster.deliver();
  t.equal(cluster.raft("c").commitIndex, index);
  t.equal(cluster.node("c").storage.snapshotMeta()?.index, index);
  t.strictSame(cluster.raft("c").configuration, configuration);
  cluster.propose("a", "4");
  cluster.deliver();
  t.strictSame(cluster.texts("c"), ["4"]);
});

t.test("§6, dissertation §4.3: a joint change needs both halves and ends by itself", async (t) => {
  const cluster = new CoreCluster({ ...three, others: ["d", "e"] });
  cluster.elect("a");
  const voters = ["a", "d", "e"].map(nodeId);
  const result = cluster.raft("a").proposeConfiguration({ voters, learners: [nodeId("b")] });
  t.match(result, { kind: "appended" });
  cluster.drain("a");
  const joint = cluster.raft("a").configuration;
  t.strictSame(joint.votersOutgoing, ["a", "b", "c"].map(nodeId));
  t.strictSame(joint.learnersNext, [nodeId("b")], "a voter of the old half is no learner yet");
  const { commitIndex } = cluster.raft("a");
  cluster.deliver(({ from, to }) => !["d", "e"].includes(from) && !["d", "e"].includes(to));
  t.equal(cluster.raft("a").commitIndex, commitIndex, "the old half alone decides nothing");
  t.match(cluster.raft("a").proposeConfiguration({ voters, learners: [] }), { reason: "pending" });
  for (let ticks = 0; ticks < 3; ticks += 1) {
    cluster.tick("a");
    cluster.deliver();
  }
  for (const name of ["a", "b", "d", "e"]) {
    t.strictSame(cluster.raft(name).configuration.voters, voters, name);
    t.equal(cluster.raft(name).isConfigurationSettled, true, name);
  }
});

t.test(
  "dissertation §4.2.2: a removed leader hands over once its removal is committed",
  async (t) => {
    const cluster = new CoreCluster(three);
    cluster.elect("a");
    const voters = [nodeId("b")];
    cluster.raft("a").proposeConfiguration({ voters, learners: [] });
    cluster.drain("a");
    cluster.deliver();
    t.not(cluster.raft("a").role, "leader");
    t.equal(cluster.raft("b").role, "leader");
    cluster.tick("a", 50);
    t.equal(cluster.raft("a").role, "follower", "it does not campaign any more");
  },
);

t.test("a removed node still campaigns while its removal is not committed", async (t) => {
  // It may hold the only log that can win, with the entry that the rest lacks.
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  cluster.raft("a").proposeConfiguration({ voters: [nodeId("b")], learners: [] });
  cluster.drain("a");
  const removal = cluster.raft("a").lastIndex + 1;
  cluster.deliver(({ message }) => {
    const last = message.kind === "append_request" ? message.entries.at(-1)?.index : undefined;
    return (last ?? 0) < removal;
  });
  t.strictSame(cluster.raft("a").configuration.voters, [nodeId("b")]);
  t.equal(cluster.raft("b").isConfigurationSettled, false);
  cluster.restart("a");
  // The lease that "b" grants the old leader runs out; its own campaigns cannot succeed.
  cluster.tick("b", timing.electionTicks);
  cluster.tick("c", timing.electionTicks);
  for (let ticks = 0; ticks < 2 * timing.electionTicks; ticks += 1) {
    cluster.tick("a");
    cluster.deliver();
  }
  t.equal(cluster.raft("b").isConfigurationSettled, true);
  t.equal(cluster.raft("b").role, "leader", "after the first one handed over");
});

t.test("a promoted learner that does not know it yet votes (etcd #10998)", async (t) => {
  const cluster = new CoreCluster({ ...three, others: ["d"] });
  const lastEntry = { index: 5, term: 2 };
  cluster.step("d", "a", { kind: "vote_request", term: 3, lastEntry, isTransfer: false });
  t.match(cluster.take(), [{ to: "a", message: { isGranted: true } }]);
});

t.test("a slow write does not mark superseded entries as stored (etcd's ABA race)", async (t) => {
  const cluster = new CoreCluster(three);
  const node = cluster.node("b");
  node.holdsWrites = true;
  const entry = (index: number, term: number) => ({
    index,
    term,
    kind: "normal" as const,
    data: Buffer.from(`${term}`),
  });
  const previous = { index: 1, term: 1 };
  const append = { kind: "append_request" as const, previous, commitIndex: 1 };
  cluster.step("b", "a", { ...append, term: 2, entries: [entry(2, 2), entry(3, 2)] });
  cluster.step("b", "c", { ...append, term: 3, entries: [entry(2, 3)] });
  cluster.finishWrite("b");
  t.match(cluster.take(), [{ to: "a", message: { term: 2, matchIndex: 3 } }]);
  cluster.drain("b");
  t.equal(node.storage.term(3), 2, "the disk still has the old ones");
  cluster.finishWrite("b");
  t.match(cluster.take(), [{ to: "c", message: { term: 3, matchIndex: 2 } }]);
  t.equal(node.storage.lastIndex(), 2);
  t.equal(node.storage.term(2), 3);
});

t.test(
  "appends in flight are limited, and heartbeats tell commits all the same (etcd #14633)",
  async (t) => {
    const limits = { messageBytes: 1, inFlight: { messages: 3, bytes: 1_000_000 } };
    const cluster = new CoreCluster({ ...three, limits });
    cluster.elect("a");
    for (let number = 0; number < 20; number += 1) cluster.propose("a", `${number}`);
    const toB = cluster.waiting.filter(({ to }) => to === "b");
    t.equal(toB.length, 3);
    cluster.deliver();
    t.equal(cluster.texts("b").length, 20);
  },
);

t.test("proposals that cannot be committed are bounded", async (t) => {
  const cluster = new CoreCluster({ ...three, limits: { uncommittedBytes: 100 } });
  cluster.elect("a");
  t.match(cluster.propose("a", "x".repeat(500)), { kind: "appended" }, "one large one may pass");
  t.strictSame(cluster.propose("a", "y"), { kind: "dropped", reason: "overloaded" });
  cluster.deliver();
  t.match(cluster.propose("a", "y"), { kind: "appended" });
});
