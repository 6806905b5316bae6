import { Packr } from "msgpackr";
import t from "tap";
import { decodeSync, encode } from "../../src/gossip/message.ts";
import { nodeId } from "../../src/kernel/index.ts";
import { decodeFeed, encodeFeed, maxFeedFrameBytes } from "../../src/raft/feed-codec.ts";
import type { Entry } from "../../src/raft/index.ts";
import {
  decodeFrame,
  encodeFrame,
  encodeMessage,
  maxFrameBytes,
} from "../../src/raft/message-codec.ts";
import { decodeLeaderRequest, encodeExchange, encodeProposal } from "../../src/raft/proposal.ts";

/**
 * A frame costs its sender nothing to make. What it costs the reader must not be more than what
 * the largest good frame does, which the sender could send as well.
 */
const maxRatio = 3;
const runs = 4;
const mebibyte = 2 ** 20;
const packr = new Packr({ useRecords: false });

const lastEntry = { index: 7, term: 3 };
const small = encodeProposal({ id: "s", data: new Uint8Array() });
const entries = (count: number): readonly Entry[] =>
  Array.from({ length: count }, (_, order) => ({
    kind: "normal",
    index: 8 + order,
    term: 3,
    data: small,
  }));
const append = {
  kind: "append_request",
  term: 4,
  previous: lastEntry,
  entries: entries(30_000),
  commitIndex: 9,
} as const;

const decoders: readonly {
  readonly name: string;
  readonly maxBytes: number;
  readonly decode: (bytes: Uint8Array) => unknown;
  readonly good: Uint8Array;
}[] = [
  {
    name: "a frame of messages",
    maxBytes: maxFrameBytes,
    decode: decodeFrame,
    good: encodeFrame(Array.from({ length: 6 }, () => encodeMessage(append))),
  },
  {
    name: "a frame of a feed",
    maxBytes: maxFeedFrameBytes,
    decode: decodeFeed,
    good: encodeFeed({
      kind: "entries",
      term: 4,
      leader: undefined,
      heartbeatMs: 100,
      previous: lastEntry,
      entries: entries(65_000),
      commitIndex: 100_000,
    }),
  },
  {
    name: "a request to the leader",
    maxBytes: mebibyte,
    decode: decodeLeaderRequest,
    good: encodeExchange({
      kind: "propose",
      proposals: Array.from({ length: 4_000 }, () =>
        encodeProposal({ id: "s", data: new Uint8Array(240) }),
      ),
    }),
  },
  {
    name: "an exchange of gossip",
    maxBytes: mebibyte,
    decode: decodeSync,
    good: encode({
      claims: Array.from({ length: 9_000 }, (_, order) => ({
        nodeId: nodeId(`node ${order}`),
        status: "alive",
        incarnation: order,
      })),
      digest: [],
      records: [],
    }),
  },
];

/** Frames of `bytes` that are many things, or promise to be. */
function hostileFrames(bytes: number): readonly (readonly [string, Uint8Array])[] {
  const filled = (byte: number, start: readonly number[]) => {
    const frame = new Uint8Array(bytes).fill(byte);
    frame.set(start);
    return frame;
  };
  const count = bytes - 5;
  const list = [0xdd, count >>> 24, (count >> 16) & 0xff, (count >> 8) & 0xff, count & 0xff];
  const wrongEntries = packr.pack(
    Array.from({ length: 15 }, () => ({
      ...append,
      entries: Array.from({ length: 65_000 }, () => 0),
    })),
  );
  return [
    ["zeros", filled(0, [])],
    ["a list of zeros", filled(0, list)],
    ["a list of empty maps", filled(0x80, list)],
    ["a list of empty lists", filled(0x90, list)],
    ["lists within each other", filled(0x91, [])],
    ["maps within each other", filled(0x81, [])],
    ["a list of four thousand million", filled(0xc0, [0xdd, 0xff, 0xff, 0xff, 0xff])],
    ["many wrong entries", wrongEntries.subarray(0, bytes)],
    ["many strange names", packr.pack([{ kind: "timeout_now", ...strangeNames(50_000) }])],
    // Just below what passes the count of values.
    ["a million empty maps", packr.pack(Array.from({ length: 1_000_000 }, () => ({})))],
    ["250,000 empty maps", packr.pack(Array.from({ length: 250_000 }, () => ({})))],
  ];
}

function strangeNames(count: number): Readonly<Record<string, number>> {
  return Object.fromEntries(Array.from({ length: count }, (_, order) => [`name ${order}`, 0]));
}

function shortestMs(run: () => unknown): number {
  const times = Array.from({ length: runs }, () => {
    const start = performance.now();
    try {
      run();
    } catch {
      // Refused, which is right.
    }
    return performance.now() - start;
  });
  return Math.min(...times);
}

for (const { name, maxBytes, decode, good } of decoders) {
  t.test(
    `${name}: nothing of its size takes longer to refuse than a good one to read`,
    async (t) => {
      t.ok(decode(good));
      // As if the good one were as large as can be.
      const goodMs = (shortestMs(() => decode(good)) * maxBytes) / good.byteLength;
      for (const [what, frame] of hostileFrames(maxBytes)) {
        t.throws(() => decode(frame), what);
        const ratio = shortestMs(() => decode(frame)) / goodMs;
        t.ok(ratio < maxRatio, `${what}: ${ratio.toFixed(2)}`);
      }
    },
  );
}

t.test("what is wrong with a frame is said in one short line", async (t) => {
  const frame = packr.pack([{ kind: "timeout_now", term: 1, ...strangeNames(10_000) }]);
  t.throws(() => decodeFrame(frame), { code: "malformed_message", message: /^.{1,250}$/s });
});
