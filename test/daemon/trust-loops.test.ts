import t from "tap";
import { startCertificateLoop } from "../../src/daemon/certificate-loop.ts";
import { startClusterKeyLoop } from "../../src/daemon/cluster-key-loop.ts";
import { Cell, CodedError, type NodeId, nodeId, silentLogger } from "../../src/kernel/index.ts";
import type { ClusterKey } from "../../src/network/io/cluster-key.ts";
import {
  type Credentials,
  createCluster,
  issue,
  validityOf,
} from "../../src/network/io/credentials.ts";
import type { RaftStatus } from "../../src/raft/index.ts";
import { VirtualClock } from "../agent/virtual-clock.ts";

const [n1, n2, n3] = [nodeId("n1"), nodeId("n2"), nodeId("n3")];
const key: ClusterKey = { clusterKeyPem: "a", caKeyPem: "b" };

function statusOf(voters: readonly NodeId[], learners: readonly NodeId[] = []): RaftStatus {
  return {
    ...{ leader: n2, term: 1, commitIndex: 1, appliedIndex: 1, voters },
    ...{ votersOutgoing: [], learners },
    ...{ hasQuorum: true, feeder: undefined, isSettled: true, slowWriteMs: 0 },
  };
}

function startKeyLoop(options: {
  readonly holds?: ClusterKey;
  readonly status: RaftStatus;
  readonly isKeyThere?: boolean;
}) {
  const clock = new VirtualClock();
  const status = new Cell(options.status);
  const clusterKey = new Cell(options.holds);
  const events: string[] = [];
  const others = { isKeyThere: options.isKeyThere ?? true, holders: [n2, n3] };
  const loop = startClusterKeyLoop({
    self: n1,
    status,
    clusterKey,
    desk: {
      fetchClusterKey: async () => {
        if (!others.isKeyThere) throw new CodedError("no_quorum", "Nobody has it.");
        return key;
      },
      holdersAmong: async (nodes) => others.holders.filter((node) => nodes.includes(node)),
    },
    save: () => events.push("saved"),
    drop: () => events.push("dropped"),
    clock,
    logger: silentLogger,
  });
  return { clock, status, clusterKey, events, others, loop };
}

t.test("a node that is about to vote gets the cluster key, and keeps it on disk", async (t) => {
  const { clock, status, clusterKey, events, others, loop } = startKeyLoop({
    status: statusOf([n2]),
  });
  await clock.advance(20_000);
  t.strictSame(events, [], "a follower asks for nothing");
  others.isKeyThere = false;
  status.set(statusOf([n2], [n1]));
  await clock.advance(5_000);
  t.strictSame(events, []);
  others.isKeyThere = true;
  await clock.advance(10_000);
  t.strictSame(events, ["saved"]);
  t.equal(clusterKey.get(), key);
  await loop[Symbol.asyncDispose]();
});

t.test("a voter that gets no key says so", async (t) => {
  const { clock, others, loop } = startKeyLoop({
    status: statusOf([n1, n2, n3]),
    isKeyThere: false,
  });
  t.strictSame(loop.warnings(), []);
  await clock.advance(5_000);
  t.strictSame(loop.warnings(), [], "not in the first seconds");
  // In this time one that has just started to vote would have it.
  await clock.advance(60_000);
  t.match(loop.warnings(), [/gives it the cluster key/]);
  others.isKeyThere = true;
  await clock.advance(10_000);
  t.strictSame(loop.warnings(), []);
  await loop[Symbol.asyncDispose]();
});

t.test("a node that votes no more gives the key up once most voters hold it", async (t) => {
  const { clock, status, clusterKey, events, others, loop } = startKeyLoop({
    holds: key,
    status: statusOf([n1, n2, n3]),
  });
  others.holders = [];
  status.set(statusOf([n2, n3, nodeId("n4")]));
  await clock.advance(120_000);
  t.strictSame(events, [], "nobody else holds it yet");
  others.holders = [n2];
  await clock.advance(20_000);
  t.strictSame(events, [], "one of three is too few");
  others.holders = [n2, n3];
  await clock.advance(20_000);
  t.strictSame(events, ["dropped"]);
  t.equal(clusterKey.get(), undefined);
  await loop[Symbol.asyncDispose]();
});

