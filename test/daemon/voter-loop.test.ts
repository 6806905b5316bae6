import t, { type Test } from "tap";
import { emptyClusterState, type Member, noObservations } from "../../src/cluster/index.ts";
import { startVoterLoop } from "../../src/daemon/voter-loop.ts";
import { Cell, type Clock, type NodeId, nodeId, silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { clusterNode } from "../builders.ts";
import { MemoryNetwork, soon, startNode, type TestNode, whenStatus } from "../raft/runners.ts";

/** The loop's minute passes in half a second; everything else keeps its pace. */
const hurried: Clock = {
  ...systemClock,
  now: () => systemClock.now(),
  monotonic: () => 120 * systemClock.monotonic(),
};

/** Real nodes of one log, each with its own voter loop, and gossip as the test wants it. */
async function startWorld(t: Test, names: readonly string[], down: readonly string[] = []) {
  const network = new MemoryNetwork();
  const all = names.map(nodeId);
  for (const name of down) network.down.add(nodeId(name));
  const state = new Cell({
    ...emptyClusterState,
    maxVoters: 3,
    nodes: new Map(all.map((id) => [id, clusterNode(id)])),
  });
  const statuses = (of: (id: NodeId) => Member["status"], sinceMs: number) => ({
    ...noObservations,
    members: new Map(all.map((id) => [id, { status: of(id), sinceMs }])),
  });
  const observations = new Cell(statuses(() => "alive", Date.now()));
  const nodes: TestNode[] = [];
  const keyless = new Set<NodeId>();
  for (const [position, name] of names.entries()) {
    const node = await startNode(network, name, {
      bootstrap: position === 0,
      feeders: () => all,
    });
    nodes.push(node);
    t.teardown(() => node.runner[Symbol.asyncDispose]());
  }
  const seen = new Set<NodeId>();
  for (const node of nodes) {
    const { status } = node.runner;
    status.subscribe(() => {
      for (const learner of status.get().learners) seen.add(learner);
    });
    const loop = startVoterLoop({
      self: node.id,
      raft: node.runner,
      state,
      observations,
      mayVote: async (nodes) => !nodes.some((each) => keyless.has(each)),
      clock: hurried,
      logger: silentLogger,
    });
    t.teardown(() => loop[Symbol.asyncDispose]());
  }
  const node = (name: string) => {
    const found = nodes.find(({ id }) => id === name);
    if (found === undefined) throw new Error(`there is a node ${name}`);
    return found;
  };
  return { network, node, state, observations, statuses, learnersSeen: seen, keyless };
}

const isSettledAs =
  (voters: string) =>
  ({ voters: present, learners, isSettled }: ReturnType<TestNode["runner"]["status"]["get"]>) =>
    isSettled && present.join("") === voters && learners.length === 0;

t.test("a learner votes only once it holds what voters have to hold", async (t) => {
  const { node, keyless, learnersSeen } = await startWorld(t, ["a", "b", "c"]);
  keyless.add(nodeId("c"));
  await whenStatus(node("a"), ({ learners }) => learners.length === 2);
  // Long enough for the promotion, had it been allowed.
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.strictSame(node("a").runner.status.get().voters, [nodeId("a")]);
  keyless.clear();
  await whenStatus(node("a"), isSettledAs("abc"));
  t.ok(learnersSeen.has(nodeId("c")));
});

t.test("three of five nodes become voters, the others stay followers", async (t) => {
  const { node } = await startWorld(t, ["a", "b", "c", "d", "e"]);
  await whenStatus(node("a"), isSettledAs("abc"));
  for (const name of ["d", "e"]) {
    await whenStatus(
      node(name),
      ({ feeder, voters }) => feeder !== undefined && voters.length === 3,
    );
    await node(name).runner.propose(Buffer.from(name), soon());
  }
});

t.test("more vote as soon as the cluster agrees on more, and fewer again", async (t) => {
  const { node, state } = await startWorld(t, ["a", "b", "c", "d", "e"]);
  await whenStatus(node("a"), isSettledAs("abc"));
  state.set({ ...state.get(), maxVoters: 5 });
  await whenStatus(node("a"), isSettledAs("abcde"));
  state.set({ ...state.get(), maxVoters: 1 });
  await whenStatus(node("e"), ({ voters, isSettled }) => isSettled && voters.length === 1);
});

t.test("two nodes have one voter, and the other is not even a learner", async (t) => {
  const { node } = await startWorld(t, ["a", "b"]);
  await whenStatus(node("b"), ({ feeder }) => feeder !== undefined);
  await node("b").runner.barrier(soon());
  t.match(node("a").runner.status.get(), { voters: ["a"], learners: { length: 0 } });
});

t.test("a learner that never catches up is dropped, and another takes the seat", async (t) => {
  // Gossip takes b for alive, but the log does not reach it.
  const { node, learnersSeen } = await startWorld(t, ["a", "b", "c", "d"], ["b"]);
  await whenStatus(node("a"), isSettledAs("acd"));
  t.ok(learnersSeen.has(nodeId("b")), "it was tried");
});

t.test("a voter that failed is replaced, and follows when it returns", async (t) => {
  const { network, node, observations, statuses } = await startWorld(t, ["a", "b", "c", "d"]);
  await whenStatus(node("a"), isSettledAs("abc"));
  const lost = node("a").runner.status.get().leader === "c" ? node("b") : node("c");
  network.down.add(lost.id);
  const isLost = (id: NodeId) => (id === lost.id ? "failed" : "alive");
  observations.set(statuses(isLost, Date.now()));
  await whenStatus(lost, ({ hasQuorum }) => !hasQuorum);
  t.ok(node("a").runner.status.get().voters.includes(lost.id), "it keeps its seat for a while");
  observations.set(statuses(isLost, Date.now() - 61_000));
  const voters = ["a", "b", "c", "d"].filter((name) => name !== lost.id).join("");
  await whenStatus(node("a"), isSettledAs(voters));
  network.down.delete(lost.id);
  observations.set(statuses(() => "alive", Date.now()));
  await whenStatus(
    lost,
    ({ feeder, voters: known }) => feeder !== undefined && !known.includes(lost.id),
  );
  t.ok(isSettledAs(voters)(node("a").runner.status.get()), "and nobody gives it a seat back");
});
