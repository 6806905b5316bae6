import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import type { RaftError } from "../../src/raft/index.ts";
import { MemoryLogStorage } from "../../src/raft/index.ts";
import { decodeLeaderRequest, encodeExchange, encodeProposal } from "../../src/raft/proposal.ts";
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

async function dispose(nodes: readonly TestNode[]): Promise<void> {
  await Promise.all(nodes.map(({ runner }) => runner[Symbol.asyncDispose]()));
}

function others(nodes: readonly TestNode[], one: TestNode): readonly TestNode[] {
  return nodes.filter((node) => node !== one);
}

t.test("a single bootstrapped node commits alone and keeps it over a restart", async (t) => {
  const network = new MemoryNetwork();
  const node = await startNode(network, "a", { bootstrap: true });
  const index = await node.runner.propose(bytesOf("one"), soon());
  t.ok(index > 1);
  await node.runner[Symbol.asyncDispose]();
  await t.rejects(node.runner.propose(bytesOf("late"), soon()), { code: "stopped" });

  const again = await startNode(network, "a", { memory: node.storage, bootstrap: true });
  await again.runner.barrier(soon());
  t.strictSame(again.machine.texts, ["one"]);
  await dispose([again]);
});

t.test("every node takes proposals, and all apply them in the same order", async (t) => {
  const nodes = await startCluster(new MemoryNetwork(), ["a", "b", "c"]);
  const wanted = 60;
  const indexes = await Promise.all(
    Array.from({ length: wanted }, (_, number) => {
      const node = nodes[number % nodes.length];
      return node?.runner.propose(bytesOf(`p${number}`), soon());
    }),
  );
  t.equal(new Set(indexes).size, wanted, "each has an index of its own");
  for (const { runner } of nodes) await runner.barrier(soon());
  const [first] = nodes;
  t.equal(first?.machine.texts.length, wanted);
  for (const { machine } of nodes) t.strictSame(machine.texts, first?.machine.texts);
  await dispose(nodes);
});

t.test("a forwarded proposal whose answer is lost is sent again and applied once", async (t) => {
  const network = new MemoryNetwork();
  const nodes = await startCluster(network, ["a", "b", "c"]);
  const follower = others(nodes, leaderAmong(nodes))[0];
  network.answersToLose = 1;
  await follower?.runner.propose(bytesOf("once"), soon());
  await follower?.runner.barrier(soon());
  t.equal(network.answersToLose, 0, "the answer was lost");
  t.strictSame(follower?.machine.texts, ["once"]);
  await dispose(nodes);
});

t.test(
  "a named proposal is applied once, also when it is made again after a restart",
  async (t) => {
    const nodes = await startCluster(new MemoryNetwork(), ["a", "b", "c"]);
    const [follower, other] = others(nodes, leaderAmong(nodes));
    const named = { ...soon(), id: "the-one" };
    const index = await follower?.runner.propose(bytesOf("once"), named);
    t.equal(await follower?.runner.propose(bytesOf("once"), named), index, "where it was applied");
    t.equal(await other?.runner.propose(bytesOf("once"), named), index, "whoever makes it");
    await follower?.runner.barrier(soon());
    t.strictSame(follower?.machine.texts, ["once"]);
    await dispose(nodes);
  },
);

t.test("proposals go on after the leader is lost, and it catches up when it is back", async (t) => {
  const network = new MemoryNetwork();
  const nodes = await startCluster(network, ["a", "b", "c"]);
  const old = leaderAmong(nodes);
  const rest = others(nodes, old);
  const [follower] = rest;
  if (follower === undefined) throw new Error("there are followers");
  network.down.add(old.id);
  await follower.runner.propose(bytesOf("after"), soon());
  t.not(follower.runner.status.get().leader, old.id);
  await whenStatus(old, ({ hasQuorum }) => !hasQuorum);
  network.down.delete(old.id);
  await old.runner.barrier(soon());
  t.strictSame(old.machine.texts, ["after"]);
  await dispose(nodes);
});