t.test("a vote that comes back in time keeps the key", async (t) => {
  const { clock, status, events, loop } = startKeyLoop({ holds: key, status: statusOf([n1, n2]) });
  for (let round = 0; round < 5; round += 1) {
    status.set(statusOf([n2]));
    await clock.advance(20_000);
    status.set(statusOf([n1, n2]));
    await clock.advance(20_000);
  }
  t.strictSame(events, []);
  await loop[Symbol.asyncDispose]();
});

const hourMs = 3_600_000;
const lifetimeMs = 90 * hourMs;

async function startCertificates() {
  const clock = new VirtualClock(Date.UTC(2026, 0, 1));
  const cluster = await createCluster({
    clusterId: "c1",
    self: n1,
    nowMs: clock.now(),
    lifetimeMs,
  });
  const credentials = new Cell<Credentials>(cluster);
  const voters = { answer: true, asked: 0, underWay: Promise.resolve<unknown>(undefined) };
  const saved: Credentials[] = [];
  const inProxy: Credentials[] = [];
  const proxy = { isThere: true };
  const loop = startCertificateLoop({
    credentials,
    desk: {
      renew: async (publicKeyPem) => {
        voters.asked += 1;
        if (!voters.answer) throw new CodedError("no_quorum", "No voter answers.");
        const nowMs = clock.now();
        const issued = issue(cluster, { nodeId: n1, publicKeyPem, nowMs, lifetimeMs });
        voters.underWay = issued;
        return await issued;
      },
    },
    save: (renewed) => saved.push(renewed),
    configureProxy: async (latest) => {
      if (!proxy.isThere) throw new Error("The proxy process is being started.");
      inProxy.push(latest);
    },
    clock,
    logger: silentLogger,
  });
  const hours = async (count: number) => {
    for (let hour = 0; hour < count; hour += 1) {
      await clock.advance(hourMs);
      // Signing takes real time.
      await voters.underWay;
      await clock.advance(0);
    }
  };
  return { clock, credentials, voters, saved, inProxy, proxy, loop, hours };
}

t.test("certificates are renewed when a third of their time is over, the key too", async (t) => {
  const { clock, credentials, voters, saved, inProxy, loop, hours } = await startCertificates();
  const first = credentials.get();
  await hours(29);
  t.equal(voters.asked, 0);
  await hours(2);
  t.equal(voters.asked, 1, "once");
  t.equal(saved.length, 1);
  t.strictSame(inProxy, saved);
  t.equal(credentials.get(), saved[0]);
  t.not(credentials.get().tlsKeyPem, first.tlsKeyPem);
  t.not(credentials.get().membership, first.membership);
  t.ok(validityOf(credentials.get()).untilMs - clock.now() > 88 * hourMs);
  t.strictSame(loop.warnings(), []);
  await loop[Symbol.asyncDispose]();
});

t.test("without a voter it is tried again, and a person is told in time", async (t) => {
  const { credentials, voters, loop, hours } = await startCertificates();
  voters.answer = false;
  await hours(40);
  t.ok(voters.asked > 5, `asked ${voters.asked} times`);
  t.strictSame(loop.warnings(), [], "there is time");
  await hours(25);
  t.match(loop.warnings(), [/end at .* have not been renewed.*No voter answers/]);
  await hours(30);
  t.match(loop.warnings(), [/ended at/]);
  voters.answer = true;
  await hours(1);
  t.strictSame(loop.warnings(), [], "also when it comes too late");
  t.ok(validityOf(credentials.get()));
  await loop[Symbol.asyncDispose]();
});

t.test("a proxy that was away gets the new certificates later", async (t) => {
  const { credentials, voters, saved, inProxy, proxy, loop, hours } = await startCertificates();
  proxy.isThere = false;
  await hours(31);
  t.equal(saved.length, 1);
  t.equal(inProxy.length, 0);
  proxy.isThere = true;
  await hours(1);
  t.strictSame(inProxy, [credentials.get()]);
  t.equal(voters.asked, 1, "without another renewal");
  await loop[Symbol.asyncDispose]();
});
