import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  Cell,
  CodedError,
  type NodeId,
  seededRandom,
  silentLogger,
  whenCell,
} from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { encodeToken, NetworkError } from "../../src/network/index.ts";
import {
  dropClusterKey,
  loadClusterKey,
  saveClusterKey,
} from "../../src/network/io/cluster-key.ts";
import {
  type Credentials,
  caFingerprint,
  createCluster,
  loadCredentials,
  saveCredentials,
} from "../../src/network/io/credentials.ts";
import { type Identity, loadOrCreateIdentity } from "../../src/network/io/identity.ts";
import { joinCluster } from "../../src/network/io/join.ts";
import { type Libp2pNetwork, startLibp2pNetwork } from "../../src/network/io/libp2p-network.ts";
import { openDesk } from "./real-nodes.ts";

const { signal } = new AbortController();

/** What all nodes of a test know: the agreed members and their addresses. */
class Cluster {
  readonly members = new Cell<ReadonlySet<NodeId>>(new Set());
  readonly addresses = new Map<NodeId, string>();
  readonly secrets = new Map([["ab12", "secret-secret-secret"]]);
  credentials: Credentials | undefined;

  async start(t: Test, identity: Identity, credentials: Credentials): Promise<Libp2pNetwork> {
    const network = await startLibp2pNetwork({
      identity,
      credentials,
      listen: { host: "127.0.0.1", port: 0 },
      addressOf: (node) => this.addresses.get(node),
      members: this.members,
      clock: systemClock,
      random: seededRandom(1),
      logger: silentLogger,
    });
    t.teardown(() => network[Symbol.asyncDispose]());
    const address = `127.0.0.1:${network.listenPort}`;
    this.admit(identity.nodeId, address);
    openDesk(network, {
      identity,
      holds: credentials,
      admit: async ({ nodeId, tokenId, secret, address }) => {
        if (this.secrets.get(tokenId) !== secret) {
          throw new CodedError("token_invalid", "The join token's secret is wrong.");
        }
        this.admit(nodeId, address);
        return [...this.addresses].map(([nodeId, address]) => ({ nodeId, address }));
      },
    });
    return network;
  }

  admit(node: NodeId, address: string): void {
    this.addresses.set(node, address);
    this.members.set(new Set([...this.members.get(), node]));
  }

  token(overrides: Partial<Parameters<typeof encodeToken>[0]> = {}): string {
    const { clusterId = "", clusterPublicKey = "", caPem = "" } = this.credentials ?? {};
    return encodeToken({
      clusterId,
      role: "node",
      tokenId: "ab12",
      secret: "secret-secret-secret",
      clusterPublicKey,
      caFingerprint: caFingerprint(caPem),
      expiresAtMs: 4e12,
      ...overrides,
    });
  }
}

