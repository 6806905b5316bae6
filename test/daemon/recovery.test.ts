import t from "tap";
import { type ClusterState, emptyClusterState } from "../../src/cluster/index.ts";
import { Recovery } from "../../src/daemon/recovery.ts";
import { Cell, type NodeId, nodeId } from "../../src/kernel/index.ts";
import type { EntryId, RaftStatus } from "../../src/raft/index.ts";
import { VirtualClock } from "../agent/virtual-clock.ts";

type Case = {
  readonly voters: string;
  readonly votersOutgoing?: string;
  readonly self: string;
  /** The index that each node's log reaches, where it answers. */
  readonly answers: Readonly<Record<string, number>>;
  readonly own?: number;
  readonly leader?: string;
};

const idsOf = (names: string): readonly NodeId[] => [...names].map(nodeId);

function recoveryOf({ voters, votersOutgoing = "", self, answers, own = 9, leader }: Case) {
  const status: RaftStatus = {
    ...{ leader: leader === undefined ? undefined : nodeId(leader), term: 3, commitIndex: 5 },
    ...{ appliedIndex: 5, voters: idsOf(voters), votersOutgoing: idsOf(votersOutgoing) },
    ...{ learners: [], hasQuorum: false, feeder: undefined, isSettled: true },
    slowWriteMs: undefined,
  };
  const nodes: ClusterState["nodes"] = new Map(
    idsOf("abcde").map((id) => [
      id,
      { id, name: `m-${id}`, address: "", labels: {}, eligibility: "active", admittedAtMs: 0 },
    ]),
  );
  const positions = new Map<NodeId, EntryId>(
    Object.entries(answers).map(([node, index]) => [nodeId(node), { index, term: 3 }]),
  );
  const recovered: (readonly NodeId[])[] = [];
  const recovery = new Recovery({
    self: nodeId(self),
    raft: {
      status: new Cell(status),
      position: () => ({ index: own, term: 3 }),
      positions: async () => positions,
      recover: async ({ learners }) => {
        recovered.push(learners);
        return 10;
      },
    },
    state: new Cell({ ...emptyClusterState, clusterId: "shop", nodes }),
    clock: new VirtualClock(),
  });
  const signal = AbortSignal.timeout(5_000);
  const refusal = async () => (await recovery.view({ signal })).refusal;
  return { recovery, recovered, refusal, signal };
}

t.test("a recovery is refused while a majority of the voters answers", async (t) => {
  const there: Case = { voters: "abc", self: "a", answers: { b: 9 } };
  t.match(await recoveryOf(there).refusal(), /^2 of 3 voters answer, so they elect a leader/);
  t.equal(await recoveryOf({ ...there, answers: { d: 9 } }).refusal(), null);
  t.match(await recoveryOf({ ...there, leader: "b" }).refusal(), /works: m-b leads/);
});

t.test("voters lost amid a change of voters are no reason to wait for ever", async (t) => {
  // c failed and d was to take its seat: now b is gone too, and of a, b, c only a is left.
  const change: Case = { voters: "abd", votersOutgoing: "abc", self: "a", answers: { d: 9 } };
  t.equal(await recoveryOf(change).refusal(), null, "the new voters alone cannot decide");
  const both = { ...change, answers: { b: 9, d: 9 } };
  t.match(await recoveryOf(both).refusal(), /voters answer, so they elect a leader/);
});

t.test("a recovery happens where most of the log is", async (t) => {
  const ahead: Case = { voters: "abcde", self: "a", answers: { b: 12 } };
  t.match(await recoveryOf(ahead).refusal(), /^m-b holds more of the log than this node/);
  const { recovery, recovered, signal } = recoveryOf({ ...ahead, own: 13 });
  const lost = ["c", "d", "e"];
  await t.rejects(recovery.recover(["c", "d"], { signal }), { code: "conflict" });
  t.strictSame(await recovery.recover(lost, { signal }), { index: 10 });
  t.strictSame(recovered, [["b"]], "who answers gets the log from it");
});
