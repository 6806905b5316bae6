import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { createMemoryNetwork } from "../../src/network/index.ts";
import { testPeerNetwork } from "./peer-network.contract.ts";

const { signal } = new AbortController();
const names = ["a", "b", "c"].map(nodeId);

t.test("in memory", async (t) => {
  testPeerNetwork(t, async (_, count) => {
    const network = createMemoryNetwork();
    const nodes = names.slice(0, count).map((name) => network.join(name));
    return { nodes, cut: network.cut, heal: network.heal };
  });
});

t.test("in memory, with delay", async (t) => {
  testPeerNetwork(t, async (_, count) => {
    const network = createMemoryNetwork({
      clock: systemClock,
      delayMs: (from, to) => (from < to ? 3 : 1),
    });
    const nodes = names.slice(0, count).map((name) => network.join(name));
    return { nodes, cut: network.cut, heal: network.heal };
  });
});

t.test("delay is the injected clock's, each way", async (t) => {
  const slept: number[] = [];
  const clock = { ...systemClock, sleep: async (ms: number) => void slept.push(ms) };
  const delayMs = (from: string) => (from === "a" ? 20 : 30);
  const network = createMemoryNetwork({ clock, delayMs });
  const [a, b] = [network.join(nodeId("a")), network.join(nodeId("b"))];
  b.handle("/t/1", async (_, body) => body);
  await a.request(b.self, "/t/1", new Uint8Array(), { signal });
  t.same(slept, [20, 30]);
});

t.test("a node that left can join again, with a new life", async (t) => {
  const network = createMemoryNetwork();
  const a = network.join(nodeId("a"));
  const first = network.join(nodeId("b"));
  first.handle("/t/1", async () => new Uint8Array([1]));
  t.throws(() => network.join(nodeId("b")), { message: /already/ });
  await first[Symbol.asyncDispose]();
  const second = network.join(nodeId("b"));
  t.same([...a.connected.get()], ["b"]);
  await t.rejects(a.request(second.self, "/t/1", new Uint8Array(), { signal }), {
    code: "refused",
    remoteCode: "not_served",
  });
});
