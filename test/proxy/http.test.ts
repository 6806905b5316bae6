import { createHash, randomBytes } from "node:crypto";
import { Agent } from "node:http";
import { connect, type Socket } from "node:net";
import t from "tap";
import { taskId } from "../../src/kernel/index.ts";
import {
  ask,
  exchangeRaw,
  freePort,
  local,
  published,
  startBackend,
  startRig,
  startTcpServer,
  until,
} from "./fixtures/rig.ts";

t.test("300 requests spread over three replicas, and keep connections on both sides", async (t) => {
  const rig = await startRig(t);
  const names = ["a", "b", "c"];
  const backends = await Promise.all(names.map((name) => startBackend(t, name)));
  const port = await freePort();
  const endpoints = backends.map((each, i) => local(names[i] ?? "", each.port));
  await rig.route({ publishedPorts: [published(port, endpoints)] });
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  t.teardown(() => agent.destroy());
  await Promise.all(Array.from({ length: 300 }, () => ask(port, { agent })));
  for (const { seen } of backends) {
    t.ok(seen.requests >= 85 && seen.requests <= 115, `${seen.requests} of 300`);
    t.ok(seen.connections <= 4, `over ${seen.connections} connections`);
  }
  t.equal(rig.engine.stats().requests, 300);
  t.ok(rig.engine.stats().connections <= 4, "four connections of the client");
});

t.test("forwarding fields are the proxy's own, and hop-by-hop fields stay behind", async (t) => {
  const rig = await startRig(t);
  let seen: NodeJS.Dict<string | string[]> = {};
  const { port: target } = await startBackend(t, "a", (request, response) => {
    seen = request.headers;
    response.setHeader("Keep-Alive", "timeout=9");
    response.setHeader("X-Own", "1");
    response.end();
  });
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
  const answer = await ask(port, {
    headers: {
      "X-Forwarded-For": "6.6.6.6",
      Forwarded: "for=6.6.6.6",
      Connection: "close, X-Hop",
      "X-Hop": "1",
      "X-Kept": "2",
    },
  });
  t.equal(answer.headers["x-own"], "1");
  t.equal(answer.headers["keep-alive"], undefined);
  t.match(seen, {
    host: "a.example",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "http",
    "x-forwarded-host": "a.example",
    "x-kept": "2",
  });
  t.equal(seen["x-hop"], undefined);
  t.equal(seen["forwarded"], undefined);
});

t.test("6 MB go both ways unchanged, with a length and in chunks", async (t) => {
  const rig = await startRig(t);
  const { port: target } = await startBackend(t, "echo", (request, response) => {
    if (request.headers["content-length"] !== undefined) {
      response.setHeader("Content-Length", request.headers["content-length"]);
    }
    request.pipe(response);
  });
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
  const body = randomBytes(6 * 1024 * 1024);
  const sum = createHash("sha256").update(body).digest("hex");
  const ways = [
    { "Content-Length": `${body.length}` },
    { "Transfer-Encoding": "chunked" },
    { "Content-Length": `${body.length}`, Expect: "100-continue" },
  ];
  for (const headers of ways) {
    const answer = await ask(port, { method: "POST", body, headers });
    t.equal(answer.status, 200);
    t.equal(
      createHash("sha256").update(answer.body).digest("hex"),
      sum,
      Object.keys(headers).join(),
    );
  }
});

t.test("a slow client holds the replica back instead of filling memory", async (t) => {
  const rig = await startRig(t);
  let sent = 0;
  const total = 64 * 1024 * 1024;
  const { port: target } = await startBackend(t, "big", (_request, response) => {
    response.setHeader("Content-Length", total);
    const more = () => {
      while (sent < total) {
        sent += 65_536;
        if (!response.write(Buffer.alloc(65_536))) {
          response.once("drain", more);
          return;
        }
      }
      response.end();
    };
    more();
  });
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  t.teardown(() => socket.destroy());
  socket.pause();
  socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => sent > 0, "the replica begins");
  let before = -1;
  while (before !== sent) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  t.ok(sent < total / 2, `it stopped after ${sent} bytes`);
  let received = 0;
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  socket.resume();
  await until(() => received > total, "all of it arrives once the client reads");
});