async function newIdentity(t: Test): Promise<Identity> {
  const directory = mkdtempSync(join(tmpdir(), "skein-net-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return await loadOrCreateIdentity(directory);
}

async function firstNode(t: Test) {
  const cluster = new Cluster();
  const identity = await newIdentity(t);
  const credentials = await createCluster({
    clusterId: "c1",
    self: identity.nodeId,
    nowMs: Date.now(),
  });
  cluster.credentials = credentials;
  const network = await cluster.start(t, identity, credentials);
  const seed = `127.0.0.1:${network.listenPort}`;
  return { cluster, network, seed };
}

async function join_(t: Test, cluster: Cluster, seeds: string[], token: string) {
  const identity = await newIdentity(t);
  const { credentials } = await joinCluster({
    identity,
    seeds,
    token,
    name: "n2",
    advertise: undefined,
    port: 1,
    labels: {},
    signal,
  });
  return await cluster.start(t, identity, credentials);
}

t.test("a machine joins with a token, then both talk in every way", async (t) => {
  const { cluster, network: first, seed } = await firstNode(t);
  const second = await join_(t, cluster, [seed], cluster.token());
  await whenCell(first.connected, (peers) => peers.has(second.self), { signal });
  await whenCell(second.connected, (peers) => peers.has(first.self), { signal });

  first.handle("/test/1", async (from, body) => {
    if (body.length === 0) throw new CodedError("not_found", "nothing here");
    return Buffer.concat([Buffer.from(`${from === second.self} `), body]);
  });
  const reply = await second.request(first.self, "/test/1", Buffer.from("hi"), { signal });
  t.equal(Buffer.from(reply).toString(), "true hi");
  await t.rejects(second.request(first.self, "/test/1", new Uint8Array(), { signal }), {
    code: "refused",
    remoteCode: "not_found",
  });
  await t.rejects(second.request(first.self, "/test/1", new Uint8Array(2 ** 20 + 1), { signal }), {
    code: "too_large",
  });

  second.handleStream("/echo/1", async (_, stream) => {
    for await (const frame of stream.frames()) await stream.send(frame, { signal });
    await stream.close();
  });
  const stream = await first.openStream(second.self, "/echo/1", { signal });
  const frames = stream.frames()[Symbol.asyncIterator]();
  for (const size of [1, 70_000, 3_000_000]) {
    await stream.send(new Uint8Array(size), { signal });
    t.equal((await frames.next()).value?.length, size);
  }
  await stream.close();
  t.equal((await frames.next()).done, true);

  const heard = Promise.withResolvers<string>();
  first.subscribe("news", (from, body) => heard.resolve(`${from === second.self} ${body.length}`));
  second.subscribe("news", () => undefined);
  const again = setInterval(() => {
    second.publish("news", new Uint8Array(5)).catch(heard.reject);
  }, 100);
  t.equal(await heard.promise, "true 5");
  clearInterval(again);
  await t.rejects(second.publish("news", new Uint8Array(20_000)), { code: "too_large" });
});

t.test("a peer that went away is unreachable, and linked again when it is back", async (t) => {
  const { cluster, network: first, seed } = await firstNode(t);
  const identity = await newIdentity(t);
  const { credentials } = await joinCluster({
    identity,
    seeds: [seed],
    token: cluster.token(),
    name: "n2",
    advertise: undefined,
    port: 1,
    labels: {},
    signal,
  });
  const second = await cluster.start(t, identity, credentials);
  const { nodeId: self } = identity;
  await whenCell(first.connected, (peers) => peers.has(self), { signal });
  await second[Symbol.asyncDispose]();
  await whenCell(first.connected, (peers) => !peers.has(self), { signal });
  await t.rejects(first.request(self, "/test/1", new Uint8Array(1), { signal }), {
    code: "unreachable",
  });
  await cluster.start(t, identity, credentials);
  await whenCell(first.connected, (peers) => peers.has(self), { signal });
});

t.test("who may not join is told why", async (t) => {
  const { cluster, seed } = await firstNode(t);
  const other = await firstNode(t);
  const good = cluster.token();
  const cases: readonly [
    name: string,
    seeds: string[],
    token: string,
    want: Record<string, unknown>,
  ][] = [
    ["no token", [seed], "", { code: "bad_token" }],
    ["a cut token", [seed], good.slice(0, -9), { code: "bad_token" }],
    [
      "a wrong secret",
      [seed],
      cluster.token({ secret: "wrong-wrong-wrong" }),
      { code: "bad_token", message: /secret is wrong/ },
    ],
    ["a client's token", [seed], cluster.token({ role: "admin" }), { code: "bad_token" }],
    ["another cluster's seed", [other.seed], good, { code: "not_admitted" }],
    ["nobody there", ["127.0.0.1:1"], good, { code: "unreachable", message: /127\.0\.0\.1:1/ }],
  ];
  for (const [name, seeds, token, want] of cases) {
    const refusal = await join_(t, cluster, seeds, token).catch((error: unknown) => error);
    t.match(refusal, want, name);
  }
  t.equal(cluster.members.get().size, 1, "nobody was admitted");
});

t.test("a stranger reaches nothing but the join", async (t) => {
  const { cluster, network, seed } = await firstNode(t);
  network.handle("/secret/1", async () => new Uint8Array([1]));
  const stranger = await newIdentity(t);
  const forged = await createCluster({ clusterId: "c1", self: stranger.nodeId, nowMs: Date.now() });
  const own = new Cluster();
  own.admit(network.self, seed);
  const outside = await own.start(t, stranger, forged);
  await t.rejects(
    outside.request(network.self, "/secret/1", new Uint8Array(), { signal }),
    NetworkError,
  );
  t.equal(cluster.members.get().has(stranger.nodeId), false);
  t.equal(network.connected.get().has(stranger.nodeId), false);
});

t.test("secrets are written for their owner only", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "skein-net-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const { nodeId } = await loadOrCreateIdentity(directory);
  t.equal((await loadOrCreateIdentity(directory)).nodeId, nodeId);
  t.equal(loadCredentials(directory), undefined);
  saveCredentials(
    directory,
    await createCluster({ clusterId: "c1", self: nodeId, nowMs: Date.now() }),
  );
  t.equal(loadCredentials(directory)?.clusterId, "c1");
  t.notMatch(readFileSync(join(directory, "credentials.json"), "utf8"), /clusterKeyPem/);
  t.equal(loadClusterKey(directory), undefined);
  saveClusterKey(directory, { clusterKeyPem: "a", caKeyPem: "b" });
  t.same(loadClusterKey(directory), { clusterKeyPem: "a", caKeyPem: "b" });
  for (const file of ["identity.key", "credentials.json", "cluster-key.json"]) {
    t.equal(statSync(join(directory, file)).mode & 0o777, 0o600);
  }
  dropClusterKey(directory);
  t.equal(loadClusterKey(directory), undefined);
});
