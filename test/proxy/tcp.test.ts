import { connect } from "node:net";
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

t.test("an auto port serves HTTP and plain TCP, whoever speaks first", async (t) => {
  const rig = await startRig(t);
  const web = await startBackend(t, "web");
  const echo = await startTcpServer(t, (socket) => socket.pipe(socket));
  const mail = await startTcpServer(t, (socket) => socket.end("220 mail.example ESMTP\r\n"));
  const [webPort, echoPort, mailPort] = await Promise.all([freePort(), freePort(), freePort()]);
  await rig.route({
    publishedPorts: [
      published(webPort, [local("a", web.port)]),
      published(echoPort, [local("b", echo)]),
      published(mailPort, [local("c", mail)]),
    ],
  });
  t.equal((await ask(webPort)).body.toString(), "web");
  const socket = connect(echoPort, "127.0.0.1");
  let received = "";
  socket.on("data", (chunk: Buffer) => {
    received += chunk.toString();
  });
  socket.write("\x16\x03\x01 not HTTP");
  await until(() => received === "\x16\x03\x01 not HTTP", "it is echoed");
  t.equal(rig.engine.inUse(taskId("b")), 1, "an open relay is in use");
  socket.end("PRI * HTTP/2.0");
  await until(() => received.endsWith("PRI * HTTP/2.0"), "a half-closed relay still answers");
  await until(() => rig.engine.inUse(taskId("b")) === 0, "and ends");
  const greeting = connect(mailPort, "127.0.0.1");
  let greeted = "";
  greeting.on("data", (chunk: Buffer) => {
    greeted += chunk.toString();
  });
  await until(() => greeted.startsWith("220 "), "the server speaks first");
  greeting.destroy();
});

t.test("HTTP/2 with prior knowledge is relayed as it is", async (t) => {
  const rig = await startRig(t);
  let seen = "";
  const target = await startTcpServer(t, (socket) =>
    socket.on("data", (chunk: Buffer) => {
      seen += chunk.toString();
      socket.end();
    }),
  );
  const port = await freePort();
  await rig.route({ publishedPorts: [published(port, [local("a", target)])] });
  await exchangeRaw(port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  t.equal(seen, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
});

t.test("tcp forces a relay, http forces HTTP", async (t) => {
  const rig = await startRig(t);
  let seen = "";
  const target = await startTcpServer(t, (socket) =>
    socket.once("data", (chunk: Buffer) => {
      seen = chunk.toString();
      socket.end("as it came");
    }),
  );
  const [tcp, http] = await Promise.all([freePort(), freePort()]);
  await rig.route({
    publishedPorts: [
      published(tcp, [local("a", target)], "tcp"),
      published(http, [local("a", target)], "http"),
    ],
  });
  const text = "GET / HTTP/1.1\r\nX-Forwarded-For: kept\r\n\r\n";
  t.equal(await exchangeRaw(tcp, text), "as it came");
  t.equal(seen, text);
  t.match(await exchangeRaw(http, "\x01\x02\x03\r\n\r\n"), /^HTTP\/1\.1 400 /);
});

t.test("a relay goes to the next replica when one refuses", async (t) => {
  const rig = await startRig(t);
  const good = await startTcpServer(t, (socket) => socket.pipe(socket));
  const closed = await freePort();
  const port = await freePort();
  await rig.route({
    publishedPorts: [published(port, [local("a", closed), local("b", good)], "tcp")],
  });
  for (let i = 0; i < 10; i += 1) {
    const socket = connect(port, "127.0.0.1");
    let received = "";
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString();
    });
    socket.write("honk");
    await until(() => received === "honk", "it is echoed");
    socket.destroy();
  }
  t.ok(rig.engine.stats().retries > 0);
});

t.test("a removed port stops accepting, and lets its connections finish", async (t) => {
  const rig = await startRig(t);
  const echo = await startTcpServer(t, (socket) => socket.pipe(socket));
  const [port, other] = await Promise.all([freePort(), freePort()]);
  await rig.route({
    publishedPorts: [
      published(port, [local("a", echo)], "tcp"),
      published(other, [local("a", echo)], "tcp"),
    ],
  });
  const socket = connect(port, "127.0.0.1");
  let received = "";
  socket.on("data", (chunk: Buffer) => {
    received += chunk.toString();
  });
  socket.write("one ");
  await until(() => received === "one ", "it is relayed");
  await rig.route({ publishedPorts: [published(other, [local("a", echo)], "tcp")] });
  t.equal(await exchangeRaw(port, "x"), "", "nobody listens there any more");
  socket.write("two");
  await until(() => received === "one two", "the open connection goes on");
  t.equal(rig.engine.inUse(taskId("a")), 1);
  socket.end();
  await until(() => rig.engine.inUse(taskId("a")) === 0, "until it ends by itself");
});

t.test("a port taken by another process is a problem, and is bound once it is free", async (t) => {
  const rig = await startRig(t);
  const good = await startBackend(t, "good");
  const other = await startBackend(t, "other process");
  const free = await freePort();
  await rig.route({
    publishedPorts: [
      published(other.port, [local("a", good.port)]),
      published(free, [local("a", good.port)]),
    ],
  });
  t.match(rig.engine.problems, [{ port: other.port, message: /taken by another process/ }]);
  t.equal((await ask(free)).body.toString(), "good", "the other ports are served");
  other.close();
  await until(() => rig.engine.problems.length === 0, "the port is bound when it is free");
  t.equal((await ask(other.port)).body.toString(), "good");
});
