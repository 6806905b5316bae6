import type { Test } from "tap";
import { CodedError, type NodeId, whenCell } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import type { PeerNetwork, PeerStream } from "../../src/network/index.ts";

/** Nodes of one cluster, all of them members, and a way to part them. */
export type ContractNetwork = {
  readonly nodes: readonly PeerNetwork[];
  cut(a: NodeId, b: NodeId): void;
  heal(a: NodeId, b: NodeId): void;
};

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);
const bytes = (from: string) => new TextEncoder().encode(from);
const never = new AbortController().signal;
const soon = () => AbortSignal.timeout(20_000);
const echo = async (stream: PeerStream) => {
  for await (const frame of stream.frames()) await stream.send(frame, { signal: never });
  await stream.close();
};

/** What every PeerNetwork has to do. `start` gives connected nodes and tears them down with the test. */
export function testPeerNetwork(
  t: Test,
  start: (t: Test, count: number) => Promise<ContractNetwork>,
): void {
  async function pair(t: Test) {
    const { nodes, ...network } = await start(t, 2);
    const [a, b] = nodes;
    if (a === undefined || b === undefined) throw new Error("two nodes are needed");
    await whenCell(a.connected, (peers) => peers.has(b.self), { signal: soon() });
    await whenCell(b.connected, (peers) => peers.has(a.self), { signal: soon() });
    return { a, b, ...network };
  }

  t.test("a request is answered, and the answerer knows who asks", async (t) => {
    const { a, b } = await pair(t);
    b.handle("/t/1", async (from, body) => bytes(`${from === a.self} ${text(body)}`));
    const asked = ["one", "two", "three"].map((body) =>
      a.request(b.self, "/t/1", bytes(body), { signal: soon() }),
    );
    t.same((await Promise.all(asked)).map(text), ["true one", "true two", "true three"]);
    t.same(text(await a.request(b.self, "/t/1", bytes(""), { signal: soon() })), "true ");
  });

  t.test("a failure of the handler reaches the asker with its code and message", async (t) => {
    const { a, b } = await pair(t);
    b.handle("/t/1", async (_, body) => {
      if (text(body) === "coded") throw new CodedError("no_leader", "Nobody leads.");
      if (text(body) === "big") return new Uint8Array(2 ** 20 + 1);
      throw new Error("something else");
    });
    const ask = (body: string) => a.request(b.self, "/t/1", bytes(body), { signal: soon() });
    await t.rejects(ask("coded"), {
      code: "refused",
      remoteCode: "no_leader",
      message: "Nobody leads.",
    });
    await t.rejects(ask("other"), { code: "refused", remoteCode: "failed" });
    await t.rejects(ask("big"), { code: "refused", remoteCode: "too_large" });
  });

  t.test("what nobody serves is refused as not served", async (t) => {
    const { a, b } = await pair(t);
    const refused = { code: "refused", remoteCode: "not_served" };
    await t.rejects(a.request(b.self, "/none/1", bytes(""), { signal: soon() }), refused);
    await t.rejects(a.openStream(b.self, "/none/1", { signal: soon() }), refused);
  });

  t.test("what is over its limit is not sent", async (t) => {
    const { a, b } = await pair(t);
    b.handleStream("/t/1", (_, stream) => echo(stream));
    b.handle("/t/2", async (_, body) => body);
    const largest = new Uint8Array(2 ** 20);
    const answer = await a.request(b.self, "/t/2", largest, { signal: soon() });
    t.equal(answer.byteLength, largest.byteLength);
    const over = { code: "too_large" };
    await t.rejects(
      a.request(b.self, "/t/2", new Uint8Array(2 ** 20 + 1), { signal: soon() }),
      over,
    );
    const stream = await a.openStream(b.self, "/t/1", { signal: soon() });
    await t.rejects(stream.send(new Uint8Array(4 * 2 ** 20 + 1), { signal: soon() }), over);
    await stream.close();
    await t.rejects(a.publish("news", new Uint8Array(16 * 2 ** 10 + 1)), over);
  });

  t.test("an asker that gives up is told why", async (t) => {
    const { a, b } = await pair(t);
    // The timers of timeouts do not keep a process alive.
    const alive = setInterval(() => undefined, 1_000);
    t.teardown(() => clearInterval(alive));
    const asked = Promise.withResolvers<void>();
    b.handle("/t/1", async () => {
      asked.resolve();
      return await new Promise<never>(() => undefined);
    });
    await t.rejects(a.request(b.self, "/t/1", bytes(""), { signal: AbortSignal.timeout(50) }), {
      code: "timed_out",
    });
    const stop = new AbortController();
    const request = a.request(b.self, "/t/1", bytes(""), { signal: stop.signal });
    await asked.promise;
    stop.abort(new Error("changed my mind"));
    await t.rejects(request, { message: "changed my mind" });
  });

  t.test("a stream carries frames of every size both ways, to its end", async (t) => {
    const { a, b } = await pair(t);
    b.handleStream("/t/1", (_, stream) => echo(stream));
    const stream = await a.openStream(b.self, "/t/1", { signal: soon() });
    const frames = stream.frames()[Symbol.asyncIterator]();
    for (const size of [0, 1, 70_000, 4 * 2 ** 20]) {
      await stream.send(new Uint8Array(size).fill(size % 251), { signal: soon() });
      const { value } = await frames.next();
      t.ok(
        value?.byteLength === size && value.every((octet: number) => octet === size % 251),
        `${size}`,
      );
    }
    await stream.close();
    t.equal((await frames.next()).done, true);
  });

  t.test("a reader that does not read makes the sender wait, and misses nothing", async (t) => {
    const { a, b } = await pair(t);
    const count = 40;
    const read = Promise.withResolvers<void>();
    const all = Promise.withResolvers<number[]>();
    b.handleStream("/t/1", async (_, stream) => {
      await read.promise;
      const seen: number[] = [];
      for await (const frame of stream.frames()) seen.push((frame[0] ?? 0) * frame.byteLength);
      await stream.close();
      all.resolve(seen);
    });
    const stream = await a.openStream(b.self, "/t/1", { signal: soon() });
    const size = 2 ** 20;
    let sent = 0;
    const sending = (async () => {
      for (; sent < count; sent += 1) {
        await stream.send(new Uint8Array(size).fill(sent), { signal: soon() });
      }
      await stream.close();
    })();
    let before = -1;
    while (before !== sent) {
      before = sent;
      await systemClock.sleep(200, { signal: never });
    }
    t.ok(sent < count / 2, `${sent} of ${count} frames were sent to a reader that does not read`);
    read.resolve();
    await sending;
    t.same(
      await all.promise,
      Array.from({ length: count }, (_, index) => index * size),
    );
  });

  t.test("much that goes both ways at once reaches a slow reader whole", async (t) => {
    const { a, b } = await pair(t);
    b.handleStream("/t/1", (_, stream) => echo(stream));
    const stream = await a.openStream(b.self, "/t/1", { signal: soon() });
    const count = 300;
    const size = 2 ** 16;
    const sending = (async () => {
      for (let sent = 0; sent < count; sent += 1) {
        await stream.send(new Uint8Array(size).fill(sent), { signal: soon() });
      }
      await stream.close();
    })();
    const seen: number[] = [];
    for await (const frame of stream.frames()) {
      if (frame.byteLength === size) seen.push(frame[0] ?? -1);
      await systemClock.sleep(1, { signal: never });
    }
    await sending;
    t.same(
      seen,
      Array.from({ length: count }, (_, index) => index % 256),
    );
  });

  t.test("a waiting sender can give up", async (t) => {
    const { a, b } = await pair(t);
    b.handleStream("/t/1", () => new Promise<never>(() => undefined));
    const stream = await a.openStream(b.self, "/t/1", { signal: soon() });
    const stop = new AbortController();
    const sending = (async () => {
      for (;;) await stream.send(new Uint8Array(2 ** 20), { signal: stop.signal });
    })();
    stop.abort(new Error("enough"));
    await t.rejects(sending, { message: "enough" });
    stream.abort(new Error("done"));
  });

  t.test("an aborted stream fails on both sides", async (t) => {
    const { a, b } = await pair(t);
    const other = Promise.withResolvers<unknown>();
    b.handleStream("/t/1", async (_, stream) => {
      await stream.send(bytes("hello"), { signal: never });
      try {
        for await (const _ of stream.frames());
        other.resolve("ended");
      } catch (error) {
        other.resolve(error);
      }
    });
    const stream = await a.openStream(b.self, "/t/1", { signal: soon() });
    const frames = stream.frames()[Symbol.asyncIterator]();
    t.equal(text((await frames.next()).value), "hello");
    const next = frames.next();
    stream.abort(new Error("no longer wanted"));
    await t.rejects(next, { message: "no longer wanted" });
    t.match(await other.promise, { code: "unreachable" });
  });

  t.test("a stream breaks when its handler fails", async (t) => {
    const { a, b } = await pair(t);
    b.handleStream("/t/1", async () => {
      throw new Error("malformed");
    });
    const stream = await a.openStream(b.self, "/t/1", { signal: soon() });
    await t.rejects(stream.frames()[Symbol.asyncIterator]().next(), { code: "unreachable" });
  });

  t.test("a message reaches all, also those who are only linked through others", async (t) => {
    const { nodes, cut } = await start(t, 3);
    const [a, b, c] = nodes;
    if (a === undefined || b === undefined || c === undefined) throw new Error("three are needed");
    cut(a.self, c.self);
    const isLinked = (from: PeerNetwork, to: PeerNetwork[]) =>
      whenCell(
        from.connected,
        (peers) => peers.size === to.length && to.every(({ self }) => peers.has(self)),
        { signal: soon() },
      );
    await Promise.all([isLinked(a, [b]), isLinked(b, [a, c]), isLinked(c, [b])]);
    const heard = [b, c].map((node) => {
      const { promise, resolve } = Promise.withResolvers<[NodeId, string]>();
      node.subscribe("news", (from, body) => resolve([from, text(body)]));
      return promise;
    });
    a.subscribe("news", () => t.fail("an author does not hear itself"));
    // There is no guarantee for one message, least of all while topics are still being told.
    const again = setInterval(() => {
      a.publish("news", bytes("snow")).catch((error) => t.error(error));
    }, 50);
    t.teardown(() => clearInterval(again));
    t.same(await Promise.all(heard), [
      [a.self, "snow"],
      [a.self, "snow"],
    ]);
    clearInterval(again);
  });

  t.test("a node that is alone can publish", async (t) => {
    const { nodes } = await start(t, 1);
    await t.resolves(async () => await nodes[0]?.publish("news", bytes("anybody?")));
  });

  t.test("a cut peer is unreachable at once, and found again when the cut heals", async (t) => {
    const { a, b, cut, heal } = await pair(t);
    const asked = Promise.withResolvers<void>();
    b.handle("/slow/1", async () => {
      asked.resolve();
      return await new Promise<never>(() => undefined);
    });
    b.handle("/t/1", async () => bytes("yes"));
    b.handleStream("/t/2", () => new Promise<never>(() => undefined));
    const stream = await a.openStream(b.self, "/t/2", { signal: soon() });
    const frame = stream.frames()[Symbol.asyncIterator]().next();
    const request = a.request(b.self, "/slow/1", bytes(""), { signal: soon() });
    const gone = { code: "unreachable" };
    const failing = Promise.all([t.rejects(request, gone), t.rejects(frame, gone)]);
    await asked.promise;
    cut(a.self, b.self);
    await failing;
    for (const { connected } of [a, b]) {
      await whenCell(connected, (peers) => peers.size === 0, { signal: soon() });
    }
    await t.rejects(a.request(b.self, "/t/1", bytes(""), { signal: soon() }), gone);
    await t.rejects(a.openStream(b.self, "/t/2", { signal: soon() }), gone);
    heal(a.self, b.self);
    await whenCell(a.connected, (peers) => peers.has(b.self), { signal: soon() });
    t.equal(text(await a.request(b.self, "/t/1", bytes(""), { signal: soon() })), "yes");
  });

  t.test("a closed network is gone for itself and for others", async (t) => {
    const { a, b } = await pair(t);
    b.handle("/t/1", async () => bytes("yes"));
    await b[Symbol.asyncDispose]();
    await whenCell(a.connected, (peers) => peers.size === 0, { signal: soon() });
    t.equal(b.connected.get().size, 0);
    const gone = { code: "unreachable" };
    await t.rejects(a.request(b.self, "/t/1", bytes(""), { signal: soon() }), gone);
    await t.rejects(b.request(a.self, "/t/1", bytes(""), { signal: soon() }), gone);
    await b[Symbol.asyncDispose]();
  });
}
