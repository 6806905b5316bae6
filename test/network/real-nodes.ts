import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { Cell, type NodeId, seededRandom, silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { AdmissionDesk, type AdmissionOptions } from "../../src/network/io/admission.ts";
import type { ClusterKey } from "../../src/network/io/cluster-key.ts";
import {
  type Credentials,
  createCluster,
  issue,
  newTlsKey,
} from "../../src/network/io/credentials.ts";
import { type Identity, loadOrCreateIdentity } from "../../src/network/io/identity.ts";
import { type Libp2pNetwork, startLibp2pNetwork } from "../../src/network/io/libp2p-network.ts";
import type { ContractNetwork } from "./peer-network.contract.ts";

export async function newIdentity(t: Test): Promise<Identity> {
  const directory = mkdtempSync(join(tmpdir(), "skein-network-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return await loadOrCreateIdentity(directory);
}

/** What a machine would have got by joining. */
export async function memberOf(
  cluster: Credentials & ClusterKey,
  nodeId: NodeId,
  { nowMs = Date.now() }: { readonly nowMs?: number } = {},
): Promise<Credentials> {
  const tls = newTlsKey();
  const { publicKeyPem } = tls;
  const issued = await issue(cluster, { nodeId, publicKeyPem, nowMs });
  const { clusterId, clusterPublicKey, caPem } = cluster;
  const trust = { clusterId, clusterPublicKey, caPem, seeds: [] };
  return { ...trust, ...issued, tlsKeyPem: tls.privateKeyPem };
}

/** Lets machines in where the test says so; this node alone votes, where nothing else is said. */
export function openDesk(
  network: Libp2pNetwork,
  options: Pick<AdmissionOptions, "identity" | "admit"> &
    Partial<AdmissionOptions> & { readonly holds: Credentials & Partial<ClusterKey> },
): AdmissionDesk {
  const { holds, ...rest } = options;
  const { clusterKeyPem, caKeyPem } = holds;
  const key =
    clusterKeyPem === undefined || caKeyPem === undefined ? undefined : { clusterKeyPem, caKeyPem };
  return new AdmissionDesk({
    network,
    credentials: () => holds,
    clusterKey: () => key,
    voters: () => [network.self],
    keyHolders: () => [network.self],
    isMember: () => true,
    now: Date.now,
    lifetimeMs: 3_600_000,
    ...rest,
  });
}

/** Real nodes on loopback. Every pair of them talks through a relay that can be cut. */
export async function startNodes(
  t: Test,
  count: number,
): Promise<
  ContractNetwork & {
    readonly nodes: readonly Libp2pNetwork[];
    /** What is open between two nodes carries nothing more, not even its end. New ones do. */
    readonly swallow: (a: NodeId, b: NodeId) => void;
  }
> {
  const identities = await Promise.all(Array.from({ length: count }, () => newIdentity(t)));
  const members = new Cell<ReadonlySet<NodeId>>(new Set(identities.map(({ nodeId }) => nodeId)));
  const [first] = identities;
  if (first === undefined) throw new Error("at least one node is needed");
  const cluster = await createCluster({ clusterId: "c1", self: first.nodeId, nowMs: Date.now() });
  const relays = new Map<string, Relay>();
  const nodes: Libp2pNetwork[] = [];
  for (const identity of identities) {
    const self = identity.nodeId;
    const network = await startLibp2pNetwork({
      identity,
      credentials: await memberOf(cluster, self),
      listen: { host: "127.0.0.1", port: 0 },
      addressOf: (node) => relays.get(`${self} ${node}`)?.address,
      members,
      clock: systemClock,
      random: seededRandom(nodes.length),
      logger: silentLogger,
    });
    t.teardown(() => network[Symbol.asyncDispose]());
    nodes.push(network);
  }
  for (const from of nodes) {
    for (const to of nodes) {
      if (from === to) continue;
      const relay = await startRelay(to.listenPort);
      t.teardown(() => relay.close());
      relays.set(`${from.self} ${to.self}`, relay);
    }
  }
  const between = (a: NodeId, b: NodeId) => [relays.get(`${a} ${b}`), relays.get(`${b} ${a}`)];
  return {
    nodes,
    cut: (a, b) => {
      for (const relay of between(a, b)) relay?.cut();
    },
    swallow: (a, b) => {
      for (const relay of between(a, b)) relay?.swallow();
    },
    heal: (a, b) => {
      for (const relay of between(a, b)) relay?.heal();
    },
  };
}

type Relay = {
  readonly address: string;
  cut(): void;
  swallow(): void;
  heal(): void;
  close(): void;
};

async function startRelay(port: number): Promise<Relay> {
  const sockets = new Set<net.Socket>();
  const swallowed = new Set<net.Socket>();
  let isCut = false;
  const server = net.createServer((inbound) => {
    if (isCut) {
      inbound.destroy();
      return;
    }
    const outbound = net.connect(port, "127.0.0.1");
    for (const [socket, other] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const) {
      sockets.add(socket);
      const end = () => {
        if (!swallowed.has(socket)) other.destroy();
      };
      socket.on("error", end);
      socket.on("close", () => {
        sockets.delete(socket);
        end();
      });
      socket.pipe(other);
    }
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: `127.0.0.1:${address.port}`,
    cut() {
      isCut = true;
      drop();
    },
    swallow() {
      for (const socket of sockets) {
        swallowed.add(socket);
        socket.unpipe();
        socket.resume();
      }
    },
    heal() {
      isCut = false;
    },
    close() {
      server.close();
      drop();
    },
  };
}
