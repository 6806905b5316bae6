import { mkdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  ClusterStore,
  type Command,
  encodeCommand,
  type LogStatus,
  type TaskStatus,
} from "../../src/cluster/index.ts";
import { EventRecorder } from "../../src/daemon/event-recorder.ts";
import type { MemberBelief } from "../../src/events/index.ts";
import { openEventJournal } from "../../src/events/io/event-journal.ts";
import { Cell, type NodeId, nodeId, silentLogger } from "../../src/kernel/index.ts";
import type { Explanations } from "../../src/scheduler/index.ts";
import { VirtualClock } from "../agent/virtual-clock.ts";
import { clusterNode, serviceSpec } from "../builders.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];
const { signal } = new AbortController();

const commands: readonly Command[] = [
  { kind: "bootstrap", clusterId: "c1", node: clusterNode("n1") },
  { kind: "put_services", specs: [serviceSpec()], nowMs: 2_000 },
  { kind: "set_eligibility", nodeId: n1, eligibility: "drain" },
];

const log = commands.map((command, i) => ({
  index: i + 1,
  // The first one is from before the time was noted.
  data: encodeCommand(command, i === 0 ? undefined : 1_000 * (i + 1)),
}));

/** One life of a daemon, as far as its history is concerned. */
async function live(t: Test, directory: string, clock = new VirtualClock()) {
  const journal = await openEventJournal({ directory, self: n1, clock, logger: silentLogger });
  t.teardown(() => journal[Symbol.asyncDispose]());
  const store = new ClusterStore();
  const name = "n1";
  const recorder = new EventRecorder({
    self: n1,
    name,
    version: "1",
    journal,
    state: store.state,
    clock,
  });
  store.tell(recorder);
  const kept = async () => {
    const events = await Array.fromAsync(journal.read(0, { signal }));
    return events.map(({ reason }) => reason);
  };
  return { store, journal, recorder, kept, clock };
}

const fromTheLog = [
  "ClusterCreated",
  "NodeJoined",
  "ServiceCreated",
  "NodeDraining",
  "NodeDrained",
];

t.test("going through the log again after a restart tells nothing twice", async (t) => {
  const directory = t.testdir();
  const first = await live(t, directory);
  for (const entry of log) first.store.apply(entry);
  t.strictSame(await first.kept(), fromTheLog);
  const times = (first.journal.after(0) ?? []).map(({ timeMs }) => timeMs);
  t.strictSame(times.slice(2), [2_000, 3_000, 3_000], "the proposer's times");
  const second = await live(t, directory);
  for (const entry of log) second.store.apply(entry);
  t.strictSame(await second.kept(), fromTheLog);
  t.strictSame(second.journal.gaps, []);
});

t.test(
  "after a snapshot of its own nothing is missing; of another's the gap is known",
  async (t) => {
    const directory = t.testdir({ own: {}, other: {} });
    const own = await live(t, join(directory, "own"));
    for (const entry of log.slice(0, 2)) own.store.apply(entry);
    // An entry that tells nothing, so that it is the snapshot alone that says how far one was.
    own.store.apply({ index: 3, data: encodeCommand(commands[1] as Command, 2_500) });
    const snapshot = own.store.snapshot();
    const later = log.slice(2).map(({ data }) => ({ index: 4, data }));
    const again = await live(t, join(directory, "own"));
    again.store.restore(snapshot, 3);
    for (const entry of later) again.store.apply(entry);
    t.strictSame(await again.kept(), fromTheLog);
    t.strictSame(again.journal.gaps, []);
    const other = await live(t, join(directory, "other"));
    other.store.restore(snapshot, 3);
    for (const entry of later) other.store.apply(entry);
    t.strictSame(await other.kept(), ["NodeDraining", "NodeDrained"]);
    t.match(other.journal.gaps, [{ from: 1, to: 3 }]);
  },
);

t.test(
  "what this node sees: its tasks, others, who leads, and a quorum that is long away",
  async (t) => {
    const directory = t.testdir();
    mkdirSync(directory, { recursive: true });
    const { recorder, kept, clock } = await live(t, directory);
    const status = { term: 1, commitIndex: 0, appliedIndex: 0, voters: [n1, n2], learners: [] };
    const statuses = new Cell<readonly TaskStatus[]>([]);
    const members = new Cell<ReadonlyMap<NodeId, MemberBelief>>(
      new Map([[n2, { status: "alive", incarnation: 1 }]]),
    );
    const log = new Cell<LogStatus>({ ...status, leader: n2, hasQuorum: true });
    const explanations = new Cell<Explanations>(new Map());
    const stop = recorder.watch({ statuses, members, log, explanations });
    t.strictSame(await kept(), ["DaemonStarted"], "who led before is not news");
    log.set({ ...status, leader: undefined, hasQuorum: false });
    await clock.advance(2_000);
    log.set({ ...status, term: 2, leader: n1, hasQuorum: true });
    await clock.advance(60_000);
    t.strictSame((await kept()).slice(1), ["LeaderChanged"], "a moment without quorum is none");
    log.set({ ...status, term: 2, leader: undefined, hasQuorum: false });
    await clock.advance(4_000);
    log.set({ ...status, term: 2, leader: n1, hasQuorum: true });
    await clock.advance(60_000);
    t.strictSame((await kept()).slice(2), ["QuorumLost", "QuorumRegained"]);
    stop();
    log.set({ ...status, term: 3, leader: n2, hasQuorum: true });
    t.equal((await kept()).length, 4, "nothing after the end");
  },
);

t.test("only voters tell of what all see, and those that hear of none", async (t) => {
  for (const { name, voters, hasQuorum, told } of [
    { name: "voter", voters: [n1], hasQuorum: true, told: 1 },
    { name: "follower", voters: [n2], hasQuorum: true, told: 0 },
    { name: "alone", voters: [n2], hasQuorum: false, told: 1 },
  ]) {
    const directory = join(t.testdir({ [name]: {} }), name);
    const { store, recorder, kept } = await live(t, directory);
    store.apply({ index: 1, data: encodeCommand(commands[0] as Command) });
    const token = { id: "t", role: "node", secretHash: "0".repeat(64), expiresAtMs: 9e9 } as const;
    store.apply({
      index: 2,
      data: encodeCommand({ kind: "put_token", token: { ...token, createdAtMs: 0 } }),
    });
    store.apply({
      index: 3,
      data: encodeCommand({ kind: "admit_node", node: clusterNode("n2"), tokenId: "t", nowMs: 1 }),
    });
    const status = { leader: n2, term: 1, commitIndex: 0, appliedIndex: 0, learners: [] };
    const members = new Cell<ReadonlyMap<NodeId, MemberBelief>>(
      new Map([[n2, { status: "alive", incarnation: 1 }]]),
    );
    const stop = recorder.watch({
      statuses: new Cell<readonly TaskStatus[]>([]),
      members,
      log: new Cell<LogStatus>({ ...status, voters, hasQuorum }),
      explanations: new Cell<Explanations>(new Map()),
    });
    members.set(new Map([[n2, { status: "failed", incarnation: 1 }]]));
    const failed = (await kept()).filter((reason) => reason === "NodeFailed");
    t.equal(failed.length, told, name);
    stop();
  }
});
