import t from "tap";
import { randomBelow, seededRandom, whenCell } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { NetworkError } from "../../src/network/index.ts";
import { startNodes } from "./real-nodes.ts";

const { signal } = new AbortController();

t.test(
  "connections that break at any moment fail what was on them, and nothing else",
  async (t) => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on("unhandledRejection", note);
    process.on("uncaughtException", note);
    t.teardown(() => {
      process.off("unhandledRejection", note);
      process.off("uncaughtException", note);
    });
    const random = seededRandom(11);
    const { nodes, cut, heal } = await startNodes(t, 4);
    const until = systemClock.monotonic() + 2_500;
    const results = { answered: 0, failed: 0 };
    const attempt = async (work: () => Promise<unknown>) => {
      while (systemClock.monotonic() < until) {
        try {
          await work();
          results.answered += 1;
        } catch (error) {
          if (!(error instanceof NetworkError)) throw error;
          results.failed += 1;
          await systemClock.sleep(10, { signal });
        }
      }
    };
    const pick = () => {
      const [a, b] = [randomBelow(random, 4), 1 + randomBelow(random, 3)];
      const [from, to] = [nodes[a], nodes[(a + b) % 4]];
      if (from === undefined || to === undefined) throw new Error("no such node");
      return { from, to };
    };
    for (const node of nodes) {
      node.handle("/t/1", async (_, body) => body);
      node.subscribe("news", () => undefined);
      node.handleStream("/t/2", async (_, stream) => {
        for await (const frame of stream.frames()) await stream.send(frame, { signal });
        await stream.close();
      });
    }
    const requests = attempt(async () => {
      const { from, to } = pick();
      await from.request(to.self, "/t/1", new Uint8Array(5_000), { signal });
    });
    const streams = attempt(async () => {
      const { from, to } = pick();
      const stream = await from.openStream(to.self, "/t/2", { signal });
      for (let count = 0; count < 3; count += 1) {
        await stream.send(new Uint8Array(300_000), { signal });
      }
      await stream.close();
      for await (const _ of stream.frames());
    });
    const messages = attempt(async () => {
      await pick().from.publish("news", new Uint8Array(100));
      await systemClock.sleep(5, { signal });
    });
    const faults = (async () => {
      while (systemClock.monotonic() < until) {
        const { from, to } = pick();
        cut(from.self, to.self);
        await systemClock.sleep(randomBelow(random, 60), { signal });
        heal(from.self, to.self);
      }
    })();
    await Promise.all([requests, streams, messages, faults]);
    t.ok(results.answered > 20 && results.failed > 0, JSON.stringify(results));
    await Promise.all(
      nodes.map(({ connected }) =>
        whenCell(connected, (peers) => peers.size === 3, { signal: AbortSignal.timeout(20_000) }),
      ),
    );
    await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
    t.same(unhandled, []);
  },
);
