import t, { type Test } from "tap";
import {
  Cell,
  nodeId,
  randomBelow,
  seededRandom,
  silentLogger,
  whenCell,
} from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import type { SnapshotOffer } from "../../src/raft/message.ts";
import { decodeLeaderRequest, encodeExchange } from "../../src/raft/proposal.ts";
import type { Snapshot } from "../../src/raft/raft-log.ts";
import {
  maxSnapshotBytes,
  SnapshotReceiver,
  SnapshotSource,
  snapshotChunkBytes,
} from "../../src/raft/snapshot-transfer.ts";

const a = nodeId("a");
const configuration = { voters: [a], votersOutgoing: [], learners: [], learnersNext: [] };

function snapshotOf(index: number, bytes: number): Snapshot {
  const random = seededRandom(index);
  const data = Uint8Array.from({ length: bytes }, () => randomBelow(random, 256));
  return { meta: { index, term: 3, configuration }, data };
}

function offerOf({ meta, data }: Snapshot): SnapshotOffer {
  return { kind: "snapshot_offer", term: 4, meta, bytes: data.byteLength };
}

/** A source and a receiver, with whatever the test puts between them. */
function connect(t: Test, source: () => Snapshot | undefined) {
  const stop = new AbortController();
  const isIdle = new Cell(false);
  t.teardown(() => stop.abort());
  const served = new SnapshotSource({ load: async () => source(), clock: systemClock });
  const offsets: number[] = [];
  const received: Snapshot[] = [];
  let waiting = Promise.withResolvers<Snapshot>();
  const between: { fate: (count: number) => "lost" | "refused" | "arrives" } = {
    fate: () => "arrives",
  };
  const receiver = new SnapshotReceiver({
    clock: systemClock,
    logger: { ...silentLogger, warn: () => isIdle.set(true) },
    signal: stop.signal,
    attemptMs: 1_000,
    request: async (_to, body) => {
      const request = decodeLeaderRequest(body);
      if (request.kind !== "snapshot_chunk") throw new Error(`unexpected ${request.kind}`);
      offsets.push(request.offset);
      const answer = await served.chunk(request, request.offset);
      const fate = between.fate(offsets.length);
      if (fate === "lost") throw new Error("the answer was lost");
      return encodeExchange(fate === "refused" ? { kind: "refused" } : answer);
    },
    onSnapshot: (_from, _term, snapshot) => {
      received.push(snapshot);
      waiting.resolve(snapshot);
      waiting = Promise.withResolvers();
    },
  });
  return { served, receiver, offsets, received, between, next: () => waiting.promise, isIdle };
}

t.test("a snapshot arrives in chunks; a lost one is asked for again, no other", async (t) => {
  const snapshot = snapshotOf(70, 3 * snapshotChunkBytes + 5);
  const { receiver, offsets, between, next } = connect(t, () => snapshot);
  between.fate = (count) => (count === 2 || count === 3 ? "lost" : "arrives");
  const arrived = next();
  receiver.offer(a, offerOf(snapshot));
  receiver.offer(a, offerOf(snapshot));
  t.ok(Buffer.from(snapshot.data).equals((await arrived).data));
  t.strictSame(
    offsets.map((offset) => offset / snapshotChunkBytes),
    [0, 1, 1, 1, 2, 3],
  );
});

t.test("a transfer that was given up goes on where it was with the next offer", async (t) => {
  const snapshot = snapshotOf(70, 3 * snapshotChunkBytes);
  const { receiver, offsets, between, next, isIdle } = connect(t, () => snapshot);
  between.fate = (count) => (count === 2 ? "refused" : "arrives");
  const arrived = next();
  receiver.offer(a, offerOf(snapshot));
  await whenCell(isIdle, (value) => value, { signal: AbortSignal.timeout(5_000) });
  receiver.offer(a, offerOf(snapshot));
  t.ok(Buffer.from(snapshot.data).equals((await arrived).data));
  t.equal(offsets.filter((offset) => offset === 0).length, 1, "the first chunk came once");
});

t.test("another snapshot takes the place of the one under way", async (t) => {
  const [old, fresh] = [snapshotOf(70, 2 * snapshotChunkBytes), snapshotOf(90, 100)];
  let newest = old;
  const { served, receiver, between, received, next } = connect(t, () => newest);
  between.fate = (count) => (count === 1 ? "lost" : "arrives");
  const arrived = next();
  receiver.offer(a, offerOf(old));
  newest = fresh;
  await served.offered({ newest: fresh.meta, firstIndex: 80 });
  receiver.offer(a, offerOf(fresh));
  t.equal((await arrived).meta.index, 90);
  t.equal(received.length, 1);
});

t.test("a snapshot too large to hold is refused before anything is fetched", (t) => {
  const snapshot = snapshotOf(70, 10);
  const { receiver, offsets } = connect(t, () => snapshot);
  receiver.offer(a, { ...offerOf(snapshot), bytes: maxSnapshotBytes + 1 });
  t.strictSame(offsets, []);
  t.end();
});

t.test("what is fetched stays, whatever else is asked for", async (t) => {
  const old = snapshotOf(70, 10);
  let loads = 0;
  const served = new SnapshotSource({
    clock: systemClock,
    load: async () => {
      loads += 1;
      return old;
    },
  });
  const log = { newest: { index: 90, term: 3 }, firstIndex: 60 };
  t.equal((await served.offered(log))?.meta.index, 70);
  for (let index = 80; index < 100; index += 1) {
    t.strictSame(await served.chunk({ index, term: 3 }, 0), { kind: "refused" });
  }
  t.equal((await served.offered(log))?.meta.index, 70, "it is on offer while it is fetched");
  t.match(await served.chunk(old.meta, 0), { kind: "chunk" });
  t.equal(loads, 1);
  await served.offered({ ...log, firstIndex: 71 });
  t.equal(loads, 2, "the log does not go on from it any more");
});
