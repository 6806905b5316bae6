import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import t, { type Test } from "tap";
import type { ClusterState } from "../../src/cluster/index.ts";
import { watchReachability } from "../../src/daemon/reachability.ts";
import { Cell, nodeId, silentLogger, whenCell } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { createMemoryNetwork } from "../../src/network/index.ts";
import { clusterNode, clusterOf } from "../builders.ts";

/** n2 in the agreed state, at this address; n1 is there to be asked. */
function watch(t: Test, address: string) {
  const stop = new AbortController();
  const hub = createMemoryNetwork();
  const base = clusterOf("n1", "n2");
  const nodes = new Map(base.nodes).set(nodeId("n2"), clusterNode("n2", { address }));
  const state = new Cell<ClusterState>({ ...base, nodes });
  const cells = ["n1", "n2"].map((name) =>
    watchReachability({
      self: nodeId(name),
      network: hub.join(nodeId(name)),
      state,
      clock: systemClock,
      logger: silentLogger,
      signal: stop.signal,
    }),
  );
  t.teardown(() => stop.abort());
  const own = cells[1];
  if (own === undefined) throw new Error("there are two");
  return own;
}

t.test("a node finds out that nobody can connect to it", async (t) => {
  const closed = createServer();
  closed.listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const cell = watch(t, `127.0.0.1:${port}`);
  const signal = AbortSignal.timeout(20_000);
  t.equal(await whenCell(cell, (isShut) => isShut, { signal }), true);
});

t.test("a node that is connected to is no such node", async (t) => {
  const server = createServer((socket) => socket.destroy());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const tried = once(server, "connection");
  const cell = watch(t, `127.0.0.1:${port}`);
  await tried;
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(cell.get(), false);
});