t.test("a slow replica holds the client back", async (t) => {
  const rig = await startRig(t);
  const held: Socket[] = [];
  const target = await startTcpServer(t, (socket) => {
    socket.pause();
    held.push(socket);
  });
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)], "http")] });
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  t.teardown(() => socket.destroy());
  const total = 64 * 1024 * 1024;
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`);
  socket.write(Buffer.alloc(total));
  await until(() => held.length === 1, "the replica is connected");
  let before = -1;
  while (before !== socket.bytesWritten - socket.writableLength) {
    before = socket.bytesWritten - socket.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  t.ok(rig.engine.inUse(taskId("a")) === 1);
  const memory = process.memoryUsage().arrayBuffers;
  t.ok(memory < 3 * total, `${memory} bytes of buffers, of which the client holds ${total}`);
  let received = 0;
  held[0]?.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  held[0]?.resume();
  await until(() => received > total, "all of it arrives once the replica reads");
});

t.test("WebSocket messages are echoed through, and the tunnel counts as in use", async (t) => {
  const rig = await startRig(t);
  const target = await startTcpServer(t, (socket) => {
    socket.once("data", (head: Buffer) => {
      const key = /sec-websocket-key: (\S+)/i.exec(head.toString())?.[1] ?? "";
      const accept = createHash("sha1")
        .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest("base64");
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
          `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      socket.on("data", (frame: Buffer) => {
        const isClose = frame[0] === 0x88;
        socket.write(unmasked(frame), () => isClose && socket.end());
      });
      socket.on("end", () => socket.end());
    });
  });
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
  const client = new WebSocket(`ws://127.0.0.1:${port}/chat`);
  const echoed = Promise.withResolvers<unknown>();
  client.onmessage = (event) => echoed.resolve(event.data);
  client.onerror = () => echoed.reject(new Error("The WebSocket failed."));
  client.onopen = () => client.send("honk");
  t.equal(await echoed.promise, "honk");
  t.equal(rig.engine.inUse(taskId("a")), 1);
  client.close();
  await until(() => rig.engine.inUse(taskId("a")) === 0, "the tunnel is closed");
});

/** The server's echo of one short masked frame. */
function unmasked(frame: Buffer): Buffer {
  const length = (frame[1] ?? 0) & 0x7f;
  const payload = Buffer.from(frame.subarray(6, 6 + length));
  for (let i = 0; i < length; i += 1) payload[i] = (payload[i] ?? 0) ^ (frame[2 + (i % 4)] ?? 0);
  return Buffer.concat([Buffer.from([frame[0] ?? 0, length]), payload]);
}

t.test("no request fails because one replica refuses", async (t) => {
  const rig = await startRig(t);
  const good = await startBackend(t, "good");
  const closed = await freePort();
  const port = await freePort();
  await rig.route({
    publishedPorts: [published(port, [local("a", closed), local("b", good.port)])],
  });
  for (const method of ["GET", "POST"]) {
    const answers = await Promise.all(
      Array.from({ length: 50 }, () =>
        ask(port, { method, ...(method === "POST" && { body: "x" }) }),
      ),
    );
    t.ok(
      answers.every(({ status, body }) => status === 200 && body.toString() === "good"),
      method,
    );
  }
  t.ok(rig.engine.stats().retries > 0);
});

t.test("a replica that dies with a GET in hand is replaced by another one", async (t) => {
  const rig = await startRig(t);
  const good = await startBackend(t, "good");
  const dying = await startTcpServer(t, (socket) => socket.once("data", () => socket.destroy()));
  const port = await freePort();
  await rig.route({
    publishedPorts: [published(port, [local("a", dying), local("b", good.port)])],
  });
  for (let i = 0; i < 6; i += 1) t.equal((await ask(port)).status, 200);
  await rig.route({ publishedPorts: [published(port, [local("a", dying)])] });
  t.equal((await ask(port, { method: "POST", body: "x" })).status, 502, "a POST is sent once only");
});

t.test("replicas that leave the table under load cost no request", async (t) => {
  const rig = await startRig(t);
  const slow = (name: string) =>
    startBackend(t, name, (_request, response) => setTimeout(() => response.end(name), 5));
  const [a, b] = await Promise.all([slow("a"), slow("b")]);
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", a.port), local("b", b.port)])] });
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  t.teardown(() => agent.destroy());
  const failures: unknown[] = [];
  const statuses = new Map<number, number>();
  let isOver = false;
  const load = Array.from({ length: 16 }, async (_, i) => {
    while (!isOver) {
      const options = i % 2 === 0 ? { agent } : { agent, method: "POST", body: "x" };
      const answer = await ask(port, options).catch((error: unknown) => failures.push(error));
      if (typeof answer !== "number") {
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      }
    }
  });
  await until(() => b.seen.requests > 100, "both are under load");
  await rig.route({ publishedPorts: [published(port, [local("a", a.port)])] });
  await until(() => rig.engine.inUse(taskId("b")) === 0, "its requests have ended");
  b.close();
  const left = a.seen.requests;
  await until(() => a.seen.requests > left + 200, "the other one goes on alone");
  isOver = true;
  await Promise.all(load);
  t.strictSame(failures, []);
  t.strictSame([...statuses.keys()], [200]);
});

