import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Message } from "@chainsafe/libp2p-gossipsub";
import { peerIdFromString } from "@libp2p/peer-id";
import t from "tap";
import { freePorts } from "../../scripts/bench/processes.ts";
import { DemoNode } from "../../scripts/demo/cluster.ts";
import type { CreatedToken, NodeDetail, NodeView } from "../../src/api/index.ts";
import { encodeReport } from "../../src/cluster/index.ts";
import { type Gossip, gossipTimings, startGossip } from "../../src/gossip/index.ts";
import { decodeSync, encode } from "../../src/gossip/message.ts";
import { signedBytes } from "../../src/gossip/record-table.ts";
import { Cell, type NodeId, nodeId, silentLogger } from "../../src/kernel/index.ts";
import { systemClock, systemRandom } from "../../src/kernel/io/system.ts";
import { loadOrCreateIdentity } from "../../src/network/io/identity.ts";
import { joinCluster } from "../../src/network/io/join.ts";
import { type Libp2pNetwork, startLibp2pNetwork } from "../../src/network/io/libp2p-network.ts";
import { nodeSigner } from "../../src/network/io/node-signer.ts";
import { shortDirectory } from "./directory.ts";

/** A member with a certificate that lies about another member, to a real daemon. */

const stateTopic = "skein/state/1";
const syncProtocol = "/skein/sync/1";
/** So long gossip knows a message again. */
const seenMs = 120_000;

type Member = {
  readonly id: NodeId;
  readonly network: Libp2pNetwork;
  readonly signer: ReturnType<typeof nodeSigner>;
  readonly members: Cell<ReadonlySet<NodeId>>;
};

/** Only its capacity says which report it is. */
function report(of: NodeId, cpuMillis: number): Uint8Array {
  return encodeReport({
    nodeId: of,
    skeinVersion: "0.1.0",
    runtime: "process",
    runtimeVersion: "1",
    platform: { os: "linux", arch: "x64" },
    capacity: { cpuMillis, memoryBytes: 2 ** 30 },
    httpPort: 0,
    routesIndex: 0,
    appliedIndex: 0,
    tasks: [],
  });
}

