import net from "node:net";
import tls from "node:tls";
import { pack, unpack } from "msgpackr";
import type { Test } from "tap";
import t from "tap";
import {
  Cell,
  CodedError,
  type NodeId,
  seededRandom,
  silentLogger,
  whenCell,
} from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { encodeToken, type PeerNetwork } from "../../src/network/index.ts";
import { decodeClusterKey, encodeClusterKey } from "../../src/network/io/cluster-key.ts";
import {
  type Credentials,
  caFingerprint,
  createCluster,
  newTlsKey,
  validityOf,
  verifyMembership,
} from "../../src/network/io/credentials.ts";
import { answer, ask } from "../../src/network/io/exchange.ts";
import { createHost } from "../../src/network/io/host.ts";
import type { Identity } from "../../src/network/io/identity.ts";
import { joinCluster } from "../../src/network/io/join.ts";
import type { Admission } from "../../src/network/io/join-messages.ts";
import { startLibp2pNetwork } from "../../src/network/io/libp2p-network.ts";
import { peerAddress } from "../../src/network/io/peer-address.ts";
import { seal } from "../../src/network/io/seal.ts";
import { namesNode } from "../../src/proxy/index.ts";
import { memberOf, newIdentity, openDesk } from "./real-nodes.ts";

const never = new AbortController().signal;
const soon = () => AbortSignal.timeout(20_000);
const secret = "the-secret-of-the-token";
const dayMs = 86_400_000;

/** One node with its own idea of who is a member. */
async function startNode(
  t: Test,
  { identity, credentials }: { readonly identity: Identity; readonly credentials: Credentials },
) {
  const members = new Cell<ReadonlySet<NodeId>>(new Set());
  const removed = new Cell<ReadonlySet<NodeId>>(new Set());
  const toldRemovedBy = new Cell<NodeId | undefined>(undefined);
  const addresses = new Map<NodeId, string>();
  const network = await startLibp2pNetwork({
    identity,
    credentials,
    listen: { host: "127.0.0.1", port: 0 },
    addressOf: (node) => addresses.get(node),
    members,
    removed,
    onRemoved: (by) => toldRemovedBy.set(by),
    clock: systemClock,
    random: seededRandom(3),
    logger: silentLogger,
  });
  t.teardown(() => network[Symbol.asyncDispose]());
  const know = (other: { readonly network: PeerNetwork; readonly address: string }) => {
    addresses.set(other.network.self, other.address);
    members.set(new Set([...members.get(), other.network.self]));
  };
  const address = `127.0.0.1:${network.listenPort}`;
  return { network, members, removed, toldRemovedBy, addresses, address, identity, know };
}

async function startSeed(t: Test) {
  const identity = await newIdentity(t);
  const self = identity.nodeId;
  const credentials = await createCluster({ clusterId: "c1", self, nowMs: Date.now() });
  const seed = await startNode(t, { identity, credentials });
  const admissions: Admission[] = [];
  const keyHolders = new Set<NodeId>();
  const formerMembers = new Set<NodeId>();
  const desk = openDesk(seed.network, {
    identity,
    holds: credentials,
    voters: () => [self],
    keyHolders: () => [...keyHolders],
    isMember: (node) => !formerMembers.has(node),
    admit: async (admission) => {
      admissions.push(admission);
      if (admission.tokenId === "e0") throw new CodedError("token_invalid", "The token expired.");
      if (admission.tokenId === "f0") throw new CodedError("no_quorum", "Nobody leads.");
      if (admission.secret !== secret) throw new CodedError("token_invalid", "Wrong secret.");
      return [{ nodeId: self, address: seed.address }];
    },
  });
  return { ...seed, credentials, admissions, keyHolders, formerMembers, desk };
}

/** Two nodes of one cluster that know nothing of each other yet. */
async function startTwo(t: Test) {
  const seed = await startSeed(t);
  const identity = await newIdentity(t);
  const credentials = await memberOf(seed.credentials, identity.nodeId);
  const other = await startNode(t, { identity, credentials });
  return { seed, other: { ...other, credentials } };
}

