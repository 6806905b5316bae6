import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { pack } from "msgpackr";
import t, { type Test } from "tap";
import { DemoNode } from "../../scripts/demo/cluster.ts";
import type { CreatedToken, NodeView } from "../../src/api/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { createCluster } from "../../src/network/io/credentials.ts";
import { ask } from "../../src/network/io/exchange.ts";
import { createHost } from "../../src/network/io/host.ts";
import { loadOrCreateIdentity } from "../../src/network/io/identity.ts";
import { peerAddress } from "../../src/network/io/peer-address.ts";
import { shortDirectory } from "./directory.ts";

/** What a stranger can send to the one port of real daemons, and what becomes of them. */

const floodConnections = Number(process.env["SKEIN_E2E_FLOOD"] ?? 12_000);
const atOnce = 1_500;
/** What each process may take more under attack than at rest. */
const maxGrowthMb = 120;

const header = Buffer.from("\x13/multistream/1.0.0\n", "latin1");
const noise = Buffer.from("\x07/noise\n", "latin1");
const tlsHello = (length: number) => Buffer.from([0x16, 3, 1, length >> 8, length & 0xff, 1]);

/** Process ids whose command line names this directory: the daemon and its proxy. */
function processesOf(directory: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const argv = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
      if (!argv.some((each) => each.includes(directory))) continue;
      const kind = argv.includes("proxy")
        ? "proxy"
        : argv.includes("daemon")
          ? "daemon"
          : undefined;
      if (kind !== undefined) found.set(kind, Number(entry));
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

function residentMb(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(text)?.[1]) / 1_024);
}

/** Sends and waits for the end, whoever makes it; never rejects. */
function attack(
  address: string,
  send: (socket: Socket) => void,
  { atMostMs = 12_000, from = "127.0.0.66" } = {},
): Promise<"closed" | "open"> {
  const { promise, resolve } = Promise.withResolvers<"closed" | "open">();
  const socket = connect({ host: address, port: 7946, localAddress: from });
  const timer = setTimeout(() => {
    resolve("open");
    socket.destroy();
  }, atMostMs);
  socket.on("error", () => undefined);
  socket.on("connect", () => send(socket));
  socket.on("close", () => {
    clearTimeout(timer);
    resolve("closed");
  });
  socket.resume();
  return promise;
}

/** One octet at a time, for as long as it is let. */
function drip(socket: Socket, bytes: Buffer): void {
  let at = 0;
  const timer = setInterval(() => {
    if (socket.destroyed || at >= bytes.length) clearInterval(timer);
    else socket.write(bytes.subarray(at, ++at));
  }, 250);
}

