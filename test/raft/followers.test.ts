import t, { type Test } from "tap";
import { Cell, nodeId } from "../../src/kernel/index.ts";
import type { RaftRunnerOptions } from "../../src/raft/index.ts";
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

/** Voters and followers of one cluster, all of which know of each other. */
async function startWorld(
  t: Test,
  {
    voters,
    followers,
    options = {},
  }: {
    readonly voters: readonly string[];
    readonly followers: readonly string[];
    readonly options?: Partial<RaftRunnerOptions>;
  },
) {
  const network = new MemoryNetwork();
  const all = [...voters, ...followers].map(nodeId);
  const overrides = { ...options, feeders: () => all };
  const members = await startCluster(network, voters, overrides);
  const others: TestNode[] = [];
  for (const name of followers) others.push(await startNode(network, name, overrides));
  t.teardown(() =>
    Promise.all([...members, ...others].map(({ runner }) => runner[Symbol.asyncDispose]())),
  );
  return { network, members, others, all: [...members, ...others], overrides };
}

async function proposeMany(node: TestNode, texts: readonly string[]): Promise<void> {
  await Promise.all(texts.map((text) => node.runner.propose(bytesOf(text), soon())));
}

function numbered(prefix: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, number) => `${prefix}${number}`);
}

/** At first a node knows no voters, and is fed by anybody; the leader has enough to do. */
async function whenFedByVoters(followers: readonly TestNode[], leader: TestNode): Promise<void> {
  for (const node of followers) {
    await whenStatus(
      node,
      ({ feeder, voters }) =>
        feeder !== undefined && feeder !== leader.id && voters.includes(feeder),
    );
  }
}

/** Until everybody has applied what the first one has. */
async function whenEqual(nodes: readonly TestNode[]): Promise<void> {
  const index = Math.max(...nodes.map(({ runner }) => runner.status.get().commitIndex));
  for (const node of nodes) await whenStatus(node, ({ appliedIndex }) => appliedIndex >= index);
}

function first(nodes: readonly TestNode[]): TestNode {
  const [node] = nodes;
  if (node === undefined) throw new Error("there is a node");
  return node;
}

t.test("followers get every entry once and in order, and are in no configuration", async (t) => {
  const { members, others, all } = await startWorld(t, {
    voters: ["a", "b", "c"],
    followers: ["f", "g"],
  });
  const leader = leaderAmong(members);
  await proposeMany(leader, numbered("e", 200));
  await whenEqual(all);
  const { texts } = first(members).machine;
  t.equal(new Set(texts).size, 200);
  for (const { machine, runner } of others) {
    t.strictSame(machine.texts, texts);
    const { voters, learners } = runner.status.get();
    t.strictSame([voters, learners], [["a", "b", "c"], []]);
  }
  await whenFedByVoters(others, leader);
});

t.test("a follower proposes and reads through the leader it is told of", async (t) => {
  const { members, others } = await startWorld(t, { voters: ["a", "b", "c"], followers: ["f"] });
  const follower = first(others);
  const index = await follower.runner.propose(bytesOf("from f"), soon());
  t.strictSame(follower.machine.texts, ["from f"], "applied when the proposal resolves");
  await first(members).runner.propose(bytesOf("from a"), soon());
  t.ok((await follower.runner.barrier(soon())) > index);
  t.strictSame(follower.machine.texts, ["from f", "from a"], "a barrier covers what was before");
});

t.test(
  "a feeder that dies is left for another; nothing is lost, nothing comes twice",
  async (t) => {
    const { network, members, others, all } = await startWorld(t, {
      voters: ["a", "b", "c"],
      followers: ["f", "g", "h"],
    });
    const leader = leaderAmong(members);
    await proposeMany(leader, numbered("before", 20));
    await whenEqual(all);
    await whenFedByVoters(others, leader);
    const { feeder } = first(others).runner.status.get();
    if (feeder === undefined) throw new Error("a follower has a feeder");
    const writing = proposeMany(leader, numbered("during", 20));
    network.down.add(feeder);
    await writing;
    await proposeMany(leader, numbered("after", 20));
    const rest = all.filter(({ id }) => id !== feeder);
    await whenEqual(rest);
    t.equal(leader.machine.texts.length, 60);
    for (const { machine } of rest) t.strictSame(machine.texts, leader.machine.texts);
    for (const { runner } of others) t.not(runner.status.get().feeder, feeder);
    network.down.delete(feeder);
    await whenEqual(all);
    for (const { machine } of all) t.strictSame(machine.texts, leader.machine.texts);
  },
);

