import t from "tap";
import { ConsoleLink, consoleChunks } from "../../src/api/index.ts";
import type { ClusterState } from "../../src/cluster/index.ts";
import { Consoles } from "../../src/daemon/consoles.ts";
import { Cell, nodeId, silentLogger, whenCell } from "../../src/kernel/index.ts";
import { systemClock as clock } from "../../src/kernel/io/system.ts";
import type { Libp2pNetwork } from "../../src/network/io/libp2p-network.ts";
import { memoryStreamPair } from "../../src/network/memory-stream.ts";
import { MemoryMachine, MemoryRuntime } from "../../src/runtime/index.ts";
import { clusterOf, task } from "../builders.ts";
import { containerRequest, taskTemplate } from "../contracts/container-runtime.contract.ts";
import { startNodes } from "../network/real-nodes.ts";

const { signal } = new AbortController();

t.test("[D8] what is piped through a command on another node comes back whole", async (t) => {
  const { nodes } = await startNodes(t, 2);
  const [near, far] = nodes;
  if (near === undefined || far === undefined) throw new Error("there are two");
  await whenCell(near.connected, (peers) => peers.has(far.self), { signal });
  const request = containerRequest(taskTemplate({ image: "none" }));
  const web = task({ id: request.taskId, nodeId: far.self });
  const state = new Cell<ClusterState>({ ...clusterOf(), tasks: new Map([[web.id, web]]) });
  const machine = new MemoryMachine({ clock });
  const consolesOf = (network: Libp2pNetwork) => {
    const { self } = network;
    const runtime = new MemoryRuntime({ machine, nodeId: self, clusterId: "c1" });
    const shared = { state, clock, logger: silentLogger };
    return { runtime, consoles: new Consoles({ self, network, runtime, ...shared }) };
  };
  await consolesOf(far).runtime.run(request, { signal });
  const pair = memoryStreamPair(nodeId("client"), near.self, async () => undefined);
  const client = new ConsoleLink(pair.opener, clock);
  const serving = consolesOf(near).consoles.open(
    { kind: "exec", taskId: web.id, command: ["cat"], stdin: true, tty: false, environment: {} },
    new ConsoleLink(pair.answerer, clock),
    { signal },
  );
  const sent = Buffer.alloc(20_000_000, "0123456789abcdef\n");
  const sending = (async () => {
    for (const bytes of consoleChunks(sent))
      await client.send({ kind: "input", bytes }, { signal });
    await client.send({ kind: "input_end" }, { signal });
  })();
  const parts: Uint8Array[] = [];
  let last = await client.next();
  for (let frame = last; frame !== undefined; frame = await client.next()) {
    last = frame;
    if (frame.kind !== "output") continue;
    parts.push(frame.bytes);
    // A reader that is slower than everything before it.
    await clock.sleep(1, { signal });
  }
  t.same(last, { kind: "exited", exitCode: 0 });
  const got = Buffer.concat(parts);
  t.ok(got.equals(sent), `${got.length} of ${sent.length} bytes came back`);
  await client.close();
  await Promise.all([sending, serving]);
});