function tokenFor(credentials: Credentials, overrides: Partial<Parameters<typeof encodeToken>[0]>) {
  return encodeToken({
    clusterId: credentials.clusterId,
    role: "node",
    tokenId: "ab",
    secret,
    clusterPublicKey: credentials.clusterPublicKey,
    caFingerprint: caFingerprint(credentials.caPem),
    expiresAtMs: 4e12,
    ...overrides,
  });
}

async function joinWith(
  t: Test,
  options: { readonly seeds: readonly string[]; readonly token: string },
) {
  const identity = await newIdentity(t);
  const joined = await joinCluster({
    ...options,
    identity,
    name: "joiner",
    advertise: undefined,
    port: 7946,
    labels: { zone: "a" },
    signal: never,
  });
  return { ...joined, identity };
}

t.test("who joins gets a certificate for its own key, from the token's cluster", async (t) => {
  const seed = await startSeed(t);
  const token = tokenFor(seed.credentials, {});
  const silent = net.createServer();
  silent.listen(0, "127.0.0.1");
  await new Promise((resolve) => silent.once("listening", resolve));
  silent.close();
  const { credentials, identity, address } = await joinWith(t, {
    seeds: ["127.0.0.1:1", "no address", seed.address],
    token,
  });
  t.equal(address, "127.0.0.1:7946", "where the seed sees it");
  t.match(seed.admissions, [
    { nodeId: identity.nodeId, name: "joiner", address, labels: { zone: "a" }, tokenId: "ab" },
  ]);
  const { membership, clusterPublicKey } = credentials;
  t.equal(verifyMembership(membership, clusterPublicKey), identity.nodeId);
  t.same(credentials.seeds, [{ nodeId: seed.identity.nodeId, address: seed.address }]);

  const server = tls.createServer({
    key: credentials.tlsKeyPem,
    cert: credentials.tlsCertificatePem,
    ca: credentials.caPem,
    requestCert: true,
    minVersion: "TLSv1.3",
  });
  server.listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const listening = server.address();
  if (listening === null || typeof listening === "string") throw new Error("no port");
  const asked = new Promise<tls.TLSSocket>((resolve) => server.once("secureConnection", resolve));
  const socket = tls.connect({
    host: "127.0.0.1",
    port: listening.port,
    key: seed.credentials.tlsKeyPem,
    cert: seed.credentials.tlsCertificatePem,
    ca: seed.credentials.caPem,
    checkServerIdentity: () => undefined,
  });
  await new Promise((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  t.ok(namesNode(socket.getPeerCertificate(), identity.nodeId));
  t.notOk(namesNode(socket.getPeerCertificate(), seed.identity.nodeId));
  t.ok(namesNode((await asked).getPeerCertificate(), seed.identity.nodeId));
  socket.destroy();
});

t.test("who may not join is refused, and learns why", async (t) => {
  const seed = await startSeed(t);
  const other = await startSeed(t);
  const cases: readonly (readonly [
    name: string,
    overrides: Parameters<typeof tokenFor>[1],
    refusal: Record<string, unknown>,
  ])[] = [
    [
      "a wrong secret",
      { secret: "another-secret-altogether" },
      { code: "bad_token", message: /Wrong secret/ },
    ],
    ["an expired token", { tokenId: "e0" }, { code: "bad_token", message: /expired/ }],
    ["no quorum", { tokenId: "f0" }, { code: "no_quorum", message: /Nobody leads/ }],
    ["a client's token", { role: "admin" }, { code: "bad_token" }],
    [
      "an altered CA pin",
      { caFingerprint: "0".repeat(64) },
      { code: "not_admitted", message: /CA/ },
    ],
  ];
  for (const [name, overrides, refusal] of cases) {
    const token = tokenFor(seed.credentials, overrides);
    const joining = joinWith(t, { seeds: [seed.address], token });
    t.match(await joining.catch((error: unknown) => error), refusal, name);
  }
  const before = other.admissions.length;
  await t.rejects(
    joinWith(t, { seeds: [other.address], token: tokenFor(seed.credentials, {}) }),
    { code: "not_admitted", message: /not a member of the cluster/ },
    "another cluster's seed",
  );
  t.equal(other.admissions.length, before, "which was not told the secret");
  await t.rejects(
    joinWith(t, { seeds: ["127.0.0.1:1", "127.0.0.1:2"], token: tokenFor(seed.credentials, {}) }),
    { code: "unreachable", message: /127\.0\.0\.1:1 .*127\.0\.0\.1:2 / },
    "nobody answers",
  );
});

t.test("who shows another node's certificate is not told the secret", async (t) => {
  const seed = await startSeed(t);
  const impostor = await createHost({
    identity: await newIdentity(t),
    listen: { host: "127.0.0.1", port: 0 },
    isAdmitted: () => true,
  });
  t.teardown(() => impostor.stop());
  const asked: unknown[] = [];
  await impostor.handle("/skein/join/2", (stream) =>
    answer(stream, async (body) => {
      asked.push(unpack(body));
      return pack({ membership: seed.credentials.membership });
    }),
  );
  const [address] = impostor.getMultiaddrs();
  const port = /tcp\/(\d+)/.exec(String(address))?.[1];
  const token = tokenFor(seed.credentials, {});
  await t.rejects(joinWith(t, { seeds: [`127.0.0.1:${port}`], token }), { code: "not_admitted" });
  t.same(asked, [{ kind: "who_are_you" }]);
});

t.test("a stranger is shown nothing, and the door in time", async (t) => {
  const seed = await startSeed(t);
  seed.network.handle("/secret/1", async () => new Uint8Array([1]));
  let isHeard = false;
  seed.network.subscribe("news", () => {
    isHeard = true;
  });
  const identity = await newIdentity(t);
  const host = await createHost({
    identity,
    listen: undefined,
    isAdmitted: () => true,
  });
  t.teardown(() => host.stop());
  const overheard: string[] = [];
  host.services.pubsub.addEventListener("message", ({ detail }) => overheard.push(detail.topic));
  host.services.pubsub.subscribe("news");
  const connection = await host.dial(peerAddress(seed.address), { signal: soon() });
  const closed = new Promise((resolve) => connection.addEventListener("close", resolve));
  const startedAt = performance.now();
  await t.rejects(ask(connection, "/secret/1", new Uint8Array(), soon()), { code: "unreachable" });
  await t.rejects(ask(connection, "/skein/join/2", new Uint8Array(20_000), soon()));
  await t.rejects(ask(connection, "/skein/hello/1", new Uint8Array([0xc1]), soon()), {
    code: "refused",
  });
  const gossiping = setInterval(() => {
    host.services.pubsub.publish("news", new Uint8Array([1])).catch(() => undefined);
    seed.network.publish("news", new Uint8Array([2])).catch(() => undefined);
  }, 50);
  await closed;
  clearInterval(gossiping);
  const afterMs = performance.now() - startedAt;
  t.ok(afterMs > 2_000 && afterMs < 6_000, `closed after ${Math.round(afterMs)} ms`);
  t.equal(isHeard, false);
  t.same(overheard, []);
  t.equal(seed.network.connected.get().size, 0);
});

t.test("a certificate is enough where the agreed state does not say yet", async (t) => {
  const { seed, other } = await startTwo(t);
  seed.network.handle("/t/1", async (_, body) => body);
  const startedAt = performance.now();
  other.know(seed);
  await whenCell(seed.network.connected, (peers) => peers.size === 1, { signal: soon() });
  await whenCell(other.network.connected, (peers) => peers.size === 1, { signal: soon() });
  await other.network.request(seed.network.self, "/t/1", new Uint8Array(), { signal: soon() });
  const heard = [seed, other].map(({ network }) => {
    const { promise, resolve } = Promise.withResolvers<NodeId>();
    network.subscribe("news", resolve);
    return promise;
  });
  const again = setInterval(() => {
    for (const { network } of [seed, other]) {
      network.publish("news", new Uint8Array()).catch((error) => t.error(error));
    }
  }, 50);
  t.same(await Promise.all(heard), [other.network.self, seed.network.self], "gossip both ways");
  clearInterval(again);
  t.ok(performance.now() - startedAt < 4_500, "before the look for deaf peers has to mend it");
});

t.test("a removed node's certificate counts for nothing", async (t) => {
  const { seed, other } = await startTwo(t);
  other.know(seed);
  seed.know(other);
  for (const { network } of [seed, other]) {
    await whenCell(network.connected, (peers) => peers.size === 1, { signal: soon() });
  }
  seed.network.handle("/t/1", async (_, body) => body);
  const removedAt = performance.now();
  seed.removed.set(new Set([other.network.self]));
  seed.members.set(new Set());
  await whenCell(seed.network.connected, (peers) => peers.size === 0, { signal: soon() });
  await whenCell(other.network.connected, (peers) => peers.size === 0, { signal: soon() });
  const afterMs = performance.now() - removedAt;
  t.ok(afterMs < 2_000, `both see the connection closed after ${Math.round(afterMs)} ms`);
  await t.rejects(
    other.network.request(seed.network.self, "/t/1", new Uint8Array(), { signal: soon() }),
    { code: "not_admitted", message: /was removed from the cluster/ },
  );
  t.equal(seed.network.connected.get().size, 0);
  t.equal(other.toldRemovedBy.get(), seed.network.self, "and it is told so");
});

t.test("what a node says that is no member is not heard through a member either", async (t) => {
  const { seed, other } = await startTwo(t);
  const identity = await newIdentity(t);
  const foreign = await createCluster({
    clusterId: "c1",
    self: identity.nodeId,
    nowMs: Date.now(),
  });
  const forger = await startNode(t, { identity, credentials: foreign });
  other.know(seed);
  // The relaying member was talked into taking the forger for one.
  other.network.certify(forger.network.self);
  forger.network.certify(other.network.self);
  const { host } = forger.network;
  await host.dial(peerAddress(other.address), { signal: soon() });
  await whenCell(seed.network.connected, (peers) => peers.size === 1, { signal: soon() });
  const authors = new Set<NodeId>();
  const relayed = Promise.withResolvers<void>();
  const heard = Promise.withResolvers<void>();
  other.network.subscribe("news", () => relayed.resolve());
  seed.network.subscribe("news", (from) => {
    authors.add(from);
    heard.resolve();
  });
  forger.network.subscribe("news", () => undefined);
  const again = setInterval(() => {
    forger.network.publish("news", new Uint8Array([1])).catch((error) => t.error(error));
  }, 20);
  await relayed.promise;
  const honest = setInterval(() => {
    other.network.publish("news", new Uint8Array([2])).catch((error) => t.error(error));
  }, 100);
  await heard.promise;
  clearInterval(again);
  clearInterval(honest);
  t.same([...authors], [other.network.self]);
});

t.test("a peer that gossip has dropped is dialled anew", async (t) => {
  const { seed, other } = await startTwo(t);
  other.know(seed);
  seed.know(other);
  let isHeard = Promise.withResolvers<void>();
  seed.network.subscribe("news", () => isHeard.resolve());
  other.network.subscribe("news", () => undefined);
  const again = setInterval(() => {
    other.network.publish("news", new Uint8Array(3)).catch((error) => t.error(error));
  }, 100);
  t.teardown(() => clearInterval(again));
  await isHeard.promise;
  // Round the limit of publish(): receivers drop the author for good.
  const { pubsub } = other.network.host.services;
  await pubsub.publish("news", new Uint8Array(400 * 2 ** 10));
  while (seed.network.host.services.pubsub.getPeers().length > 0) {
    await systemClock.sleep(20, { signal: soon() });
  }
  isHeard = Promise.withResolvers<void>();
  const droppedAt = performance.now();
  await isHeard.promise;
  t.ok(performance.now() - droppedAt < 10_000);
  t.ok(seed.network.connected.get().has(other.network.self));
});

t.test("a membership certificate is the cluster key's alone", async (t) => {
  const { nodeId: self } = await newIdentity(t);
  const nowMs = Date.now();
  const credentials = await createCluster({ clusterId: "c1", self, nowMs, lifetimeMs: dayMs });
  const { fromMs, untilMs } = validityOf(credentials);
  t.equal(fromMs, nowMs);
  t.ok(Math.abs(untilMs - nowMs - dayMs) < 1_000);
  const foreign = await createCluster({ clusterId: "c1", self, nowMs });
  t.throws(() => verifyMembership(credentials.membership, foreign.clusterPublicKey), {
    code: "not_admitted",
  });
  t.throws(() => verifyMembership("nonsense", credentials.clusterPublicKey), {
    code: "not_admitted",
  });
});

t.test("a certificate that has ended admits only whom the agreed state names", async (t) => {
  const seed = await startSeed(t);
  const identity = await newIdentity(t);
  const long = { nowMs: Date.now() - 200 * dayMs };
  const credentials = await memberOf(seed.credentials, identity.nodeId, long);
  const other = await startNode(t, { identity, credentials });
  seed.network.handle("/t/1", async (_, body) => body);
  other.know(seed);
  const ask = async () =>
    await other.network.request(seed.network.self, "/t/1", new Uint8Array(), { signal: soon() });
  await t.rejects(ask(), { code: "refused", message: /has ended/ });
  seed.know(other);
  await ask();
});

t.test("a member that does not vote hands machines on, and cannot read their secret", async (t) => {
  const { seed, other } = await startTwo(t);
  other.know(seed);
  seed.know(other);
  const admit = () => Promise.reject(new Error("it cannot admit"));
  const { identity, credentials, network } = other;
  const voters: NodeId[] = [];
  const desk = openDesk(network, { identity, holds: credentials, admit, voters: () => voters });
  const token = tokenFor(seed.credentials, {});
  const seeds = [`127.0.0.1:${network.listenPort}`];
  await t.rejects(joinWith(t, { seeds, token }), {
    code: "no_quorum",
    message: /No voter answers/,
  });
  voters.push(network.self, seed.network.self);
  const joined = await joinWith(t, { seeds, token });
  t.match(seed.admissions, [{ nodeId: joined.identity.nodeId, secret }]);
  t.ok(network.host.getConnections().length > 0);
  await t.rejects(
    joinWith(t, { seeds, token: tokenFor(seed.credentials, { tokenId: "e0" }) }),
    { code: "bad_token", message: /expired/ },
    "refusals are handed on as well",
  );

  const wanted = { nodeId: joined.identity.nodeId, tokenId: "ab", secret, name: "x", address: "" };
  const tls = newTlsKey();
  const request = pack({ ...wanted, labels: {}, publicKeyPem: tls.publicKeyPem });
  const clusterKey = Buffer.from(seed.credentials.clusterPublicKey, "base64url");
  const sealed = seal(clusterKey, request, "join c1");
  t.notOk(Buffer.from(sealed).includes(secret));
  const asAnother = pack({ nodeId: network.self, sealed });
  await t.rejects(
    network.request(seed.network.self, "/skein/admit/1", asAnother, { signal: soon() }),
    { message: /another machine's/ },
    "nor put itself in the machine's place",
  );
  t.equal(seed.admissions.length, 2);

  const { publicKeyPem } = newTlsKey();
  const renewed = await desk.renew(publicKeyPem, { signal: soon() });
  t.equal(verifyMembership(renewed.membership, credentials.clusterPublicKey), network.self);
  seed.formerMembers.add(network.self);
  await t.rejects(desk.renew(publicKeyPem, { signal: soon() }), { code: "not_admitted" });
});

t.test("the cluster key is given to voters only, and to nobody else's eyes", async (t) => {
  const { seed, other } = await startTwo(t);
  other.know(seed);
  seed.know(other);
  const { identity, credentials, network } = other;
  const desk = openDesk(network, {
    identity,
    holds: credentials,
    admit: () => Promise.reject(new Error("unexpected")),
    voters: () => [seed.network.self],
  });
  await t.rejects(desk.fetchClusterKey({ signal: soon() }), {
    code: "not_admitted",
    message: /Only voters/,
  });
  seed.keyHolders.add(network.self);
  const { clusterKeyPem, caKeyPem } = seed.credentials;
  t.same(await desk.fetchClusterKey({ signal: soon() }), { clusterKeyPem, caKeyPem });
  t.same(await desk.holdersAmong([seed.network.self, network.self], { signal: soon() }), [
    seed.network.self,
  ]);
  const foreign = await createCluster({
    clusterId: "c1",
    self: network.self,
    nowMs: Date.now(),
  });
  t.throws(() => decodeClusterKey(encodeClusterKey(foreign), credentials), {
    message: /is none/,
  });
  const mixed = { clusterKeyPem, caKeyPem: foreign.caKeyPem };
  t.throws(() => decodeClusterKey(encodeClusterKey(mixed), credentials), {
    message: /is none/,
  });
});