t.test("a member that lies about another", { timeout: 390_000 }, async (t) => {
  const directory = shortDirectory(t);
  const daemon = new DemoNode({
    ...{ name: "n1", address: "127.0.95.1", directory, runtime: "process" },
    flags: ["--timing=lan"],
  });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => {
    await daemon.remove();
  });
  await daemon.start(undefined);
  const { token } = await daemon.json<CreatedToken>("token", "create", "--uses", "3");
  const listed = async () => (await daemon.get<NodeView[]>("/v1/nodes")) ?? [];
  const daemonId = nodeId((await listed())[0]?.id ?? "");
  const capacityOf = async (node: NodeId) =>
    (await daemon.get<NodeDetail>(`/v1/nodes/${node}`))?.cpu.capacityMillis;
  const until = async (what: string, test: () => Promise<boolean>) => {
    const from = performance.now();
    while (!(await test())) {
      if (performance.now() - from > 30_000) throw new Error(`after 30 s not: ${what}`);
      await sleep(100);
    }
  };

  const seed = `${daemon.address}:7946`;
  const ports = await freePorts(3);
  const enter = async (name: string, place: number): Promise<Member> => {
    const identity = await loadOrCreateIdentity(mkdtempSync(join(directory, name)));
    const port = ports[place] ?? 0;
    const advertise = `127.0.0.1:${port}`;
    const signal = AbortSignal.timeout(30_000);
    const wanted = { seeds: [seed], token, name, advertise, port, labels: {}, signal };
    const { credentials } = await joinCluster({ identity, ...wanted });
    const members = new Cell<ReadonlySet<NodeId>>(new Set([identity.nodeId, daemonId]));
    const network = await startLibp2pNetwork({
      ...{ identity, credentials, members, clock: systemClock, random: systemRandom },
      listen: { host: "127.0.0.1", port },
      addressOf: (node) => (node === daemonId ? seed : undefined),
      logger: silentLogger,
    });
    cleanup.use(network);
    return { id: identity.nodeId, network, signer: nodeSigner(identity), members };
  };
  const victim = await enter("victim", 0);
  const liar = await enter("liar", 1);
  const witness = await enter("witness", 2);
  const everybody = new Set([daemonId, victim.id, liar.id, witness.id]);
  const heard: Message[] = [];
  for (const member of [victim, liar, witness]) {
    member.members.set(everybody);
    if (member !== victim) member.network.subscribe(stateTopic, () => undefined);
  }
  liar.network.host.services.pubsub.addEventListener("message", ({ detail }) => {
    if (detail.type === "signed" && detail.from.toString() === victim.id) heard.push(detail);
  });
  const gossip: Gossip = await startGossip({
    ...{ network: victim.network, signer: victim.signer, admitted: victim.members },
    incarnation: { load: () => 0, save: () => undefined },
    ...{ clock: systemClock, random: systemRandom, logger: silentLogger },
    timing: gossipTimings.lan,
  });
  cleanup.use(gossip);
  const signal = AbortSignal.timeout(300_000);
  const isLinked = async () =>
    [victim, liar, witness].every(({ network }) => network.connected.get().has(daemonId));
  await until("all are connected with the daemon", isLinked);

  gossip.publish(report(victim.id, 1_111));
  await until("the first record", async () => (await capacityOf(victim.id)) === 1_111);
  await until("the liar has heard it", async () => heard.length > 0);
  const recordedAtMs = performance.now();
  gossip.publish(report(victim.id, 2_222));
  await until("the second record", async () => (await capacityOf(victim.id)) === 2_222);

  const exchange = async (member: Member, records: readonly unknown[]) =>
    decodeSync(
      await member.network.request(
        daemonId,
        syncProtocol,
        encode({ claims: [], digest: [], records } as unknown as Parameters<typeof encode>[0]),
        { signal },
      ),
    );
  const own = (member: Member, epoch: number, cpuMillis: number) => {
    const record = { owner: member.id, epoch, version: 1, body: report(member.id, cpuMillis) };
    return { ...record, signature: member.signer.sign(signedBytes(record)) };
  };
  const forged = { owner: victim.id, epoch: 50, version: 1, body: report(victim.id, 6_666) };
  const byLiar = liar.signer.sign(signedBytes(forged));

  await t.test("nobody takes in what it forges, whichever way it comes", async (t) => {
    const held = (await exchange(liar, [])).records.find(({ owner }) => owner === victim.id);
    if (held === undefined) throw new Error("the daemon holds the victim's record");
    for (const record of [
      { ...forged, signature: byLiar },
      { ...forged, signature: held.signature },
      { ...forged, signature: new Uint8Array(64) },
      { ...forged, signature: new Uint8Array() },
      forged,
      { ...held, epoch: 50 },
      { ...held, version: held.version + 1 },
      { ...held, body: report(victim.id, 6_666), version: held.version + 1 },
    ]) {
      await exchange(liar, [record]).catch(() => undefined);
      const body = encode({ kind: "record", record: { signature: byLiar, ...record } });
      await liar.network.publish(stateTopic, body);
      // What it says of itself is taken in, after all that came before it.
      const mark = 3_000 + heard.length + Math.floor(performance.now() % 1_000_000);
      await exchange(liar, [own(liar, Date.now(), mark)]);
      await until("its own record", async () => (await capacityOf(liar.id)) === mark);
      t.equal(await capacityOf(victim.id), 2_222);
    }
    const after = (await exchange(liar, [])).records.find(({ owner }) => owner === victim.id);
    t.strictSame(after, held, "nor is it handed on to others");
  });

  await t.test("nor what the victim said two minutes ago, said again", async (t) => {
    const [first] = heard;
    if (first?.type !== "signed") throw new Error("the liar has kept the victim's message");
    const seen = new Promise<void>((resolve) => {
      witness.network.host.services.pubsub.addEventListener("message", ({ detail }) => {
        if (Buffer.from(detail.data).equals(first.data)) resolve();
      });
    });
    await sleep(Math.max(0, recordedAtMs + seenMs + 5_000 - performance.now()));
    const { pubsub } = liar.network.host.services;
    if (!("sendRpc" in pubsub) || typeof pubsub.sendRpc !== "function") throw new Error("no way");
    const seqno = Buffer.alloc(8);
    seqno.writeBigUInt64BE(first.sequenceNumber);
    const { topic, data, signature } = first;
    const from = peerIdFromString(victim.id).toMultihash().bytes;
    const messages = [{ from, topic, data, seqno, signature }];
    pubsub.sendRpc(daemonId, { subscriptions: [], messages });
    const isLate = sleep(10_000, "late", { signal }).catch(() => "late");
    t.equal(await Promise.race([seen, isLate]), undefined, "the daemon hands it on once more");
    await sleep(500);
    t.equal(await capacityOf(victim.id), 2_222, "and holds what is newer");
  });

  await t.test("the victim goes on, and is alive", async (t) => {
    gossip.publish(report(victim.id, 4_444));
    await until("the third record", async () => (await capacityOf(victim.id)) === 4_444);
    const { status } = (await listed()).find(({ id }) => id === victim.id) ?? {};
    t.equal(status, "ready");
  });
});
