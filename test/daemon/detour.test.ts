import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import t, { type Test } from "tap";
import { startDetours } from "../../src/daemon/detour.ts";
import { nodeId, silentLogger } from "../../src/kernel/index.ts";
import { createMemoryNetwork } from "../../src/network/index.ts";

/** Two nodes; what arrives at the second one's port goes to `serve`. */
async function twoNodes(t: Test, serve: (socket: Socket) => void) {
  const hub = createMemoryNetwork();
  const edge = createServer({ allowHalfOpen: true }, serve);
  edge.listen(0, "127.0.0.1");
  await once(edge, "listening");
  const { port } = edge.address() as AddressInfo;
  // A unix socket's path has to be short.
  const directory = mkdtempSync(join(tmpdir(), "detour-"));
  const [a, b] = [nodeId("n1"), nodeId("n2")];
  const parts = [a, b].map((id) => ({
    network: hub.join(id),
    path: join(directory, `${id}.sock`),
  }));
  const detours = await Promise.all(
    parts.map(({ network, path }) =>
      startDetours({
        network,
        socketPath: path,
        edge: { host: "127.0.0.1", port },
        logger: silentLogger,
      }),
    ),
  );
  t.teardown(async () => {
    for (const each of detours) await each[Symbol.asyncDispose]();
    for (const { network } of parts) await network[Symbol.asyncDispose]();
    edge.close();
    rmSync(directory, { recursive: true });
  });
  const dial = (text: string | Buffer) => {
    const socket = connect({ path: join(directory, "n1.sock"), allowHalfOpen: true });
    socket.on("error", () => undefined);
    socket.write(text);
    return socket;
  };
  return { dial, cut: () => hub.cut(a, b) };
}

t.test("bytes go both ways, each direction with its own end", async (t) => {
  const { dial } = await twoNodes(t, (socket) => {
    let all = "";
    socket.on("data", (chunk) => {
      all += chunk;
    });
    socket.once("end", () => socket.end(`got ${all}`));
  });
  const socket = dial("n2\nhello");
  socket.end(" there");
  t.equal((await buffer(socket)).toString(), "got hello there");
});

t.test("much, to one that reads slowly, and all of it back", async (t) => {
  const { dial } = await twoNodes(t, (socket) => socket.pipe(socket));
  const sent = Buffer.alloc(6 * 2 ** 20, "0123456789abcdef-");
  const socket = dial("n2\n");
  socket.end(sent);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.ok((await buffer(socket)).equals(sent));
});

t.test("no detour leads to a node that is not connected, or from what names none", async (t) => {
  const { dial, cut } = await twoNodes(t, (socket) => socket.end("never"));
  t.equal((await buffer(dial("n9\n"))).length, 0);
  t.equal((await buffer(dial("x".repeat(1_000)))).length, 0, "no line");
  cut();
  t.equal((await buffer(dial("n2\n"))).length, 0);
});

t.test("a detour ends with the link that carries it", async (t) => {
  const arrived = Promise.withResolvers<Socket>();
  const { dial, cut } = await twoNodes(t, (socket) => {
    socket.on("error", () => undefined);
    socket.write("hi");
    arrived.resolve(socket);
  });
  const socket = dial("n2\n");
  await once(socket, "data");
  const far = await arrived.promise;
  const closed = Promise.all([once(socket, "end"), once(far.resume(), "end")]);
  cut();
  await closed;
  socket.destroy();
  far.destroy();
});
