import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import type { Message } from "../../src/raft/index.ts";
import { maxLogNumber } from "../../src/raft/log-storage.ts";
import { decodeFrame, encodeFrame, encodeMessage } from "../../src/raft/message-codec.ts";
import { CoreCluster } from "./core-cluster.ts";

const three = { voters: ["a", "b", "c"] };
const furthest = 2 ** 32;
const lastEntry = { index: 2 ** 30, term: 2 ** 30 };

/** Everything that can make a node enter a later term. */
function messagesOf(term: number): readonly Message[] {
  return [
    { kind: "pre_vote_request", term, lastEntry },
    { kind: "pre_vote_response", term, isGranted: false },
    { kind: "vote_request", term, lastEntry, isTransfer: true },
    { kind: "vote_response", term, isGranted: true },
    {
      kind: "append_request",
      term,
      previous: { index: 0, term: 0 },
      entries: [],
      commitIndex: 0,
    },
    { kind: "append_accepted", term, matchIndex: 0 },
    { kind: "append_rejected", term, rejectedIndex: 1, hint: { index: 0, term: 0 } },
    { kind: "heartbeat", term, commitIndex: 0, readContext: 0 },
    { kind: "heartbeat_response", term, readContext: 0 },
    {
      kind: "snapshot_request",
      term,
      meta: {
        index: 99,
        term,
        configuration: { voters: [], votersOutgoing: [], learners: [], learnersNext: [] },
      },
      data: new Uint8Array(),
    },
    { kind: "timeout_now", term },
  ];
}

t.test("no message of an impossible term stops the log, whatever it is", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  const { term } = cluster.raft("a");
  for (const name of ["a", "b"]) {
    for (const above of [furthest + 1, 2 ** 40, maxLogNumber - term, 2 ** 53 - 1 - term]) {
      for (const message of messagesOf(term + above)) cluster.step(name, "c", message);
    }
    t.equal(cluster.raft(name).term, term, name);
  }
  cluster.raft("a").propose([Buffer.from("on it goes")]);
  cluster.drain("a");
  cluster.deliver();
  t.equal(cluster.raft("a").role, "leader");
  t.equal(Buffer.from(cluster.node("b").applied.at(-1)?.data ?? []).toString(), "on it goes");
});

t.test("a node that was away for very long still learns the present term", async (t) => {
  const cluster = new CoreCluster(three);
  cluster.elect("a");
  const term = cluster.raft("b").term + furthest;
  cluster.step("b", "c", { kind: "heartbeat", term, commitIndex: 0, readContext: 0 });
  t.equal(cluster.raft("b").term, term);
  t.equal(cluster.raft("b").leader, "c");
});

t.test("a node without a history takes any term that the log can write", async (t) => {
  const cluster = new CoreCluster({ voters: ["a"], others: ["new"] });
  const heartbeat = { kind: "heartbeat", commitIndex: 0, readContext: 0 } as const;
  cluster.step("new", "a", { ...heartbeat, term: maxLogNumber + 1 });
  t.equal(cluster.raft("new").term, 0);
  cluster.step("new", "a", { ...heartbeat, term: 2 ** 47 });
  t.equal(cluster.raft("new").term, 2 ** 47);
});

t.test("a feeder's impossible term is not taken over, nor what comes with it", async (t) => {
  const cluster = new CoreCluster({ voters: ["a"], others: ["follower"] });
  const raft = cluster.raft("follower");
  const none = { index: 0, term: 0 };
  const batch = { leader: undefined, previous: none, entries: [], commitIndex: 0 };
  t.equal(raft.takeCommitted({ ...batch, term: 3 }), "taken");
  t.equal(raft.takeCommitted({ ...batch, term: 4 + furthest }), "refused");
  const meta = { index: 5, term: 3, configuration: cluster.raft("a").configuration };
  const data = new Uint8Array();
  t.equal(raft.takeSnapshot({ term: 4 + furthest, meta, data }), "refused");
  t.equal(raft.term, 3);
  t.equal(raft.takeSnapshot({ term: 4, meta, data }), "taken");
});

t.test("at the last term that the log can write nobody stands for election", async (t) => {
  const cluster = new CoreCluster({ ...three, logs: { a: [maxLogNumber] } });
  cluster.tick("a", 100);
  t.equal(cluster.raft("a").role, "follower");
  t.equal(cluster.raft("a").term, maxLogNumber);
  t.throws(
    () => cluster.raft("a").recover({ learners: [nodeId("b")], data: new Uint8Array() }),
    /restore a backup/,
    "and a recovery says what is left to do",
  );
});

t.test(
  "terms and indexes that the log has no room for are refused when they are read",
  async (t) => {
    const sent = (message: Parameters<typeof encodeMessage>[0]) =>
      decodeFrame(encodeFrame([encodeMessage(message)]));
    t.equal(sent({ kind: "timeout_now", term: maxLogNumber }).length, 1);
    for (const message of [
      { kind: "timeout_now", term: maxLogNumber + 1 },
      { kind: "append_accepted", term: 1, matchIndex: maxLogNumber + 1 },
      { kind: "heartbeat", term: 1, commitIndex: maxLogNumber + 1, readContext: 0 },
      { kind: "read_answer", round: "r", index: maxLogNumber + 1 },
    ] as const) {
      t.throws(() => sent(message), { code: "malformed_message" }, message.kind);
    }
  },
);