t.test(
  "a follower whose entries are compacted gets a snapshot, and goes on from there",
  async (t) => {
    const options = { snapshots: { everyEntries: 20, everyBytes: 1e9, retainedEntries: 2 } };
    const { network, members, overrides } = await startWorld(t, {
      voters: ["a"],
      followers: [],
      options,
    });
    const voter = first(members);
    for (const text of numbered("e", 50)) await voter.runner.propose(bytesOf(text), soon());
    t.ok(voter.storage.firstIndex() > 10, "the log was compacted");
    const late = await startNode(network, "f", { ...overrides, feeders: () => [voter.id] });
    t.teardown(() => late.runner[Symbol.asyncDispose]());
    await whenEqual([voter, late]);
    t.equal(late.machine.restores, 1);
    await voter.runner.propose(bytesOf("live"), soon());
    await whenEqual([voter, late]);
    t.strictSame(late.machine.texts, voter.machine.texts);
    t.equal(late.machine.restores, 1, "the rest came as entries");
  },
);

t.test("a full feeder names others: followers feed followers", async (t) => {
  const names = numbered("f", 9);
  const { members, others, all } = await startWorld(t, {
    voters: ["a"],
    followers: names,
    options: { feedLimits: { member: 2, relay: 2 } },
  });
  for (const node of others) await whenStatus(node, ({ feeder }) => feeder !== undefined);
  const children = new Map<string, number>();
  for (const { runner } of others) {
    const feeder = runner.status.get().feeder ?? "nobody";
    children.set(feeder, (children.get(feeder) ?? 0) + 1);
  }
  for (const [feeder, count] of children) t.ok(count <= 2, `${feeder} feeds ${count}`);
  t.ok(children.size >= 5, "nine need five feeders");
  await proposeMany(first(others), numbered("e", 30));
  await whenEqual(all);
  for (const { machine } of others) t.strictSame(machine.texts, first(members).machine.texts);
});

t.test("who knew only a relay at first moves to a voter that has room", async (t) => {
  const { network, members, others, overrides } = await startWorld(t, {
    voters: ["a", "b", "c"],
    followers: ["f"],
  });
  const relay = first(others);
  await whenStatus(relay, ({ feeder }) => feeder !== undefined);
  const late = await startNode(network, "g", { ...overrides, feeders: () => [relay.id] });
  t.teardown(() => late.runner[Symbol.asyncDispose]());
  await whenStatus(late, ({ feeder }) => feeder === relay.id);
  await whenFedByVoters([late], leaderAmong(members));
  t.not(late.runner.status.get().feeder, relay.id);
});

t.test("a relay that dies is replaced, and its children lose nothing", async (t) => {
  const { network, members, others, all } = await startWorld(t, {
    voters: ["a"],
    followers: numbered("f", 6),
    options: { feedLimits: { member: 2, relay: 2 } },
  });
  for (const node of others) await whenStatus(node, ({ feeder }) => feeder !== undefined);
  const relay = others.find(({ id }) =>
    others.some(({ runner }) => runner.status.get().feeder === id),
  );
  if (relay === undefined) throw new Error("somebody relays");
  const voter = first(members);
  await proposeMany(voter, numbered("e", 10));
  network.down.add(relay.id);
  await proposeMany(voter, numbered("g", 10));
  const rest = all.filter((node) => node !== relay);
  await whenEqual(rest);
  for (const { machine } of rest) t.strictSame(machine.texts, voter.machine.texts);
});

t.test("a follower becomes learner, voter, and follower again", async (t) => {
  const { members, others, all } = await startWorld(t, {
    voters: ["a", "b", "c"],
    followers: ["f"],
  });
  const leader = leaderAmong(members);
  const follower = first(others);
  await whenStatus(follower, ({ feeder }) => feeder !== undefined);
  const voters = members.map(({ id }) => id);
  await leader.runner.changeConfiguration({ voters, learners: [follower.id] }, soon());
  await whenStatus(follower, (status) => status.learners.includes(follower.id));
  await whenStatus(follower, ({ feeder }) => feeder === undefined);
  await leader.runner.propose(bytesOf("to a learner"), soon());
  const dropped = voters.find((id) => id !== leader.id);
  const next = [...voters.filter((id) => id !== dropped), follower.id];
  await leader.runner.changeConfiguration({ voters: next, learners: [] }, soon());
  await whenStatus(follower, (status) => status.isSettled && status.voters.includes(follower.id));
  const former = members.find(({ id }) => id === dropped);
  if (former === undefined) throw new Error("one voter was dropped");
  await whenStatus(former, ({ feeder }) => feeder !== undefined);
  await former.runner.propose(bytesOf("by a former voter"), soon());
  await leader.runner.changeConfiguration({ voters, learners: [] }, soon());
  await whenStatus(follower, ({ feeder }) => feeder !== undefined);
  await follower.runner.propose(bytesOf("by a former voter"), soon());
  await whenEqual(all);
  for (const { machine } of all) t.strictSame(machine.texts, leader.machine.texts);
  t.equal(leader.machine.texts.length, 3);
});

