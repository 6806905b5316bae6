import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import t, { type Test } from "tap";
import { networkProbes } from "../../src/agent/io/probes.ts";

async function listen(t: Test, server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

const address = "127.0.0.1";

t.test("[G1] http passes with a status from 200 to 399 and fails with others", async (t) => {
  const server = createServer((request, response) => {
    response.writeHead(Number(request.url?.slice(1))).end("body");
  });
  const port = await listen(t, server);
  const { signal } = new AbortController();
  for (const [status, kind] of [
    [200, "passed"],
    [302, "passed"],
    [404, "failed"],
    [500, "failed"],
  ] as const) {
    const result = await networkProbes.http({ address, port, path: `/${status}` }, { signal });
    t.equal(result.kind, kind, String(status));
  }
});

t.test("[G1] tcp passes when somebody listens and fails when nobody does", async (t) => {
  const server = createTcpServer((socket) => socket.end());
  const port = await listen(t, server);
  const { signal } = new AbortController();
  t.strictSame(await networkProbes.tcp({ address, port }, { signal }), { kind: "passed" });
  server.close();
  await once(server, "close");
  t.match(await networkProbes.tcp({ address, port }, { signal }), {
    kind: "failed",
    message: /ECONNREFUSED/,
  });
});

t.test("a server that never answers fails at the abort", async (t) => {
  const port = await listen(
    t,
    createTcpServer((socket) => socket.unref()),
  );
  const stopping = new AbortController();
  const asking = networkProbes.http({ address, port, path: "/" }, { signal: stopping.signal });
  stopping.abort(new Error("It took too long."));
  t.match(await asking, { kind: "failed" });
});
