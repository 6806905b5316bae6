import t from "tap";
import { type NodeId, nodeId, seededRandom, silentLogger } from "../../src/kernel/index.ts";
import type { PeerStream } from "../../src/network/index.ts";
import { memoryStreamPair } from "../../src/network/memory-stream.ts";
import { encodeConfiguration, simpleConfiguration } from "../../src/raft/configuration.ts";
import { decodeFeed, encodeFollow, type FeedFrame } from "../../src/raft/feed-codec.ts";
import { FeedServer, type FeedServerOptions } from "../../src/raft/feed-server.ts";
import { type Entry, MemoryLogStorage, Raft } from "../../src/raft/index.ts";

const self = nodeId("self");
const timing = { tickMs: 10, heartbeatTicks: 1, electionTicks: 20 };
const heartbeatTicks = timing.electionTicks / 4;
const entryBytes = 200_000;

/** A single voter whose log can grow. */
class Voter {
  readonly raft: Raft;
  readonly #storage = new MemoryLogStorage();

  constructor() {
    const data = encodeConfiguration(simpleConfiguration({ voters: [self], learners: [] }));
    const first: Entry = { index: 1, term: 1, kind: "configuration", data };
    const hardState = { term: 1, vote: self, commitIndex: 1 };
    this.#storage.saveNow({ hardState, entries: [first] });
    const storage = this.#storage;
    this.raft = new Raft({ self, storage, random: seededRandom(1), timing, appliedIndex: 0 });
    this.raft.tick();
    this.#settle();
  }

  /** Commits so many entries of {@link entryBytes} each. */
  commit(count: number): void {
    const data = Array.from({ length: count }, () => new Uint8Array(entryBytes));
    if (this.raft.propose(data).kind !== "appended") throw new Error("a leader appends");
    this.#settle();
  }

  #settle(): void {
    for (let ready = this.raft.takeReady(); ready !== undefined; ready = this.raft.takeReady()) {
      if (ready.persist === undefined) continue;
      const { hardState, entries } = ready.persist;
      this.#storage.saveNow(hardState === undefined ? { entries } : { hardState, entries });
      this.raft.persisted();
    }
  }
}

function startServer(overrides: Partial<FeedServerOptions> = {}) {
  const voter = new Voter();
  const stop = new AbortController();
  const server = new FeedServer({
    self,
    raft: voter.raft,
    feeder: () => undefined,
    snapshot: async () => undefined,
    timing,
    limits: { member: 2, relay: 1 },
    random: seededRandom(1),
    logger: silentLogger,
    signal: stop.signal,
    ...overrides,
  });
  /** A stream of a peer, its end at the server counted. */
  const connect = (name: string) => {
    const node: NodeId = nodeId(name);
    const pair = memoryStreamPair(node, self, () => Promise.resolve());
    const sent = { frames: 0, bytes: 0 };
    const counted: PeerStream = {
      send: async (frame, options) => {
        sent.frames += 1;
        sent.bytes += frame.byteLength;
        await pair.answerer.send(frame, options);
      },
      frames: () => pair.answerer.frames(),
      close: () => pair.answerer.close(),
      abort: (reason) => pair.answerer.abort(reason),
    };
    const served = server.serve(node, counted).catch((error: Error) => {
      pair.answerer.abort(error);
      return error;
    });
    const frames = pair.opener.frames()[Symbol.asyncIterator]();
    const next = async (): Promise<FeedFrame> => {
      const result = await frames.next();
      if (result.done === true) throw new Error("the feed ended");
      return decodeFeed(result.value);
    };
    const follow = (index: number, term: number) =>
      pair.opener.send(encodeFollow({ index, term }), { signal: stop.signal });
    return { stream: pair.opener, next, follow, served, sent };
  };
  return { voter, server, connect, stop };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test(
  "a subscriber gets what it lacks at once, then what is committed, then heartbeats",
  async (t) => {
    const { voter, server, connect } = startServer();
    const { follow, next } = connect("f");
    await follow(0, 0);
    t.match(await next(), { kind: "entries", previous: { index: 0 }, leader: { node: self } });
    voter.commit(1);
    server.wake();
    const frame = await next();
    t.match(frame, { previous: { index: 2 }, entries: [{ index: 3 }], commitIndex: 3 });
    for (let tick = 0; tick < heartbeatTicks; tick += 1) server.tick();
    t.match(await next(), { previous: { index: 3 }, entries: { length: 0 }, commitIndex: 3 });
  },
);

t.test("a child that takes nothing in costs one frame, and is cut off in the end", async (t) => {
  const { voter, server, connect } = startServer();
  const slow = connect("slow");
  const quick = connect("quick");
  await slow.follow(0, 0);
  await quick.follow(0, 0);
  let index = 0;
  const read = async (to: number) => {
    while (index < to) {
      const frame = await quick.next();
      if (frame.kind === "entries") index = frame.entries.at(-1)?.index ?? index;
    }
  };
  for (let round = 0; round < 10; round += 1) {
    voter.commit(4);
    server.wake();
    await read(voter.raft.commitIndex);
  }
  t.equal(index, voter.raft.commitIndex, "others are not held up");
  t.ok(slow.sent.bytes < 3 * 4 * entryBytes, `${slow.sent.bytes} bytes wait for the slow one`);
  t.ok(quick.sent.bytes > 40 * entryBytes);
  t.equal(server.children.length, 2);
  for (let tick = 0; tick <= 5 * timing.electionTicks; tick += 1) {
    server.tick();
    await turn();
  }
  t.strictSame(server.children, ["quick"]);
  await t.rejects(
    (async () => {
      for (;;) await slow.next();
    })(),
  );
});

t.test("who cannot be served is told why, in the last frame", async (t) => {
  const { server, connect } = startServer({ feeder: () => nodeId("above") });
  const cases = [
    { name: "ahead", at: [9, 1], answer: { kind: "behind" } },
    { name: "other", at: [1, 7], answer: { kind: "diverged" } },
    { name: "above", at: [0, 0], answer: { kind: "behind" } },
  ] as const;
  for (const { name, at, answer } of cases) {
    const { follow, next, stream, served } = connect(name);
    await follow(at[0], at[1]);
    t.strictSame(await next(), answer, name);
    await stream.close();
    await served;
  }
  for (const name of ["f", "g"]) {
    const { follow, next } = connect(name);
    await follow(0, 0);
    await next();
  }
  const late = connect("h");
  await late.follow(0, 0);
  const answer = await late.next();
  t.strictSame(answer.kind === "redirect" && [...answer.nodes].sort(), ["f", "g"]);
  t.strictSame(server.children, ["f", "g"]);
});

t.test("a stream without a subscription, or with a broken one, is ended", async (t) => {
  const { server, connect, stop } = startServer();
  const silent = connect("silent");
  for (let tick = 0; tick <= 5 * timing.electionTicks; tick += 1) server.tick();
  t.type(await silent.served, Error);
  const broken = connect("broken");
  await broken.stream.send(Buffer.from("hello"), { signal: stop.signal });
  t.match(await broken.served, { code: "malformed_message" });
  t.strictSame(server.children, []);
});

t.test("who subscribes anew takes the place of its own older subscription", async (t) => {
  const { server, connect } = startServer();
  const old = connect("f");
  await old.follow(0, 0);
  await old.next();
  const fresh = connect("f");
  await fresh.follow(2, 2);
  t.match(await fresh.next(), { kind: "entries", entries: { length: 0 } });
  await t.rejects(old.next());
  await turn();
  t.strictSame(server.children, ["f"]);
});