t.test("a leader whose connections break is replaced before its silence counts", async (t) => {
  const network = new MemoryNetwork();
  const electionTicks = 400;
  const timing = { tickMs: 5, heartbeatTicks: 2, electionTicks };
  const nodes = await startCluster(network, ["a", "b", "c"], { timing });
  const old = leaderAmong(nodes);
  const [follower] = others(nodes, old);
  const startMs = systemClock.monotonic();
  network.disconnect(old.id);
  await follower?.runner.propose(bytesOf("after"), soon());
  const tookMs = systemClock.monotonic() - startMs;
  t.ok(tookMs < electionTicks * timing.tickMs, "sooner than by an election timeout");
  await dispose(nodes);
});

t.test("writes that come near the election timeout show in the status", async (t) => {
  const memory = new SlowStorage();
  const timing = { tickMs: 5, heartbeatTicks: 2, electionTicks: 200 };
  const overrides = { memory, timing, bootstrap: true };
  const alone = await startNode(new MemoryNetwork(), "a", overrides);
  await alone.runner.propose(bytesOf("fast"), soon());
  t.equal(alone.runner.status.get().slowWriteMs, undefined);
  memory.delayMs = 400;
  await alone.runner.propose(bytesOf("slow"), soon());
  const { slowWriteMs = 0 } = await whenStatus(alone, (status) => status.slowWriteMs !== undefined);
  t.ok(slowWriteMs >= memory.delayMs - 1);
  await dispose([alone]);
});

class SlowStorage extends MemoryLogStorage {
  delayMs = 0;

  override async save(batch: Parameters<MemoryLogStorage["save"]>[0]): Promise<void> {
    if (this.delayMs > 0) await systemClock.sleep(this.delayMs, soon());
    await super.save(batch);
  }
}

t.test("a leader whose disk hangs hands over, and catches up when it works again", async (t) => {
  const nodes = await startCluster(new MemoryNetwork(), ["a", "b", "c"]);
  const old = leaderAmong(nodes);
  const follower = others(nodes, old)[0];
  const { promise: isMended, resolve: mend } = Promise.withResolvers<void>();
  const save = old.storage.save.bind(old.storage);
  old.storage.save = async (batch) => {
    await isMended;
    await save(batch);
  };
  await follower?.runner.propose(bytesOf("the others hold it"), soon());
  for (const node of others(nodes, old)) {
    await whenStatus(node, ({ leader }) => leader !== undefined && leader !== old.id);
  }
  await follower?.runner.propose(bytesOf("after"), soon());
  t.strictSame(old.machine.texts, []);
  mend();
  await old.runner.barrier(soon());
  t.strictSame(old.machine.texts, ["the others hold it", "after"]);
  await dispose(nodes);
});

t.test("without a majority a proposal fails with no_quorum, soon and then at once", async (t) => {
  const network = new MemoryNetwork();
  const nodes = await startCluster(network, ["a", "b", "c"]);
  const leader = leaderAmong(nodes);
  for (const { id } of others(nodes, leader)) network.down.add(id);
  const refusal = { code: "no_quorum", message: /gone for good.*: skein recover$/ };
  await t.rejects(leader.runner.propose(bytesOf("lost?"), soon()), refusal);
  await whenStatus(leader, ({ hasQuorum }) => !hasQuorum);
  await t.rejects(leader.runner.barrier(soon()), { code: "no_quorum" });
  await dispose(nodes);
});

t.test("a minority keeps what was agreed through a restart without a quorum", async (t) => {
  const network = new MemoryNetwork();
  const nodes = await startCluster(network, ["a", "b", "c"]);
  const [, , last] = nodes;
  if (last === undefined) throw new Error("there are three nodes");
  await last.runner.propose(bytesOf("agreed"), soon());
  const { commitIndex } = last.runner.status.get();
  // The commit index alone is written within a tick.
  while (last.storage.hardState().commitIndex < commitIndex) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await dispose(nodes);
  const alone = await startNode(network, "c", { memory: last.storage });
  t.strictSame(alone.machine.texts, ["agreed"], "applied when startRaft resolves");
  t.equal(alone.runner.status.get().hasQuorum, false);
  await dispose([alone]);
});

