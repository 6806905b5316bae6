import { randomBytes } from "node:crypto";
import { connect, createServer as createUnixServer } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect as tlsConnect } from "node:tls";
import t from "tap";
import { nodeId, taskId } from "../../src/kernel/index.ts";
import { encodePreamble } from "../../src/proxy/preamble.ts";
import { makeAuthority } from "./fixtures/certificates.ts";
import {
  ask,
  authority,
  exchangeRaw,
  freePort,
  published,
  remote,
  shortDirectory,
  startBackend,
  startRig,
  startTcpServer,
  until,
} from "./fixtures/rig.ts";

const target = 80;

function lend(id: string, port: number) {
  return { taskId: taskId(id), target, address: "127.0.0.1", port };
}

/** Connects with TLS, sends bytes, and resolves with what comes back and how it ended. */
async function tlsExchange(
  port: number,
  bytes: string | Uint8Array,
  options: ConnectionOptions,
): Promise<string> {
  const socket = tlsConnect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
  const { promise, resolve } = Promise.withResolvers<string>();
  let received = "";
  socket.on("secureConnect", () => socket.write(bytes));
  socket.on("data", (chunk: Buffer) => {
    received += chunk.toString("latin1");
  });
  socket.on("error", () => undefined);
  socket.on("close", () => resolve(received));
  return promise;
}

t.test(
  "requests reach replicas of other nodes over mutual TLS, and connections are kept",
  async (t) => {
    const near = await startRig(t, "n1");
    const far = await startRig(t, "n2");
    const replica = await startBackend(t, "far", (request, response) => {
      request.pipe(response);
    });
    await far.route({ local: [lend("a", replica.port)] });
    const port = await freePort();
    const { edgePort } = far.configuration;
    await near.route({ publishedPorts: [published(port, [remote("a", "n2", edgePort)])] });
    for (let i = 0; i < 20; i += 1) {
      t.equal((await ask(port, { method: "PUT", body: `${i}` })).body.toString(), `${i}`);
    }
    t.ok(replica.seen.connections <= 2, `${replica.seen.connections} tunnels for 20 requests`);
    const body = randomBytes(6 * 1024 * 1024);
    t.ok((await ask(port, { method: "POST", body })).body.equals(body), "6 MB both ways");
    t.ok(far.engine.inUse(taskId("a")) > 0, "the owner counts tunnels");
    await near.route({ publishedPorts: [published(port, [])] });
    await until(
      () => far.engine.inUse(taskId("a")) === 0,
      "idle tunnels are closed with the route",
    );
  },
);

t.test(
  "TCP goes through the data path with its half-closes, and the server may speak first",
  async (t) => {
    const near = await startRig(t, "n1");
    const far = await startRig(t, "n2");
    const replica = await startTcpServer(t, (socket) => {
      socket.write("hello ");
      let seen = "";
      socket.on("data", (chunk: Buffer) => {
        seen += chunk.toString();
      });
      socket.on("end", () => socket.end(`you said ${seen}`));
    });
    await far.route({ local: [lend("a", replica)] });
    const port = await freePort();
    const endpoints = [remote("a", "n2", far.configuration.edgePort)];
    await near.route({ publishedPorts: [published(port, endpoints, "tcp")] });
    const socket = connect({ port, host: "127.0.0.1" });
    let received = "";
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString();
    });
    await until(() => received === "hello ", "the server has spoken");
    socket.end("honk");
    await until(() => received === "hello you said honk", "it answers after the half-close");
  },
);

t.test("an endpoint that its owner does not know, or cannot reach, is passed over", async (t) => {
  const near = await startRig(t, "n1");
  const far = await startRig(t, "n2");
  const replica = await startBackend(t, "good");
  await far.route({ local: [lend("a", replica.port), lend("b", await freePort())] });
  const port = await freePort();
  const { edgePort } = far.configuration;
  const endpoints = ["a", "b", "c"].map((id) => remote(id, "n2", edgePort));
  await near.route({ publishedPorts: [published(port, endpoints)] });
  for (let i = 0; i < 9; i += 1) {
    t.equal((await ask(port, { method: "POST", body: "x" })).status, 200);
  }
});

