import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  ApiClient,
  type ConsoleFrame,
  ConsoleLink,
  type ConsoleRequest,
  decodeConsoleFrame,
  encodeConsoleFrame,
  type Handlers,
} from "../../src/api/index.ts";
import { socketTransport } from "../../src/api/io/http-transport.ts";
import { startApiServer } from "../../src/api/io/server.ts";
import { silentLogger, taskId } from "../../src/kernel/index.ts";
import { systemClock as clock } from "../../src/kernel/io/system.ts";

const { signal } = new AbortController();
const request: ConsoleRequest = {
  ...{ kind: "exec", taskId: taskId("t1"), command: ["sh"], environment: {} },
  ...{ tty: false, stdin: true },
};

/** The real server and transport; behind them something that says everything back. */
async function start(t: Test, isAllowed = true) {
  const directory = mkdtempSync(join(tmpdir(), "skein-console-"));
  const socketPath = join(directory, "api.sock");
  const requests: ConsoleRequest[] = [];
  const server = await startApiServer({
    handlers: {} as Handlers, // No other route is asked for.
    socketPath,
    authorize: () => isAllowed,
    consoles: {
      clock,
      open: async (wanted, client) => {
        requests.push(wanted);
        for (let frame = await client.next(); frame !== undefined; frame = await client.next()) {
          if (frame.kind === "input_end") break;
          if (frame.kind !== "input") continue;
          await client.send({ ...frame, kind: "output", stream: "stdout" }, { signal });
        }
        await client.send({ kind: "exited", exitCode: 4 }, { signal });
        await client.close();
      },
    },
    logger: silentLogger,
  });
  t.teardown(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });
  const client = new ApiClient(socketTransport(socketPath));
  const openLink = async () => new ConsoleLink(await client.openConsole({ signal }), clock);
  return { socketPath, requests, client, openLink, server };
}

t.test("a console goes over an upgraded connection, both ways and to its end", async (t) => {
  const { requests, openLink } = await start(t);
  const link = await openLink();
  await link.send({ kind: "request", request }, { signal });
  const sent = Buffer.alloc(3_000_000, "skein ");
  const sending = (async () => {
    for (let at = 0; at < sent.length; at += 60_000) {
      await link.send({ kind: "input", bytes: sent.subarray(at, at + 60_000) }, { signal });
    }
    await link.send({ kind: "input_end" }, { signal });
  })();
  const parts: Uint8Array[] = [];
  let last: ConsoleFrame | undefined;
  for (let frame = await link.next(); frame !== undefined; frame = await link.next()) {
    if (frame.kind === "output") parts.push(frame.bytes);
    last = frame;
  }
  await sending;
  t.ok(Buffer.concat(parts).equals(sent));
  t.same(last, { kind: "exited", exitCode: 4 });
  t.same(requests, [request]);
  await link.close();
});

t.test("nobody without a token gets a console", async (t) => {
  const { client } = await start(t, false);
  await t.rejects(client.openConsole({ signal }), {
    code: "unauthorized",
    message: /Give a token/,
  });
});

t.test("what is no console is refused, and harms nobody", async (t) => {
  const { socketPath, openLink } = await start(t);
  const upgrade = (path: string, protocol: string) =>
    `POST ${path} HTTP/1.1\r\nHost: skein\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`;
  const answerTo = async (...parts: readonly (string | Uint8Array)[]) => {
    const socket = connect(socketPath);
    for (const part of parts) socket.write(part);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString("latin1");
  };
  t.match(await answerTo(upgrade("/v1/console", "websocket")), /^HTTP\/1\.1 404 .*not_found/s);
  t.match(await answerTo(upgrade("/v1/status", "skein-console/1")), /^HTTP\/1\.1 404 /);
  const good = upgrade("/v1/console", "skein-console/1");
  const huge = await answerTo(good, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1));
  t.match(huge, /announces a frame of 4294967295 bytes/);
  const early = Uint8Array.of(0, 0, 0, 1, 0x05);
  t.match(await answerTo(good, early), /signal's name/);
  t.match(await answerTo(good, Uint8Array.of(0, 0, 0, 1, 0x11)), /begins with a request/);
  const link = await openLink();
  await link.send({ kind: "request", request }, { signal });
  await link.send({ kind: "input_end" }, { signal });
  t.same(await link.next(), { kind: "exited", exitCode: 4 });
  await link.close();
});

t.test("the end of the server ends its consoles", async (t) => {
  const { openLink, server } = await start(t);
  const link = await openLink();
  await link.send({ kind: "request", request }, { signal });
  await link.send({ kind: "input", bytes: Buffer.from("x") }, { signal });
  t.match(await link.next(), { kind: "output" });
  await server[Symbol.asyncDispose]();
  await t.rejects(async () => {
    if ((await link.next()) === undefined) throw new Error("it ended");
  });
  link.abort(new Error("over"));
});

t.test("frames say the same after the way there, and what is too large is refused", async (t) => {
  const frames: readonly ConsoleFrame[] = [
    {
      kind: "request",
      request: { ...request, container: "web", size: { columns: 1, rows: 65_535 } },
    },
    { kind: "resize", size: { columns: 300, rows: 200 } },
    { kind: "exited", exitCode: -1 },
    { kind: "error", code: "busy", message: "later", exitCode: 126 },
    { kind: "signal", name: "SIGUSR1" },
    ...(["input_end", "alive", "ready", "detached"] as const).map((kind) => ({ kind })),
  ];
  for (const frame of frames) t.same(decodeConsoleFrame(encodeConsoleFrame(frame)), frame);
  const input = { kind: "input", bytes: new Uint8Array(64 * 1024 + 1) } as const;
  t.throws(() => decodeConsoleFrame(encodeConsoleFrame(input)), { code: "invalid" });
  const resize = { kind: "resize", size: { columns: 0, rows: 5 } } as const;
  t.throws(() => decodeConsoleFrame(encodeConsoleFrame(resize)), { code: "invalid" });
  t.throws(() => decodeConsoleFrame(new Uint8Array(300_000).fill(1)), { code: "invalid" });
  const none = { ...request, command: [] };
  t.throws(() => decodeConsoleFrame(encodeConsoleFrame({ kind: "request", request: none })), {
    code: "invalid",
  });
});