t.test("leadership moves to another voter on request", async (t) => {
  const nodes = await startCluster(new MemoryNetwork(), ["a", "b", "c"]);
  const old = leaderAmong(nodes);
  const next = await old.runner.transferLeadership(soon());
  t.ok(next !== undefined && next !== old.id);
  await old.runner.propose(bytesOf("by the old one, through the new one"), soon());
  const [follower] = others(nodes, old).filter(({ id }) => id !== next);
  if (follower === undefined) throw new Error("there is a third node");
  await t.rejects(follower.runner.transferLeadership(soon()), { code: "not_leader" });
  await dispose(nodes);
});

t.test(
  "members change through a joint configuration, the leader's own seat included",
  async (t) => {
    const network = new MemoryNetwork();
    const nodes = await startCluster(network, ["a", "b", "c"]);
    const [a, b, c] = nodes;
    if (a === undefined || b === undefined || c === undefined) throw new Error("three nodes");
    const d = await startNode(network, "d");
    const target = { voters: [b.id, c.id, d.id], learners: [a.id] };
    const leader = leaderAmong(nodes);
    await leader.runner.changeConfiguration(target, soon());
    const all = [a, b, c, d];
    for (const node of all) await whenStatus(node, (s) => s.isSettled && s.voters.includes(d.id));
    await whenStatus(a, (status) => status.hasQuorum && status.leader !== a.id);
    await a.runner.propose(bytesOf("by a learner"), soon());
    await d.runner.barrier(soon());
    t.strictSame(d.machine.texts, ["by a learner"]);
    const now = leaderAmong(all);
    t.strictSame(
      now.runner.progress()?.map(({ node }) => node),
      all.map(({ id }) => id),
    );
    await t.rejects(now.runner.changeConfiguration({ voters: [], learners: [] }, soon()), {
      code: "invalid_configuration",
    });
    await dispose(all);
  },
);

t.test("a new member far behind gets a snapshot, deduplication included", async (t) => {
  const network = new MemoryNetwork();
  const snapshots = { everyEntries: 20, everyBytes: 1e9, retainedEntries: 2 };
  const nodes = await startCluster(network, ["a"], { snapshots });
  const [a] = nodes;
  if (a === undefined) throw new Error("there is a node");
  for (let number = 0; number < 50; number += 1) {
    await a.runner.propose(bytesOf(`e${number}`), soon());
  }
  t.ok(a.storage.firstIndex() > 10, "the log was compacted");
  const b = await startNode(network, "b", { snapshots });
  await a.runner.changeConfiguration({ voters: [a.id], learners: [b.id] }, soon());
  await b.runner.barrier(soon());
  t.strictSame(b.machine.texts, a.machine.texts);
  t.equal(b.machine.restores, 1);
  await dispose([a, b]);
  const again = await startNode(network, "b", { memory: b.storage });
  t.strictSame(again.machine.texts, a.machine.texts, "snapshot and log give the same state");
  await dispose([again]);
});