t.test("a node whose certificate names another node gets no request", async (t) => {
  const near = await startRig(t, "n1");
  const far = await startRig(t, "n2");
  const replica = await startBackend(t, "secret");
  await far.route({ local: [lend("a", replica.port)] });
  const port = await freePort();
  const { edgePort } = far.configuration;
  await near.route({ publishedPorts: [published(port, [remote("a", "n3", edgePort)])] });
  t.equal((await ask(port)).status, 502);
  t.equal(replica.seen.requests, 0);
});

t.test("a certificate that names its node by common name is as good", async (t) => {
  const near = await startRig(t, "n1");
  const tls = await authority.issue(nodeId("n2"), "common-name");
  const far = await startRig(t, "n2", { tls });
  const replica = await startBackend(t, "far");
  await far.route({ local: [lend("a", replica.port)] });
  const port = await freePort();
  const { edgePort } = far.configuration;
  await near.route({ publishedPorts: [published(port, [remote("a", "n2", edgePort)])] });
  t.equal((await ask(port)).status, 200);
});

t.test("the data path refuses strangers", async (t) => {
  const rig = await startRig(t, "n1");
  const replica = await startBackend(t, "secret");
  await rig.route({ local: [lend("a", replica.port)] });
  const { edgePort } = rig.configuration;
  const preamble = encodePreamble({ taskId: taskId("a"), target });
  const data = { ALPNProtocols: ["skein-data/1"] };
  const member = await authority.issue(nodeId("n2"));
  const stranger = await (await makeAuthority("another cluster")).issue(nodeId("n2"));
  t.equal(await tlsExchange(edgePort, preamble, data), "", "without a certificate");
  t.equal(
    await tlsExchange(edgePort, preamble, { ...data, ...stranger }),
    "",
    "of another cluster",
  );
  t.equal(
    await tlsExchange(edgePort, preamble, { ...data, ...member, maxVersion: "TLSv1.2" }),
    "",
    "with TLS 1.2",
  );
  t.equal(
    await tlsExchange(edgePort, "nonsense", { ...data, ...member }),
    "",
    "without a preamble",
  );
  t.equal(replica.seen.connections, 0);
  const unknown = encodePreamble({ taskId: taskId("zzz"), target });
  t.equal(await tlsExchange(edgePort, unknown, { ...data, ...member }), "\x01", "an unknown task");
  const socket = tlsConnect({ ...data, ...member, port: edgePort, rejectUnauthorized: false });
  t.teardown(() => socket.destroy());
  let received = "";
  socket.on("data", (chunk: Buffer) => {
    received += chunk.toString("latin1");
  });
  socket.write(preamble);
  await until(() => received === "\0", "a member is let in");
});

t.test(
  "another node's proxy is not trusted when another cluster issued its certificate",
  async (t) => {
    const near = await startRig(t, "n1");
    const tls = await (await makeAuthority("another cluster")).issue(nodeId("n2"));
    const far = await startRig(t, "n2", { tls });
    const replica = await startBackend(t, "far");
    await far.route({ local: [lend("a", replica.port)] });
    const port = await freePort();
    const endpoints = [remote("a", "n2", far.configuration.edgePort)];
    await near.route({ publishedPorts: [published(port, endpoints)] });
    t.equal((await ask(port)).status, 502);
  },
);