const frames: readonly (readonly [name: string, send: (socket: Socket) => void])[] = [
  ["nothing", () => undefined],
  ["random octets", (socket) => socket.write(randomBytes(65_536))],
  ["an HTTP request", (socket) => socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n")],
  ["half an HTTP request", (socket) => socket.write("GET / HT")],
  ["a TLS record without an end", (socket) => socket.write(tlsHello(16_000))],
  [
    "TLS and then noise",
    (socket) => socket.write(Buffer.concat([tlsHello(512), randomBytes(9_000)])),
  ],
  ["a TLS record one octet at a time", (socket) => drip(socket, tlsHello(512))],
  ["multistream and silence", (socket) => socket.write(header)],
  ["multistream one octet at a time", (socket) => drip(socket, header)],
  [
    "multistream and random octets",
    (socket) => socket.write(Buffer.concat([header, randomBytes(65_536)])),
  ],
  [
    "multistream and a length of 2^62",
    (socket) => socket.write(Buffer.concat([header, Buffer.alloc(8, 0xff), Buffer.from([0x3f])])),
  ],
  ["noise and silence", (socket) => socket.write(Buffer.concat([header, noise]))],
  [
    "noise and a megabyte of it",
    (socket) => socket.write(Buffer.concat([header, noise, randomBytes(1 << 20)])),
  ],
  [
    "noise with frames of no octets",
    (socket) => socket.write(Buffer.concat([header, noise, Buffer.alloc(65_536)])),
  ],
];

t.test("strangers at the one port", { timeout: 400_000 }, async (t) => {
  const directory = shortDirectory(t);
  const [n1, n2] = [1, 2].map(
    (number) =>
      new DemoNode({
        ...{ name: `n${number}`, address: `127.0.94.${number}`, directory, runtime: "process" },
        flags: ["--timing=lan"],
      }),
  );
  if (n1 === undefined || n2 === undefined) throw new Error("there are nodes");
  t.teardown(async () => {
    await Promise.all([n1.remove(), n2.remove()]);
  });
  const nodesOf = async (on: DemoNode = n1) => (await on.get<NodeView[]>("/v1/nodes")) ?? [];
  await n1.start(undefined);
  const { token } = await n1.json<CreatedToken>("token", "create");
  await n2.start({ seed: `${n1.address}:7946`, token });
  while (!((await nodesOf()).filter(({ status }) => status === "ready").length === 2)) {
    await sleep(100);
  }
  const pids = processesOf(n1.dataDirectory);
  t.strictSame([...pids.keys()].sort(), ["daemon", "proxy"]);

  /** Watches that the members see each other, and how much memory it takes, while `work` runs. */
  const under = async (t: Test, work: () => Promise<void>): Promise<void> => {
    const before = new Map([...pids].map(([kind, pid]) => [kind, residentMb(pid)]));
    const most = new Map(before);
    const states = new Set<string>();
    let isOver = false;
    const watching = (async () => {
      while (!isOver) {
        for (const [kind, pid] of pids)
          most.set(kind, Math.max(most.get(kind) ?? 0, residentMb(pid)));
        for (const { name, status } of await nodesOf()) states.add(`${name} ${status}`);
        await sleep(200);
      }
    })();
    await work();
    isOver = true;
    await watching;
    t.strictSame([...states].sort(), ["n1 ready", "n2 ready"], "the members stay connected");
    for (const [kind] of pids) {
      const [from, to] = [before.get(kind) ?? 0, most.get(kind) ?? 0];
      t.comment(`${kind}: ${from} MB before, ${to} MB at the most`);
      t.ok(to - from < maxGrowthMb, `the ${kind} grew by ${to - from} MB`);
    }
    t.strictSame(processesOf(n1.dataDirectory), pids, "no process has ended");
  };

  await t.test("what is no protocol of ours is shut out in time", async (t) => {
    await under(t, async () => {
      const ends = await Promise.all(
        frames.map(async ([name, send]) => [name, await attack(n1.address, send)] as const),
      );
      for (const [name, end] of ends) t.equal(end, "closed", name);
    });
  });

  await t.test("a stranger that speaks libp2p gets the join and nothing else", async (t) => {
    const identity = await loadOrCreateIdentity(shortDirectory(t));
    const host = await createHost({ identity, listen: undefined, isAdmitted: () => true });
    t.teardown(() => host.stop());
    const soon = () => AbortSignal.timeout(10_000);
    const dial = () => host.dial(peerAddress(`${n1.address}:7946`), { signal: soon() });
    const foreign = await createCluster({
      clusterId: "c1",
      self: identity.nodeId,
      nowMs: systemClock.now(),
    });
    await under(t, async () => {
      const connection = await dial();
      const refused: readonly (readonly [string, string, Uint8Array])[] = [
        [
          "a certificate by another key",
          "/skein/hello/1",
          pack({ membership: foreign.membership }),
        ],
        ["no certificate", "/skein/hello/1", pack({})],
        ["what is no msgpack", "/skein/hello/1", Uint8Array.of(0xc1)],
        ["a map of 2^32 entries", "/skein/join/2", Uint8Array.of(0xdf, 255, 255, 255, 255)],
        ["random octets", "/skein/join/2", randomBytes(4_000)],
        ["20 KB", "/skein/join/2", randomBytes(20_000)],
        ["a sealed nothing", "/skein/join/2", pack({ kind: "admit", sealed: randomBytes(300) })],
        ["a member's protocol", "/skein/sync/1", pack({ claims: [], digest: [], records: [] })],
        ["the cluster key", "/skein/cluster-key/1", pack({ kind: "get" })],
        ["the log", "/skein/raft/1", new Uint8Array(10)],
      ];
      for (const [name, protocol, body] of refused) {
        const open = connection.status === "open" ? connection : await dial();
        await t.rejects(ask(open, protocol, body, soon()), name);
      }
      const again = await dial();
      const isClosed = new Promise<boolean>((resolve) => {
        again.addEventListener("close", () => resolve(true));
      });
      const late = new AbortController();
      const isLate = sleep(15_000, false, { signal: late.signal }).catch(() => false);
      t.ok(await Promise.race([isClosed, isLate]), "it is shown out");
      late.abort();
    });
    t.notOk((await nodesOf()).some(({ id }) => id === identity.nodeId));
  });

  await t.test(`${floodConnections} connections of a stranger`, async (t) => {
    const kinds: readonly ((socket: Socket) => void)[] = [
      (socket) => socket.write(Buffer.concat([header, noise, randomBytes(4_096)])),
      (socket) => socket.write(Buffer.concat([header, randomBytes(4_096)])),
      (socket) => socket.write(Buffer.concat([tlsHello(512), randomBytes(4_096)])),
      (socket) => socket.write(randomBytes(4_096)),
      () => undefined,
      (socket) => socket.write(header),
    ];
    const startedAt = performance.now();
    await under(t, async () => {
      let next = 0;
      let stillOpen = 0;
      const one = async () => {
        while (next < floodConnections) {
          const send = kinds[next % kinds.length] ?? (() => undefined);
          // From one address, then from many.
          const from = next < floodConnections / 2 ? "127.0.0.66" : `127.0.67.${next % 200}`;
          next += 1;
          if ((await attack(n1.address, send, { from })) === "open") stillOpen += 1;
        }
      };
      await Promise.all(Array.from({ length: atOnce }, one));
      t.equal(stillOpen, 0, "all have been shut out");
    });
    t.comment(`${Math.round(performance.now() - startedAt)} ms`);
    const { status } = await n1.skein("token", "create");
    t.equal(status, 0, "the cluster still decides");
  });
});