t.test("a member that fetches more slowly than snapshots are made catches up", async (t) => {
  const network = new MemoryNetwork();
  const snapshots = { everyEntries: 2, everyBytes: 1e9, retainedEntries: 1 };
  const [a] = await startCluster(network, ["a"], { snapshots });
  if (a === undefined) throw new Error("there is a node");
  for (let number = 0; number < 4; number += 1) {
    await a.runner.propose(bytesOf("x".repeat(400_000)), soon());
  }
  const transport = network.transport(nodeId("b"));
  let chunks = 0;
  const b = await startNode(network, "b", {
    transport: {
      ...transport,
      request: async (to, body, options) => {
        if (decodeLeaderRequest(body).kind === "snapshot_chunk") {
          chunks += 1;
          const before = a.storage.snapshotMeta()?.index;
          for (let number = 0; a.storage.snapshotMeta()?.index === before; number += 1) {
            await a.runner.propose(bytesOf(`${chunks} ${number}`), soon());
          }
        }
        return await transport.request(to, body, options);
      },
    },
  });
  await a.runner.changeConfiguration({ voters: [a.id], learners: [b.id] }, soon());
  await b.runner.barrier(soon());
  const { texts } = b.machine;
  t.ok(texts.length > 4, `${texts.length} entries`);
  t.strictSame(texts, a.machine.texts.slice(0, texts.length));
  t.equal(b.machine.restores, 1, "the first snapshot was of use");
  t.ok(chunks > 2, `${chunks} chunks, and a newer snapshot before each`);
  await dispose([a, b]);
});

t.test("a voter whose answer to a snapshot was lost catches up all the same", async (t) => {
  const network = new MemoryNetwork();
  const snapshots = { everyEntries: 20, everyBytes: 1e9, retainedEntries: 2 };
  const nodes = await startCluster(network, ["a", "b", "c"], { snapshots });
  const leader = leaderAmong(nodes);
  const [behind] = others(nodes, leader);
  if (behind === undefined) throw new Error("there are three nodes");
  network.down.add(behind.id);
  for (let number = 0; number < 50; number += 1) {
    await leader.runner.propose(bytesOf(`e${number}`), soon());
  }
  let lost = 0;
  network.isLost = (from, { kind }) => {
    const isLost = from === behind.id && kind === "append_accepted" && lost === 0;
    if (isLost) lost += 1;
    return isLost;
  };
  network.down.delete(behind.id);
  await behind.runner.barrier(soon());
  t.equal(lost, 1);
  t.strictSame(behind.machine.texts, leader.machine.texts);
  t.equal(behind.machine.restores, 1);
  await dispose(nodes);
});

t.test("a failed write ends the runner and is never repeated", async (t) => {
  const storage = new MemoryLogStorage();
  const node = await startNode(new MemoryNetwork(), "a", { memory: storage, bootstrap: true });
  await node.runner.barrier(soon());
  await node.runner[Symbol.asyncDispose]();
  let saves = 0;
  storage.save = async () => {
    saves += 1;
    throw new Error("disk on fire");
  };
  const failed = Promise.withResolvers<unknown>();
  const broken = await startNode(new MemoryNetwork(), "a", {
    memory: storage,
    onFatal: failed.resolve,
  });
  const proposal = broken.runner.propose(bytesOf("x"), soon());
  await t.rejects(proposal, { code: "storage_failed" });
  t.match(await failed.promise, { message: "disk on fire" });
  t.equal(saves, 1);
  await dispose([broken]);
});

t.test("a proposal can be withdrawn and may not be too large", async (t) => {
  const node = await startNode(new MemoryNetwork(), "a");
  const controller = new AbortController();
  const waiting = node.runner.propose(bytesOf("x"), { signal: controller.signal });
  controller.abort(new Error("never mind"));
  await t.rejects(waiting, { message: "never mind" });
  const error = await node.runner
    .propose(new Uint8Array(2 ** 20), soon())
    .catch((thrown: RaftError) => thrown);
  t.match(error, { code: "too_large" });
  await dispose([node]);
});

t.test("a proposal's id out of bounds is refused at once, on every node", async (t) => {
  const nodes = await startCluster(new MemoryNetwork(), ["a", "b", "c"]);
  for (const { runner } of nodes) {
    for (const id of ["", "x".repeat(65), "é".repeat(33)]) {
      const refusal = { code: "too_large", message: /has 1 to 64 bytes/ };
      await t.rejects(runner.propose(bytesOf("named"), { ...soon(), id }), refusal);
    }
    await runner.propose(bytesOf("named"), { ...soon(), id: "é".repeat(32) });
  }
  t.strictSame(nodes[0]?.machine.texts, ["named"]);
  await dispose(nodes);
});