t.test("a removed node's tunnels are closed, and it opens no others", async (t) => {
  const near = await startRig(t, "n1");
  const far = await startRig(t, "n2");
  const replica = await startTcpServer(t, (socket) => socket.write("hello"));
  const local = [lend("a", replica)];
  await far.route({ local, removedNodes: [nodeId("n3")] });
  const port = await freePort();
  const endpoints = [remote("a", "n2", far.configuration.edgePort)];
  await near.route({ publishedPorts: [published(port, endpoints, "tcp")] });
  const open = async () => {
    const socket = connect({ port, host: "127.0.0.1" });
    t.teardown(() => socket.destroy());
    socket.on("error", () => undefined);
    let received = "";
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString();
    });
    let isClosed = false;
    socket.on("close", () => {
      isClosed = true;
    });
    await until(() => received === "hello" || isClosed, "it is served or closed");
    return { isClosed: () => isClosed, received };
  };
  const before = await open();
  t.equal(before.received, "hello", "another node's removal is nothing to it");
  await far.route({ local, removedNodes: [nodeId("n3"), nodeId("n1")] });
  await until(before.isClosed, "what was open is closed");
  t.equal((await open()).received, "");
  await far.route({ local, removedNodes: [nodeId("n3")] });
  t.equal((await open()).received, "hello", "it was let in again with a new token");
});

t.test("the one port tells libp2p, the API and strangers apart", async (t) => {
  const libp2p = await startTcpServer(t, (socket) => socket.pipe(socket));
  const apiSocketPath = join(shortDirectory(t), "api.sock");
  const api = createUnixServer((socket) => socket.once("data", () => socket.end("from the API")));
  await new Promise<void>((resolve) => api.listen(apiSocketPath, resolve));
  t.teardown(() => api.close());
  const rig = await startRig(t, "n1", {
    libp2p: { host: "127.0.0.1", port: libp2p },
    apiSocketPath,
    isDaemonAttached: true,
  });
  const { edgePort } = rig.configuration;
  const socket = connect(edgePort, "127.0.0.1");
  let received = "";
  socket.on("data", (chunk: Buffer) => {
    received += chunk.toString("latin1");
  });
  socket.write("\x13/multistream/1.0.0\n");
  await until(() => received === "\x13/multistream/1.0.0\n", "libp2p gets every byte");
  socket.destroy();
  const http = { ALPNProtocols: ["http/1.1"] };
  t.equal(await tlsExchange(edgePort, "GET / HTTP/1.1\r\n\r\n", http), "from the API");
  t.match(await exchangeRaw(edgePort, "GET / HTTP/1.1\r\n\r\n"), /^HTTP\/1\.1 400 /);
  const started = performance.now();
  t.equal(await exchangeRaw(edgePort, ""), "", "who says nothing is shown out");
  const waitedMs = performance.now() - started;
  t.ok(waitedMs > 1_500 && waitedMs < 4_000, `after ${waitedMs} ms`);
});

t.test("without a daemon its connections are refused at once, and traffic goes on", async (t) => {
  const libp2p = await startTcpServer(t, (socket) => socket.pipe(socket));
  const rig = await startRig(t, "n1", { libp2p: { host: "127.0.0.1", port: libp2p } });
  const { edgePort } = rig.configuration;
  t.equal(await exchangeRaw(edgePort, "\x13/multistream/1.0.0\n"), "");
  const http = { ALPNProtocols: ["http/1.1"] };
  t.match(await tlsExchange(edgePort, "GET / HTTP/1.1\r\n\r\n", http), /^HTTP\/1\.1 503 /);
});

t.test("connections that show nothing are bounded", async (t) => {
  const rig = await startRig(t, "n1");
  const { edgePort } = rig.configuration;
  const from = (localAddress: string) => {
    const socket = connect({ port: edgePort, host: "127.0.0.1", localAddress });
    t.teardown(() => socket.destroy());
    socket.on("error", () => undefined);
    return socket;
  };
  const closedAfterMs = (localAddress: string) => {
    const started = performance.now();
    const socket = from(localAddress).resume();
    return new Promise<number>((resolve) =>
      socket.on("close", () => resolve(performance.now() - started)),
    );
  };
  for (let i = 0; i < 70; i += 1) from("127.0.0.2");
  await until(() => rig.engine.stats().connections === 64, "as many as one source may have");
  t.ok((await closedAfterMs("127.0.0.2")) < 1_000, "one more of it is closed at once");
  t.match(await exchangeRaw(edgePort, "GET / HTTP/1.1\r\n\r\n"), /400/, "others are served");
  for (let i = 0; i < 7 * 64; i += 1) from(`127.0.0.${3 + Math.floor(i / 64)}`);
  await until(() => rig.engine.stats().connections === 512, "as many as there may be in all");
  t.ok((await closedAfterMs("127.0.0.20")) < 1_000, "one more is closed at once");
});