t.test("hosts and paths lead to their services; what leads nowhere is said plainly", async (t) => {
  const rig = await startRig(t);
  const [a, b] = await Promise.all([startBackend(t, "a"), startBackend(t, "b")]);
  const at = (host: string, path: string, endpoints: ReturnType<typeof local>[]) => ({
    host,
    path,
    backend: published(0, endpoints).backend,
  });
  await rig.route({
    hostRoutes: [
      at("a.example", "/", [local("a", a.port)]),
      at("a.example", "/b", [local("b", b.port)]),
      at("*.wild.example", "/", [local("b", b.port)]),
      at("empty.example", "/", []),
      at("dead.example", "/", [local("d", await freePort())]),
    ],
  });
  const { httpPort } = rig.configuration;
  const get = async (host: string, path = "/") => {
    const { status, body } = await ask(httpPort, { host, path });
    return `${status} ${body}`;
  };
  t.equal(await get("a.example"), "200 a");
  t.equal(await get("A.example:80", "/b/c?d"), "200 b");
  t.equal(await get("x.wild.example"), "200 b");
  t.match(await get("nobody.example"), /^404 .*nothing is published here for nobody\.example/is);
  t.match(await get("empty.example"), /^503 .*shop\/web has no replica that can take requests/s);
  t.match(await get("dead.example"), /^502 .*No replica of shop\/web accepted a connection/s);
});

t.test("malformed requests are answered and never reach a replica", async (t) => {
  const rig = await startRig(t);
  const target = await startBackend(t, "a");
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target.port)], "http")] });
  const both =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
  t.match(await exchangeRaw(port, `${both}0\r\n\r\n`), /^HTTP\/1\.1 400 /);
  t.match(await exchangeRaw(port, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), /^HTTP\/1\.1 405 /);
  t.match(await exchangeRaw(port, "nonsense\r\n\r\n"), /^HTTP\/1\.1 400 /);
  t.equal(target.seen.requests, 0);
  const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  t.match(await exchangeRaw(port, `${chunked}1\r\nx\r\n+2\r\n`), /^HTTP\/1\.1 400 /);
});

t.test("pipelined requests are answered in order, HTTP/1.0 ones with a close", async (t) => {
  const rig = await startRig(t);
  const { port: target } = await startBackend(t, "a", (request, response) => {
    setTimeout(() => response.end(request.url), request.url === "/1" ? 50 : 0);
  });
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)], "http")] });
  const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
  const text = await exchangeRaw(port, get("/1") + get("/2") + get("/3", "Connection: close\r\n"));
  t.strictSame(text.match(/^\/\d/gm), ["/1", "/2", "/3"]);
  const old = await exchangeRaw(port, "GET /old HTTP/1.0\r\n\r\n");
  t.match(old, /^HTTP\/1\.1 200 /);
  t.match(old, /Connection: close\r\n\r\n\/old$/i);
  t.notMatch(old, /chunked/i);
});

/** Answers that a replica must not give, each over a fresh connection. */
const badAnswers: readonly (readonly [name: string, text: string])[] = [
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"],
  [
    "length and chunked",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
  ],
  ["no HTTP", "220 mail.example ESMTP\r\n\r\n"],
  ["an upgrade that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
];

t.test("an answer that is not valid HTTP is a 502", async (t) => {
  const rig = await startRig(t);
  for (const [name, text] of badAnswers) {
    const target = await startTcpServer(t, (socket) =>
      socket.once("data", () => socket.write(text)),
    );
    const port = await freePort();
    await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
    const { status, body } = await ask(port);
    t.equal(status, 502, name);
    t.match(body.toString(), /not valid HTTP/);
  }
});

t.test("bytes beyond an answer end the connection and reach nobody", async (t) => {
  const rig = await startRig(t);
  let connections = 0;
  const target = await startTcpServer(t, (socket) => {
    connections += 1;
    const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    socket.on("data", () =>
      socket.write(`${answer}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`),
    );
  });
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
  for (let i = 0; i < 3; i += 1) t.equal((await ask(port)).body.toString(), "ok");
  t.equal(connections, 3);
});

t.test("an answer that breaks off is not passed off as whole", async (t) => {
  const rig = await startRig(t);
  const target = await startTcpServer(t, (socket) =>
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")),
  );
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
  await t.rejects(ask(port));
});

t.test("an answer without a length ends with its connection", async (t) => {
  const rig = await startRig(t);
  const target = await startTcpServer(t, (socket) =>
    socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\n\r\nuntil the end")),
  );
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
  const { body, headers } = await ask(port);
  t.equal(body.toString(), "until the end");
  t.equal(headers["connection"], "close");
});

t.test("idle connections to replicas that left the table are closed", async (t) => {
  const rig = await startRig(t);
  let open = 0;
  const target = await startTcpServer(t, (socket) => {
    open += 1;
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      open -= 1;
    });
    socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  });
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
  await ask(port);
  t.equal(open, 1);
  t.equal(rig.engine.inUse(taskId("a")), 0, "idle is not in use");
  await rig.route({ publishedPorts: [published(port, [])] });
  await until(() => open === 0, "the idle connection is closed");
});
