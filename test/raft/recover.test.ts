import t from "tap";
import {
  bytesOf,
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
