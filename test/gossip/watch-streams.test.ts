import t, { type Test } from "tap";
import { WatchStreams } from "../../src/gossip/watch-streams.ts";
import { type NodeId, nodeId } from "../../src/kernel/index.ts";
import { createMemoryNetwork, type PeerNetwork } from "../../src/network/index.ts";

const watcher = nodeId("watcher");
const watched = nodeId("watched");
const protocol = "/skein/watch/1";
const ping = Buffer.from("ping");

/** A watcher and one that it watches, and what comes of it. */
function stage(t: Test, serve?: (network: PeerNetwork) => void) {
  const stopping = new AbortController();
  t.teardown(() => stopping.abort(new Error("the test ends")));
  const network = createMemoryNetwork();
  const ends = { watcher: network.join(watcher), watched: network.join(watched) };
  const opened: NodeId[] = [];
  const answers: string[] = [];
  const broken: NodeId[] = [];
  const watch = (end: PeerNetwork) =>
    new WatchStreams({
      network: {
        ...{ self: end.self, connected: end.connected },
        drop: (peer) => end.drop(peer),
        request: (...args) => end.request(...args),
        handle: (...args) => end.handle(...args),
        publish: (...args) => end.publish(...args),
        subscribe: (...args) => end.subscribe(...args),
        handleStream: (...args) => end.handleStream(...args),
        openStream: (to, ...args) => {
          opened.push(to);
          return end.openStream(to, ...args);
        },
        [Symbol.asyncDispose]: () => end[Symbol.asyncDispose](),
      },
      answer: (from, body) => Buffer.from(`${from} said ${Buffer.from(body)}`),
      onAnswer: (_, answer) => answers.push(Buffer.from(answer).toString()),
      onBroken: (node) => broken.push(node),
      signal: stopping.signal,
    });
  const streams = watch(ends.watcher);
  if (serve === undefined) watch(ends.watched);
  else serve(ends.watched);
  const ask = (signal: AbortSignal = stopping.signal) => streams.ask(watched, ping, signal);
  return { ...ends, network, streams, ask, opened, answers, broken, stopping };
}

t.test("many pings go over one stream", async (t) => {
  const { ask, opened, answers, broken } = stage(t);
  for (let round = 0; round < 20; round += 1) await ask();
  t.strictSame(opened, [watched]);
  t.strictSame(
    answers,
    Array.from({ length: 20 }, () => "watcher said ping"),
  );
  t.strictSame(broken, []);
});

t.test("what breaks is told at once, and the next ping opens another stream", async (t) => {
  const { ask, watcher: end, opened, broken, answers } = stage(t);
  await ask();
  end.drop(watched);
  await new Promise(setImmediate);
  t.strictSame(broken, [watched]);
  await ask();
  t.equal(opened.length, 2);
  t.equal(answers.length, 2);
});

t.test("a stream that breaks under a ping costs one more try, not the ping", async (t) => {
  let streams = 0;
  const { ask, opened, broken, answers } = stage(t, (network) =>
    network.handleStream(protocol, async (_, stream) => {
      streams += 1;
      const isFirst = streams === 1;
      let heard = 0;
      for await (const frame of stream.frames()) {
        heard += 1;
        if (isFirst && heard === 2) throw new Error("this one breaks");
        await stream.send(frame, { signal: new AbortController().signal });
      }
    }),
  );
  await ask();
  await ask();
  t.equal(opened.length, 2);
  t.equal(answers.length, 2);
  t.strictSame(broken, [], "it was asked anyway");
});

t.test("whom nothing leads to is unreachable", async (t) => {
  const { ask, network, broken } = stage(t);
  network.cut(watcher, watched);
  await t.rejects(ask(), { code: "unreachable" });
  t.strictSame(broken, []);
});

t.test("a stream on which nothing is answered is given up after some pings", async (t) => {
  let isDeaf = true;
  const { ask, opened } = stage(t, (network) =>
    network.handleStream(protocol, async (_, stream) => {
      const isThisDeaf = isDeaf;
      for await (const frame of stream.frames()) {
        if (!isThisDeaf) await stream.send(frame, { signal: new AbortController().signal });
      }
    }),
  );
  for (let round = 0; round < 5; round += 1) {
    const patience = new AbortController();
    const asked = ask(patience.signal);
    setImmediate(() => patience.abort(new Error("too late")));
    await t.rejects(asked, { message: "too late" });
  }
  t.equal(opened.length, 1, "a late answer would still count");
  isDeaf = false;
  await ask();
  t.equal(opened.length, 2);
});

t.test("a member watches over one stream at a time", async (t) => {
  const { watcher: end, stopping } = stage(t);
  const { signal } = stopping;
  const first = await end.openStream(watched, protocol, { signal });
  const second = await end.openStream(watched, protocol, { signal });
  const firstEnds = t.rejects(Array.fromAsync(first.frames()), { code: "unreachable" });
  await second.send(ping, { signal });
  for await (const answer of second.frames()) {
    t.equal(Buffer.from(answer).toString(), "watcher said ping");
    break;
  }
  await firstEnds;
});

t.test("a frame that is no ping ends the stream", async (t) => {
  const { watcher: end, stopping } = stage(t);
  const { signal } = stopping;
  const stream = await end.openStream(watched, protocol, { signal });
  const ended = t.rejects(Array.fromAsync(stream.frames()), { code: "unreachable" });
  await stream.send(new Uint8Array(2_000), { signal });
  await ended;
});

t.test("whoever is watched no more has no stream", async (t) => {
  const { ask, streams, opened, broken } = stage(t);
  await ask();
  streams.release(watched);
  await new Promise(setImmediate);
  t.strictSame(broken, [], "that is no sign of its end");
  await ask();
  t.equal(opened.length, 2);
});
