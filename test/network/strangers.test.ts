import { setTimeout as sleep } from "node:timers/promises";
import { publicKeyToProtobuf } from "@libp2p/crypto/keys";
import { pack } from "msgpackr";
import t, { type Test } from "tap";
import {
  Cell,
  CodedError,
  type NodeId,
  seededRandom,
  silentLogger,
} from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { createCluster } from "../../src/network/io/credentials.ts";
import { ask } from "../../src/network/io/exchange.ts";
import { createHost } from "../../src/network/io/host.ts";
import { type Libp2pNetwork, startLibp2pNetwork } from "../../src/network/io/libp2p-network.ts";
import { peerAddress } from "../../src/network/io/peer-address.ts";
import { strangerAllowanceBytes } from "../../src/network/io/stranger-allowance.ts";
import { newIdentity, openDesk, startNodes } from "./real-nodes.ts";

async function startAlone(t: Test): Promise<Libp2pNetwork> {
  const identity = await newIdentity(t);
  const self = identity.nodeId;
  const credentials = await createCluster({ clusterId: "c1", self, nowMs: Date.now() });
  const network = await startLibp2pNetwork({
    identity,
    credentials,
    listen: { host: "127.0.0.1", port: 0 },
    addressOf: () => undefined,
    members: new Cell<ReadonlySet<NodeId>>(new Set([self])),
    clock: systemClock,
    random: seededRandom(1),
    logger: silentLogger,
  });
  t.teardown(() => network[Symbol.asyncDispose]());
  const refuse = async () => Promise.reject(new CodedError("token_invalid", "No token."));
  openDesk(network, { identity, holds: credentials, admit: refuse });
  return network;
}

async function startStranger(t: Test) {
  const identity = await newIdentity(t);
  const host = await createHost({ identity, listen: undefined, isAdmitted: () => true });
  t.teardown(() => host.stop());
  return { identity, host };
}

/** A field of a protocol buffer that holds octets. */
function field(number: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2]), withLength(bytes)]);
}

function withLength(bytes: Uint8Array): Buffer {
  const { length } = bytes;
  return Buffer.concat([
    Buffer.from(length < 128 ? [length] : [(length & 127) | 128, length >> 7]),
    bytes,
  ]);
}

t.test("of a stranger that was shown out nothing is remembered", async (t) => {
  const network = await startAlone(t);
  const { host, identity } = await startStranger(t);
  await host.unhandle("/ipfs/id/1.0.0");
  await host.handle("/ipfs/id/1.0.0", (stream) => {
    const key = field(1, publicKeyToProtobuf(identity.privateKey.publicKey));
    stream.send(withLength(Buffer.concat([key, field(3, Buffer.alloc(7_900, "x"))])));
    void stream.close();
  });
  const connection = await host.dial(peerAddress(`127.0.0.1:${network.listenPort}`));
  const closed = new Promise((resolve) => connection.addEventListener("close", resolve));
  await connection.newStream("/ipfs/ping/1.0.0");
  const others = async () => (await network.host.peerStore.all()).length;
  t.equal(await others(), 1, "the library takes note of who speaks any protocol");
  const [known] = await network.host.peerStore.all();
  t.strictSame(known?.protocols, ["/ipfs/ping/1.0.0"], "not of what it says of itself");
  await closed;
  for (let tries = 0; tries < 100 && (await others()) > 0; tries += 1) await sleep(20);
  t.equal(await others(), 0);
});

t.test("a stranger that sends without end is shown out at once, a member is not", async (t) => {
  const network = await startAlone(t);
  const { host } = await startStranger(t);
  const connection = await host.dial(peerAddress(`127.0.0.1:${network.listenPort}`));
  const stream = await connection.newStream("/ipfs/ping/1.0.0");
  let echoed = 0;
  stream.addEventListener("message", ({ data }) => {
    echoed += data.byteLength;
  });
  while (connection.status === "open" && stream.status === "open") {
    if (!stream.send(new Uint8Array(8_192))) await Promise.race([stream.onDrain(), sleep(10)]);
    await sleep(0);
  }
  t.ok(echoed < strangerAllowanceBytes, `${echoed} octets were answered`);

  const { nodes } = await startNodes(t, 2);
  const [first, second] = nodes;
  if (first === undefined || second === undefined) throw new Error("there are two");
  second.handle("/t/1", async (_, body) => body);
  const body = new Uint8Array(2 * strangerAllowanceBytes);
  const { signal } = new AbortController();
  const reply = await first.request(second.self, "/t/1", body, { signal });
  t.equal(reply.length, body.length);
});

t.test("a stranger that asks again and again takes nobody's place at the join", async (t) => {
  const network = await startAlone(t);
  const { host } = await startStranger(t);
  const { signal } = new AbortController();
  const dial = () => host.dial(peerAddress(`127.0.0.1:${network.listenPort}`), { force: true });
  const whoAreYou = pack({ kind: "who_are_you" });
  const join = "/skein/join/2";
  for (let asked = 0; asked < 60; asked += 2) {
    const connection = await dial();
    await ask(connection, join, whoAreYou, signal);
    await ask(connection, join, whoAreYou, signal);
    connection.abort(new Error("the next one"));
  }
  const connection = await dial();
  const admit = pack({ kind: "admit", sealed: new Uint8Array(100) });
  const isRead = { code: "refused", remoteCode: "refused" };
  await t.rejects(ask(connection, join, admit, signal), isRead);
  await ask(connection, join, whoAreYou, signal);
  await t.rejects(ask(connection, join, whoAreYou, signal), { code: "unreachable" });
  t.not(connection.status, "open");
});
