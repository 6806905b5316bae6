import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { whenCell } from "../../src/kernel/index.ts";
import { startNodes } from "./real-nodes.ts";

t.test("a connection of which only one side knows that it is lost", async (t) => {
  const { nodes, swallow } = await startNodes(t, 2);
  const [a, b] = nodes;
  if (a === undefined || b === undefined) throw new Error("there are two");
  for (const node of nodes) node.handle("/echo", async (_, body) => body);
  const signal = AbortSignal.timeout(30_000);
  const ask = () =>
    a.request(b.self, "/echo", Uint8Array.of(7), { signal: AbortSignal.timeout(2_000) });
  await whenCell(a.connected, (peers) => peers.has(b.self), { signal });
  await ask();
  // Old enough not to be taken for one of two that were opened at once.
  await sleep(6_000);
  swallow(a.self, b.self);
  await t.rejects(ask(), { code: "timed_out" }, "it still looks open");
  b.drop(a.self);
  await whenCell(b.connected, (peers) => !peers.has(a.self), { signal });
  await whenCell(b.connected, (peers) => peers.has(a.self), { signal });
  // The first one may still go out on the old connection, and is told that this one is lost.
  const answer = await ask().catch((error: unknown) => {
    t.match(error, { code: "unreachable" });
    return ask();
  });
  t.strictSame([...answer], [7], "the one that b has opened anew is used");
});