t.test("a voter that lost its seat while it was away finds out, and follows", async (t) => {
  const { network, members, others, all } = await startWorld(t, {
    voters: ["a", "b", "c"],
    followers: ["f"],
  });
  const leader = leaderAmong(members);
  const gone = first(members.filter((node) => node !== leader));
  network.down.add(gone.id);
  const kept = members.filter((node) => node !== gone).map(({ id }) => id);
  const { id } = first(others);
  await leader.runner.changeConfiguration({ voters: kept, learners: [id] }, soon());
  await leader.runner.changeConfiguration({ voters: [...kept, id], learners: [] }, soon());
  await leader.runner.propose(bytesOf("meanwhile"), soon());
  await whenStatus(gone, ({ hasQuorum }) => !hasQuorum);
  t.ok(gone.runner.status.get().voters.includes(gone.id), "it takes itself for a voter");
  const { term } = leader.runner.status.get();
  network.down.delete(gone.id);
  await whenStatus(gone, ({ voters, feeder }) => !voters.includes(gone.id) && feeder !== undefined);
  await whenEqual(all);
  t.strictSame(gone.machine.texts, ["meanwhile"]);
  t.equal(leader.runner.status.get().term, term, "and nobody was disturbed");
});

t.test("without a leader the hint is forgotten and proposals fail with no_quorum", async (t) => {
  const { network, members, others } = await startWorld(t, {
    voters: ["a", "b", "c"],
    // Two that might keep each other believing in a leader.
    followers: ["f", "g"],
  });
  for (const node of others) await whenStatus(node, ({ hasQuorum }) => hasQuorum);
  const [kept, ...lost] = members;
  if (kept === undefined) throw new Error("there are voters");
  for (const { id } of lost) network.down.add(id);
  const [f, g] = others;
  if (f === undefined || g === undefined) throw new Error("there are two followers");
  await t.rejects(f.runner.propose(bytesOf("lost?"), soon()), { code: "no_quorum" });
  for (const node of [f, g]) await whenStatus(node, ({ hasQuorum }) => !hasQuorum);
  await t.rejects(g.runner.barrier(soon()), { code: "no_quorum" });
  for (const { id } of lost) network.down.delete(id);
  for (const node of [f, g]) await whenStatus(node, ({ hasQuorum }) => hasQuorum);
  await g.runner.propose(bytesOf("works again"), soon());
  t.strictSame(g.machine.texts.at(-1), "works again");
});

t.test("a feeder that others have left behind is left", async (t) => {
  const knownHead = new Cell(0);
  const { network, members, all, overrides } = await startWorld(t, {
    voters: ["a"],
    followers: ["f"],
    // So that the relay is the only one with room.
    options: { feedLimits: { member: 1, relay: 2 } },
  });
  await first(members).runner.propose(bytesOf("one"), soon());
  await whenEqual(all);
  const relay = first(all.slice(1));
  const voter = first(members);
  const follower = await startNode(network, "g", {
    ...overrides,
    knownHead,
    // Nobody else is known at first, so it is chosen.
    feeders: () => [relay.id],
  });
  t.teardown(() => follower.runner[Symbol.asyncDispose]());
  await whenStatus(follower, ({ feeder }) => feeder !== undefined);
  t.equal(follower.runner.status.get().feeder, relay.id);
  // To the follower, a feeder that is behind and a head that is far ahead look alike.
  knownHead.set(follower.runner.status.get().commitIndex + 5);
  await whenStatus(follower, ({ feeder }) => feeder !== relay.id);
  await proposeMany(voter, numbered("more", 5));
  await whenEqual([voter, follower]);
  t.strictSame(follower.machine.texts, voter.machine.texts);
});

t.test("a restarted follower goes on where its disk ends", async (t) => {
  const { network, members, others, overrides } = await startWorld(t, {
    voters: ["a"],
    followers: ["f"],
  });
  const voter = first(members);
  await proposeMany(voter, numbered("e", 10));
  await whenEqual([voter, first(others)]);
  await first(others).runner[Symbol.asyncDispose]();
  await proposeMany(voter, numbered("g", 10));
  const again = await startNode(network, "f", { ...overrides, memory: first(others).storage });
  t.teardown(() => again.runner[Symbol.asyncDispose]());
  await whenEqual([voter, again]);
  t.strictSame(again.machine.texts, voter.machine.texts);
});
