import { Packr } from "msgpackr";
import t from "tap";
import { nodeId, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import { encodeConfiguration, simpleConfiguration } from "../../src/raft/configuration.ts";
import {
  decodeFeed,
  decodeFollow,
  encodeFeed,
  encodeFollow,
  type FeedFrame,
  maxFeedFrameBytes,
  maxRedirects,
} from "../../src/raft/feed-codec.ts";
import { RaftError } from "../../src/raft/index.ts";

const [a, b] = [nodeId("a"), nodeId("b")];
const configuration = simpleConfiguration({ voters: [a], learners: [b] });
const packr = new Packr({ useRecords: false });
const data = Uint8Array.of(1, 2);

const sign = { term: 4, leader: { node: a, ageMs: 120 }, heartbeatMs: 250 };
const previous = { index: 7, term: 3 };

const frames: readonly FeedFrame[] = [
  {
    kind: "entries",
    ...sign,
    previous,
    entries: [
      { index: 8, term: 3, kind: "normal", data },
      { index: 9, term: 4, kind: "empty", data: new Uint8Array() },
      {
        index: 10,
        term: 4,
        kind: "configuration",
        data: encodeConfiguration(configuration),
      },
    ],
    commitIndex: 12,
  },
  { kind: "entries", ...sign, leader: undefined, previous, entries: [], commitIndex: 7 },
  { kind: "snapshot", term: 4, meta: { index: 9, term: 4, configuration }, bytes: 1_000 },
  { kind: "redirect", nodes: [a, b] },
  { kind: "behind" },
  { kind: "diverged" },
];

t.test("every frame of a feed comes back as it was", async (t) => {
  for (const frame of frames) t.strictSame(decodeFeed(encodeFeed(frame)), frame, frame.kind);
  t.strictSame(decodeFollow(encodeFollow(previous)), previous);
});

const wireEntry = (index: number, term: number) => ["normal", index, term, data];
const entries = {
  kind: "entries",
  term: 4,
  leader: ["a", 0],
  heartbeatMs: 250,
  previous,
  entries: [wireEntry(8, 4)],
  commitIndex: 8,
};

const hostile: readonly { readonly name: string; readonly frame: unknown }[] = [
  { name: "no map", frame: 7 },
  { name: "an unknown kind", frame: { kind: "surprise" } },
  { name: "an extra field", frame: { kind: "behind", more: true } },
  { name: "entries with a gap", frame: { ...entries, entries: [wireEntry(9, 4)], commitIndex: 9 } },
  {
    name: "entries that go back a term",
    frame: { ...entries, entries: [wireEntry(8, 4), wireEntry(9, 3)], commitIndex: 9 },
  },
  { name: "an entry of a later term", frame: { ...entries, entries: [wireEntry(8, 5)] } },
  { name: "an entry that is not committed", frame: { ...entries, commitIndex: 7 } },
  { name: "a negative index", frame: { ...entries, previous: { index: -1, term: 0 } } },
  { name: "an index that is no integer", frame: { ...entries, commitIndex: 8.5 } },
  { name: "an entry without bytes", frame: { ...entries, entries: [["normal", 8, 4, "x"]] } },
  {
    name: "a broken configuration",
    frame: { ...entries, entries: [["configuration", 8, 4, Buffer.from([0xc1])]] },
  },
  { name: "no heartbeat", frame: { ...entries, heartbeatMs: 0 } },
  { name: "a heartbeat once a day", frame: { ...entries, heartbeatMs: 86_400_000 } },
  { name: "a leader without a name", frame: { ...entries, leader: ["", 0] } },
  { name: "a leader with a long name", frame: { ...entries, leader: ["a".repeat(129), 0] } },
  {
    name: "too many redirects",
    frame: { kind: "redirect", nodes: Array.from({ length: maxRedirects + 1 }, () => "a") },
  },
  {
    name: "a snapshot of a later term",
    frame: { kind: "snapshot", term: 4, meta: { index: 1, term: 5, configuration: [] }, bytes: 1 },
  },
  {
    name: "a snapshot with a wrong configuration",
    frame: { kind: "snapshot", term: 4, meta: { index: 1, term: 4, configuration: [1] }, bytes: 1 },
  },
];

t.test("what no feeder may say is refused", async (t) => {
  t.doesNotThrow(() => decodeFeed(packr.pack(entries)), "the frame that the others are made from");
  for (const { name, frame } of hostile) {
    t.throws(() => decodeFeed(packr.pack(frame)), { code: "malformed_message" }, name);
  }
  const tooLarge = new Uint8Array(maxFeedFrameBytes + 1);
  t.throws(() => decodeFeed(tooLarge), { code: "too_large" });
});

t.test("what no subscriber may say is refused", async (t) => {
  for (const frame of [1, {}, { kind: "follow" }, { kind: "follow", index: -1, term: 0 }]) {
    t.throws(() => decodeFollow(packr.pack(frame)), { code: "malformed_message" });
  }
  t.throws(() => decodeFollow(new Uint8Array(1_000)), { code: "too_large" });
});

t.test("bytes changed at random are read or refused, never anything else", async (t) => {
  const random = seededRandom(7);
  let refused = 0;
  for (let round = 0; round < 3_000; round += 1) {
    const frame = frames[round % frames.length];
    if (frame === undefined) throw new Error("there are frames");
    const bytes = encodeFeed(frame);
    for (let change = 0; change <= randomBelow(random, 3); change += 1) {
      bytes[randomBelow(random, bytes.length)] = randomBelow(random, 256);
    }
    const cut = randomBelow(random, 4) === 0 ? randomBelow(random, bytes.length) : bytes.length;
    try {
      decodeFeed(bytes.subarray(0, cut));
    } catch (error) {
      refused += 1;
      if (!(error instanceof RaftError)) throw error;
    }
  }
  t.ok(refused > 500, `${refused} refused`);
});
