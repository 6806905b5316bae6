import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import t from "tap";
import { DemoNode } from "../../scripts/demo/cluster.ts";
import type { CreatedToken, NodeView, StatusView } from "../../src/api/index.ts";
import { decodeToken } from "../../src/network/index.ts";
import { shortDirectory } from "./directory.ts";

/** Certificates that live for seconds: what happens in months, with real daemons. */

const lifetimeMs = 15_000;
const flags = [`--certificate-lifetime=${lifetimeMs / 1_000}s`];

function open(address: string): tls.TLSSocket {
  const [port, ALPNProtocols] = [7946, ["http/1.1"]];
  const socket = tls.connect({ host: address, port, ALPNProtocols, rejectUnauthorized: false });
  socket.on("error", () => undefined);
  return socket;
}

/** The serial number of the certificate that a node shows to a new connection, and its end. */
async function shown(address: string): Promise<{ serial: string; untilMs: number }> {
  const socket = open(address);
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  const { serialNumber, valid_to } = socket.getPeerCertificate();
  socket.destroy();
  return { serial: serialNumber, untilMs: Date.parse(valid_to) };
}

t.test("certificates are renewed in place", { timeout: 200_000 }, async (t) => {
  const directory = shortDirectory(t);
  const [n1, n2] = [1, 2].map(
    (number) =>
      new DemoNode({
        ...{ name: `n${number}`, address: `127.0.93.${number}`, directory },
        ...{ runtime: "process", flags },
      }),
  );
  if (n1 === undefined || n2 === undefined) throw new Error("there are nodes");
  t.teardown(async () => {
    await Promise.all([n1.remove(), n2.remove()]);
  });
  await n1.start(undefined);
  const { token } = await n1.json<CreatedToken>("token", "create");
  await n2.start({ seed: `${n1.address}:7946`, token });
  const admin = decodeToken(
    (await n1.json<CreatedToken>("token", "create", "--role", "admin")).token,
  );
  const bearer = `${admin.tokenId}.${admin.secret}`;

  // One connection that stays open all the time, through the proxies of both.
  const kept = open(n2.address);
  t.teardown(() => kept.destroy());
  await new Promise((resolve) => kept.once("secureConnect", resolve));
  let answers = 0;
  kept.on("data", (chunk: Buffer) => {
    if (chunk.toString("latin1").startsWith("HTTP/1.1 200")) answers += 1;
  });
  let isClosed = false;
  kept.on("close", () => {
    isClosed = true;
  });

  const seen = new Map<DemoNode, Set<string>>([
    [n1, new Set()],
    [n2, new Set()],
  ]);
  const startedAt = performance.now();
  let asked = 0;
  while (performance.now() - startedAt < 3 * lifetimeMs) {
    for (const node of [n1, n2]) {
      const { serial, untilMs } = await shown(node.address);
      seen.get(node)?.add(serial);
      if (untilMs <= Date.now()) t.fail(`${node.name} shows a certificate that has ended`);
    }
    kept.write(`GET /v1/status HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${bearer}\r\n\r\n`);
    asked += 1;
    await sleep(500);
  }
  for (const [node, serials] of seen) {
    t.comment(`${node.name} has shown ${serials.size} certificates in three lifetimes`);
    t.ok(serials.size >= 4, `${node.name} renewed its certificate in time, again and again`);
  }
  t.notOk(isClosed, "an open connection stays");
  t.ok(answers >= asked - 1, `${answers} answers to ${asked} requests on it`);
  const nodes = (await n1.get<NodeView[]>("/v1/nodes")) ?? [];
  t.strictSame(
    nodes.map(({ name, status }) => [name, status]),
    [
      ["n1", "ready"],
      ["n2", "ready"],
    ],
  );
  t.strictSame((await n2.get<StatusView>("/v1/status"))?.warnings, []);

  await t.test("after a pause longer than a lifetime they meet again", async (t) => {
    await n1.stop("SIGTERM");
    await n2.stop("SIGTERM");
    await sleep(lifetimeMs + 1_000);
    await Promise.all([n1.start(undefined), n2.start(undefined)]);
    const from = performance.now();
    for (;;) {
      const list = (await n1.get<NodeView[]>("/v1/nodes")) ?? [];
      const isReady = list.length === 2 && list.every(({ status }) => status === "ready");
      const ends = await Promise.all([n1, n2].map(({ address }) => shown(address)));
      if (isReady && ends.every(({ untilMs }) => untilMs > Date.now())) break;
      if (performance.now() - from > 30_000) throw new Error("they do not find each other");
      await sleep(100);
    }
    t.pass(`after ${Math.round(performance.now() - from)} ms`);
  });
});