t.test("a snapshot that cannot be read is not kept, and ends nothing", async (t) => {
  const network = new MemoryNetwork();
  const nodes = await startCluster(network, ["a", "b", "c"]);
  const leader = leaderAmong(nodes);
  const follower = nodes.find((node) => node !== leader);
  if (follower === undefined) throw new Error("there are three nodes");
  const { term } = follower.runner.status.get();
  const voters = nodes.map(({ id }) => id);
  const configuration = { voters, votersOutgoing: [], learners: [], learnersNext: [] };
  const meta = { index: 1_000, term, configuration };
  network
    .transport(leader.id)
    .send(follower.id, [{ kind: "snapshot_offer", term, meta, bytes: 0 }]);
  await leader.runner.propose(bytesOf("after"), soon());
  await follower.runner.barrier(soon());
  t.strictSame(follower.machine.texts, ["after"]);
  t.equal(follower.storage.snapshotMeta(), undefined);
  for (const { runner } of nodes) await runner[Symbol.asyncDispose]();
});

t.test("an offered snapshot that is known already is acknowledged, not ignored", async (t) => {
  const network = new MemoryNetwork();
  const node = await startNode(network, "a", { bootstrap: true });
  await node.runner.propose(bytesOf("one"), soon());
  const { commitIndex, term, voters } = node.runner.status.get();
  const configuration = { voters, votersOutgoing: [], learners: [], learnersNext: [] };
  const meta = { index: commitIndex - 1, term, configuration };
  const leader = network.transport(nodeId("leader"));
  const accepted = Promise.withResolvers<number>();
  leader.onMessages((_, messages) => {
    const answer = messages.find(({ kind }) => kind === "append_accepted");
    if (answer?.kind === "append_accepted") accepted.resolve(answer.matchIndex);
  });
  leader.send(node.id, [{ kind: "snapshot_offer", term: term + 1, meta, bytes: 10 }]);
  t.ok((await accepted.promise) >= commitIndex, "the leader hears how far this node is");
  await dispose([node]);
});

t.test("a proposal that got into the log twice is applied once, as it came first", async (t) => {
  const network = new MemoryNetwork();
  const nodes = await startCluster(network, ["a", "b", "c"]);
  const leader = leaderAmong(nodes);
  const [follower] = others(nodes, leader);
  if (follower === undefined) throw new Error("there are three nodes");
  const proposals = ["one", "two"].map((text) => encodeProposal({ id: "x", data: bytesOf(text) }));
  const body = encodeExchange({ kind: "propose", proposals });
  await network.transport(follower.id).request(leader.id, body, soon());
  await leader.runner.propose(bytesOf("after"), soon());
  t.strictSame(leader.machine.texts, ["one", "after"]);
  await dispose(nodes);
});

t.test("a proposal that died with the leader that accepted it is sent to the next", async (t) => {
  const network = new MemoryNetwork();
  const plain = network.transport.bind(network);
  let whenAccepted = (): void => undefined;
  network.transport = (self) => {
    const transport = plain(self);
    const request: typeof transport.request = async (...request) => {
      const answer = await transport.request(...request);
      whenAccepted();
      return answer;
    };
    return { ...transport, request };
  };
  const nodes = await startCluster(network, ["a", "b", "c"]);
  const leader = leaderAmong(nodes);
  const [follower] = others(nodes, leader);
  if (follower === undefined) throw new Error("there are three nodes");
  whenAccepted = () => {
    // Before any of its messages about the entry arrives.
    network.down.add(leader.id);
    whenAccepted = () => undefined;
  };
  await follower.runner.propose(bytesOf("kept"), soon());
  t.not(leaderAmong(others(nodes, leader)), leader);
  t.strictSame(follower.machine.texts, ["kept"]);
  t.strictSame(leader.machine.texts, []);
  await dispose(nodes);
});
