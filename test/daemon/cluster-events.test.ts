import { mkdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { ClusterState, MemberStatus, Observations } from "../../src/cluster/index.ts";
import { ClusterEvents, type EventsFound } from "../../src/daemon/cluster-events.ts";
import { agreedEvents, type EventSelection } from "../../src/events/index.ts";
import { type EventJournal, openEventJournal } from "../../src/events/io/event-journal.ts";
import { Cell, type NodeId, nodeId, silentLogger } from "../../src/kernel/index.ts";
import { systemClock as clock } from "../../src/kernel/io/system.ts";
import { createMemoryNetwork } from "../../src/network/index.ts";
import { clusterNode, clusterOf } from "../builders.ts";

const everything: EventSelection = {
  sinceMs: 0,
  objects: [],
  reasons: [],
  types: [],
  limit: 1_000,
};

const seen = (name: string) =>
  ({ reason: "Unhealthy", object: { kind: "task", name }, message: "no" }) as const;

type Member = { readonly journal: EventJournal; readonly events: ClusterEvents };

/** Nodes n1, n2, … with real journals, connected in memory. */
async function cluster(t: Test, names: readonly string[]) {
  const hub = createMemoryNetwork();
  const state = new Cell<ClusterState>(clusterOf(...names));
  const observations = new Cell<Observations>({ members: new Map(), reports: new Map() });
  const directory = t.testdir();
  const members = new Map<string, Member>();
  for (const name of names) {
    const place = join(directory, name);
    mkdirSync(place);
    const self = nodeId(name);
    const journal = await openEventJournal({
      directory: place,
      self,
      clock,
      logger: silentLogger,
    });
    t.teardown(() => journal[Symbol.asyncDispose]());
    const network = hub.join(self);
    const options = { self, network, journal, state, observations, clock, logger: silentLogger };
    members.set(name, { journal, events: new ClusterEvents(options) });
  }
  const statuses = new Map<string, MemberStatus>(names.map((name) => [name, "alive"]));
  /** What gossip would bring. */
  const gossip = () =>
    observations.set({
      members: new Map(
        [...statuses].map(([name, status]) => [nodeId(name), { status, sinceMs: 0 }]),
      ),
      reports: new Map(
        [...members].map(([name, { journal }]) => [
          nodeId(name),
          reportOf(nodeId(name), journal.head.get()),
        ]),
      ),
    });
  gossip();
  const at = (name: string): Member => {
    const member = members.get(name);
    if (member === undefined) throw new Error(name);
    return member;
  };
  /** One entry of the log, applied on all nodes but those. */
  const agree = (name: string, except: readonly string[] = []) => {
    const before = state.get();
    const nodes = new Map(before.nodes).set(nodeId(name), clusterNode(name));
    const after = { ...before, index: before.index + 1, nodes };
    const command = { kind: "set_max_voters", maxVoters: 3 } as const;
    const events = agreedEvents({ before, after, command }, { timeMs: clock.now() });
    for (const [each, { journal }] of members) {
      if (except.includes(each)) continue;
      journal.record(events);
    }
    state.set({ ...after, nodes: before.nodes });
    return after.index;
  };
  return { at, agree, gossip, statuses, directory };
}

function reportOf(node: NodeId, eventsHead: number) {
  return {
    nodeId: node,
    skeinVersion: "0.1.0",
    runtime: "memory",
    runtimeVersion: "",
    platform: { os: "linux", arch: "amd64" },
    capacity: { cpuMillis: 1, memoryBytes: 1 },
    httpPort: 80,
    routesIndex: 0,
    appliedIndex: 0,
    tasks: [],
    eventsHead,
  };
}

const lines = ({ events }: EventsFound) =>
  events.map(({ reason, object, by }) => `${reason} ${object.name} ${by}`);

t.test("any node tells the whole cluster's events, each once, in one order", async (t) => {
  const { at, agree } = await cluster(t, ["n1", "n2", "n3"]);
  const { signal } = new AbortController();
  agree("n9");
  at("n2").journal.observe([seen("web.1")], { index: 2 });
  at("n3").journal.observe([seen("web.2")], { index: 2 });
  const key = "NodeFailed/n8/1";
  for (const name of ["n1", "n2", "n3"]) {
    const object = { kind: "node", name: "n8" };
    at(name).journal.observe([{ reason: "NodeFailed", object, message: "", key }], { index: 2 });
  }
  const answers = await Promise.all(
    ["n1", "n2", "n3"].map((name) => at(name).events.list(everything, { signal })),
  );
  t.strictSame(answers[1], answers[0]);
  t.strictSame(answers[2], answers[0]);
  t.strictSame(answers[0]?.unreachable, []);
  t.strictSame(lines(answers[0] ?? { events: [], unreachable: [], isCut: false }).sort(), [
    "NodeFailed n8 n1",
    "NodeJoined n9 log",
    "Unhealthy web.1 n2",
    "Unhealthy web.2 n3",
  ]);
  const some = { ...everything, objects: ["web.2"] };
  t.strictSame(lines(await at("n1").events.list(some, { signal })), ["Unhealthy web.2 n3"]);
});

t.test("a node that cannot be asked is named, one that lacks entries gets them", async (t) => {
  const { at, agree, gossip, statuses } = await cluster(t, ["n1", "n2", "n3"]);
  const { signal } = new AbortController();
  const index = agree("n9", ["n1"]);
  t.strictSame(lines(await at("n1").events.list(everything, { signal })), []);
  at("n1").journal.leap(index);
  agree("n8");
  statuses.set("n3", "failed");
  gossip();
  const found = await at("n1").events.list(everything, { signal });
  t.strictSame(lines(found), ["NodeJoined n9 log", "NodeJoined n8 log"]);
  t.strictSame(found.unreachable, ["n3"]);
});

t.test("the newest are given when there are too many, and it is said", async (t) => {
  const { at } = await cluster(t, ["n1", "n2"]);
  const { signal } = new AbortController();
  const many = Array.from({ length: 700 }, (_, i) => seen(`web.${i}`));
  at("n2").journal.observe(many, { index: 1 });
  const found = await at("n1").events.list({ ...everything, limit: 300 }, { signal });
  t.strictSame([found.events.length, found.isCut], [300, true]);
  t.equal(found.events.at(-1)?.object.name, "web.699");
  const all = await at("n1").events.list(everything, { signal });
  t.strictSame([all.events.length, all.isCut], [700, false]);
});

t.test("following goes on with what happens anywhere, and over a node's absence", async (t) => {
  const { at, agree, gossip, statuses } = await cluster(t, ["n1", "n2"]);
  const ending = new AbortController();
  at("n2").journal.observe([seen("before")], { index: 1 });
  const stream = at("n1").events.follow(everything, { signal: ending.signal });
  const iterator = stream[Symbol.asyncIterator]();
  const next = async () => (await iterator.next()).value as EventsFound;
  t.strictSame(lines(await next()), ["Unhealthy before n2"]);
  at("n2").journal.observe([seen("web.1")], { index: 1 });
  gossip();
  t.strictSame(lines(await next()), ["Unhealthy web.1 n2"]);
  agree("n9");
  t.strictSame(lines(await next()), ["NodeJoined n9 log"]);
  statuses.set("n2", "failed");
  at("n2").journal.observe([seen("web.2")], { index: 1 });
  gossip();
  t.strictSame(await next(), { events: [], unreachable: ["n2"], isCut: false });
  statuses.set("n2", "alive");
  gossip();
  t.strictSame(lines(await next()), ["Unhealthy web.2 n2"]);
  const failed = { reason: "NodeFailed", object: { kind: "node", name: "n7" } } as const;
  const shared = { ...failed, message: "", key: "NodeFailed/n7/1" };
  at("n1").journal.observe([shared], { index: 1 });
  t.strictSame(lines(await next()), ["NodeFailed n7 n1"]);
  at("n2").journal.observe([shared, seen("web.3")], { index: 1 });
  gossip();
  t.strictSame(lines(await next()), ["Unhealthy web.3 n2"], "what n1 told is not told again");
  const index = agree("n8", ["n1"]);
  at("n1").journal.leap(index);
  t.strictSame(lines(await next()), ["NodeJoined n8 log"], "leapt over by a snapshot");
  ending.abort();
  t.equal((await iterator.next()).done, true);
});

t.test("a node speaks only for itself, and of the log only of what was asked", async (t) => {
  const { at, directory } = await cluster(t, ["n1", "n2"]);
  const { signal } = new AbortController();
  const other = await openEventJournal({
    directory: join(directory, "liar"),
    self: nodeId("n1"),
    clock,
    logger: silentLogger,
  });
  t.teardown(() => other[Symbol.asyncDispose]());
  // What another node claims to have seen is in its journal under that other's name.
  other.observe([seen("forged")], { index: 1 });
  at("n2").journal.record(other.after(0) ?? []);
  t.strictSame(lines(await at("n1").events.list(everything, { signal })), []);
});
