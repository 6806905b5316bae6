import { createServer, type Socket } from "node:net";
import t from "tap";
import { Cell, type NodeId, nodeId, seededRandom, silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { createCluster } from "../../src/network/io/credentials.ts";
import { isSilence } from "../../src/network/io/dialler.ts";
import { startLibp2pNetwork } from "../../src/network/io/libp2p-network.ts";
import { newIdentity } from "./real-nodes.ts";

/** As many as are dialled at once, and some. */
const mutes = 6;

t.test("a node without an address does not wait for those that are dialled", async (t) => {
  const sockets = new Set<Socket>();
  const { promise: areDialled, resolve } = Promise.withResolvers<void>();
  const mute = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    if (sockets.size >= 4) resolve();
  });
  await new Promise<void>((listening) => mute.listen(0, "127.0.0.1", listening));
  const address = mute.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    mute.close();
  });
  const [identity, ...others] = await Promise.all(
    Array.from({ length: mutes + 1 }, () => newIdentity(t)),
  );
  if (identity === undefined) throw new Error("there is one");
  const self = identity.nodeId;
  const muted = new Set(others.map((each) => each.nodeId));
  const network = await startLibp2pNetwork({
    identity,
    credentials: await createCluster({ clusterId: "c1", self, nowMs: Date.now() }),
    listen: { host: "127.0.0.1", port: 0 },
    addressOf: (node) => (muted.has(node) ? `127.0.0.1:${address.port}` : undefined),
    members: new Cell<ReadonlySet<NodeId>>(new Set([self, ...muted])),
    clock: systemClock,
    random: seededRandom(1),
    logger: silentLogger,
  });
  t.teardown(() => network[Symbol.asyncDispose]());
  await areDialled;
  const signal = AbortSignal.timeout(1_000);
  const unknown = Array.from({ length: 100 }, (_, i) => nodeId(`unknown-${i}`));
  for (const node of unknown) {
    await t.rejects(network.request(node, "/t/1", new Uint8Array(), { signal }), {
      code: "unreachable",
    });
  }
});

t.test("only the machine itself can say that nothing listens there", async (t) => {
  const cases = [
    ["ECONNREFUSED", false],
    ["ECONNRESET", false],
    ["EHOSTUNREACH", true],
    ["ENETUNREACH", true],
    ["ETIMEDOUT", true],
  ] as const;
  for (const [code, expected] of cases) {
    t.equal(isSilence(Object.assign(new Error("connection error"), { code })), expected, code);
  }
  t.equal(isSilence(new DOMException("too late", "TimeoutError")), true);
});
