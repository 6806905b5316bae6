import t from "tap";
import { nodeId, seededRandom } from "../../src/kernel/index.ts";
import { type Entry, MemoryLogStorage, type RaftRunnerOptions } from "../../src/raft/index.ts";
import { Raft } from "../../src/raft/raft.ts";
import {
  bytesOf,
  fastTiming,
  leaderAmong,
  MemoryNetwork,
  soon,
  startCluster,
  startNode,
  type TestNode,
  whenStatus,
} from "./runners.ts";

const dispose = async (nodes: readonly TestNode[]) => {
  for (const { runner } of nodes) await runner[Symbol.asyncDispose]();
};

t.test("the survivors of a lost quorum go on, with all that the chosen one held", async (t) => {
  const network = new MemoryNetwork();
  const nodes = await startCluster(network, ["a", "b", "c", "d", "e"]);
  const leader = leaderAmong(nodes);
  for (let number = 0; number < 10; number += 1) {
    await leader.runner.propose(bytesOf(`before ${number}`), soon());
  }
  const others = nodes.filter((node) => node !== leader);
  const [survivor, second] = others;
  if (survivor === undefined || second === undefined) throw new Error("there are five nodes");
  await t.rejects(
    survivor.runner.recover({ learners: [], data: bytesOf("x") }, soon()),
    { code: "has_quorum" },
    "not while a leader works",
  );

  const lost = nodes.filter((node) => node !== survivor && node !== second);
  for (const { id } of lost) network.down.add(id);
  await whenStatus(survivor, ({ leader: known }) => known === undefined);
  const positions = await survivor.runner.positions(
    nodes.map(({ id }) => id).filter((id) => id !== survivor.id),
    soon(),
  );
  t.strictSame([...positions.keys()], [second.id], "the lost ones do not answer");

  await survivor.runner.recover({ learners: [second.id], data: bytesOf("recovered") }, soon());
  await survivor.runner.propose(bytesOf("after"), soon());
  const { texts } = survivor.machine;
  t.strictSame(
    texts.slice(0, 10),
    Array.from({ length: 10 }, (_, number) => `before ${number}`),
  );
  t.strictSame(texts.slice(10), ["recovered", "after"]);
  t.match(survivor.runner.status.get(), { voters: [survivor.id], learners: [second.id] });
  await second.runner.barrier(soon());
  t.strictSame(second.machine.texts, texts, "the other survivor has it too");
  await dispose(nodes);

  const again = await startNode(network, survivor.id, { memory: survivor.storage });
  await again.runner.barrier(soon());
  t.strictSame(again.machine.texts, texts, "and it is there after a restart");
  await dispose([again]);
});

t.test("survivors that recover at the same time do not mix their histories", async (t) => {
  const network = new MemoryNetwork();
  const ended = Promise.withResolvers<unknown>();
  const stop: Pick<RaftRunnerOptions, "onFatal"> = { onFatal: ended.resolve };
  const nodes = await startCluster(network, ["a", "b", "c", "d", "e"], stop);
  const [one, two, ...lost] = nodes.filter((node) => node !== leaderAmong(nodes));
  if (one === undefined || two === undefined) throw new Error("there are five nodes");
  for (const { id } of [leaderAmong(nodes), ...lost]) network.down.add(id);
  const pair = [one, two];
  for (const node of pair) await whenStatus(node, ({ leader }) => leader === undefined);
  await Promise.all(
    pair.map(({ id, runner }) => {
      const learners = pair.map((other) => other.id).filter((other) => other !== id);
      return runner.recover({ learners, data: bytesOf(`recovered by ${id}`) }, soon());
    }),
  );
  const winner = one.runner.status.get().term > two.runner.status.get().term ? one : two;
  const loser = winner === one ? two : one;
  t.not(one.runner.status.get().term, two.runner.status.get().term, "terms tell them apart");
  await winner.runner.propose(bytesOf("after"), soon());
  t.match(winner.runner.status.get(), { leader: winner.id, voters: [winner.id] });
  t.match(`${await ended.promise}`, /another history of the cluster.* join anew/);
  await t.rejects(loser.runner.propose(bytesOf("x"), soon()), { code: "stopped" });
  await dispose(nodes);
});

t.test("what was agreed is never taken for equal to another leader's entry", (t) => {
  const data = bytesOf("x");
  const entry = (index: number, term: number): Entry => ({ index, term, kind: "normal", data });
  const own = async () => {
    const storage = new MemoryLogStorage();
    const hardState = { term: 2, vote: undefined, commitIndex: 3 };
    await storage.save({ hardState, entries: [entry(1, 1), entry(2, 2), entry(3, 2)] });
    const random = seededRandom(1);
    return new Raft({ self: nodeId("a"), storage, random, timing: fastTiming, appliedIndex: 0 });
  };
  const append = { kind: "append_request", term: 9, commitIndex: 0 } as const;
  const cases = [
    { name: "the one before", previous: { index: 2, term: 1 }, entries: [] },
    { name: "one of the new", previous: { index: 1, term: 1 }, entries: [entry(2, 9)] },
  ];
  return Promise.all(
    cases.map(async ({ name, ...each }) => {
      const raft = await own();
      t.throws(() => raft.step(nodeId("b"), { ...append, ...each }), /another history/, name);
    }),
  );
});