t.test("connections to the API are bounded per source", async (t) => {
  const apiSocketPath = join(shortDirectory(t), "api.sock");
  const api = createUnixServer((socket) => socket.resume());
  t.teardown(() => api.close());
  await new Promise<void>((resolve) => api.listen(apiSocketPath, resolve));
  const rig = await startRig(t, "n1", { apiSocketPath, isDaemonAttached: true });
  const { edgePort: port } = rig.configuration;
  let closed = 0;
  for (let i = 0; i < 128; i += 1) {
    const socket = tlsConnect({ port, host: "127.0.0.1", rejectUnauthorized: false });
    t.teardown(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.on("close", () => {
      closed += 1;
    });
    await new Promise((resolve) => socket.once("secureConnect", resolve));
  }
  t.equal(closed, 0);
  t.match(await tlsExchange(port, "GET / HTTP/1.1\r\n\r\n", {}), /^HTTP\/1\.1 503 /);
  t.equal(closed, 0, "those that are open stay");
});

t.test("young connections to libp2p are bounded, grown ones are not", async (t) => {
  const open = new Set<unknown>();
  const libp2p = await startTcpServer(t, (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  const rig = await startRig(t, "n1", {
    libp2p: { host: "127.0.0.1", port: libp2p },
    isDaemonAttached: true,
  });
  const { edgePort } = rig.configuration;
  const knock = (localAddress: string) => {
    const socket = connect({ port: edgePort, host: "127.0.0.1", localAddress });
    t.teardown(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.on("connect", () => socket.write("\x13/multistream/1.0.0\n"));
  };
  for (let i = 0; i < 60; i += 1) knock("127.0.0.2");
  await until(() => open.size === 48, "as many as one source may have");
  knock("127.0.0.3");
  await until(() => open.size === 49, "another source gets in");
  const retry = setInterval(() => knock("127.0.0.2"), 100);
  t.teardown(() => clearInterval(retry));
  await until(() => open.size > 60, "and the first one again, once its own have grown up");
});

t.test("requests that wait for a node that went silent go elsewhere", async (t) => {
  const near = await startRig(t, "n1");
  const far = await startRig(t, "n2");
  const hanging = await startBackend(t, "hanging", () => undefined);
  const good = await startBackend(t, "good");
  await far.route({ local: [lend("a", hanging.port)] });
  const port = await freePort();
  const { edgePort } = far.configuration;
  const gone = remote("a", "n2", edgePort);
  const here = {
    taskId: taskId("b"),
    target,
    via: { kind: "local", address: "127.0.0.1", port: good.port },
  } as const;
  await near.route({ publishedPorts: [published(port, [gone])] });
  const get = ask(port);
  const post = ask(port, { method: "POST", body: "x" });
  await until(() => hanging.seen.requests === 2, "both wait");
  const publishedPorts = [published(port, [here])];
  await near.route({ publishedPorts, silentNodes: [{ nodeId: nodeId("n2"), isLost: false }] });
  t.equal((await get).body.toString(), "good", "a GET is repeated");
  await until(() => far.engine.inUse(taskId("a")) === 1, "the GET's tunnel is closed");
  await near.route({ publishedPorts, silentNodes: [{ nodeId: nodeId("n2"), isLost: true }] });
  t.equal((await post).status, 502, "a POST waits, and fails only when the node is lost");
});
