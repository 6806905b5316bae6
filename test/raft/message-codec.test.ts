import { Packr } from "msgpackr";
import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { encodeConfiguration, simpleConfiguration } from "../../src/raft/configuration.ts";
import type { PeerMessage } from "../../src/raft/index.ts";
import {
  decodeFrame,
  encodeFrame,
  encodeMessage,
  maxFrameBytes,
} from "../../src/raft/message-codec.ts";
import {
  decodeLeaderRequest,
  decodeProposal,
  encodeExchange,
  encodeProposal,
} from "../../src/raft/proposal.ts";

const configuration = simpleConfiguration({ voters: [nodeId("a")], learners: [nodeId("b")] });
const lastEntry = { index: 7, term: 3 };
const messages: readonly PeerMessage[] = [
  { kind: "pre_vote_request", term: 4, lastEntry },
  { kind: "pre_vote_response", term: 4, isGranted: true },
  { kind: "vote_request", term: 4, lastEntry, isTransfer: false },
  { kind: "vote_response", term: 4, isGranted: false },
  {
    kind: "append_request",
    term: 4,
    previous: lastEntry,
    entries: [
      { index: 8, term: 3, kind: "normal", data: Uint8Array.of(1, 2, 3) },
      { index: 9, term: 4, kind: "configuration", data: encodeConfiguration(configuration) },
      { index: 10, term: 4, kind: "empty", data: new Uint8Array() },
    ],
    commitIndex: 2 ** 40,
  },
  { kind: "append_accepted", term: 4, matchIndex: 9 },
  { kind: "append_rejected", term: 4, rejectedIndex: 9, hint: lastEntry },
  { kind: "heartbeat", term: 4, commitIndex: 9, readContext: 1 },
  { kind: "heartbeat_response", term: 4, readContext: 1 },
  {
    kind: "snapshot_offer",
    term: 4,
    meta: { ...lastEntry, configuration },
    bytes: 9,
  },
  { kind: "timeout_now", term: 4 },
  { kind: "read_request", round: "session:1" },
  { kind: "read_answer", round: "session:1", index: 9 },
  { kind: "read_answer", round: "session:2", index: null },
];

t.test("every message comes out as it went in", async (t) => {
  const decoded = decodeFrame(encodeFrame(messages.map(encodeMessage)));
  t.equal(decoded.length, messages.length);
  for (const [position, message] of messages.entries()) {
    t.same(decoded[position], message, message.kind);
  }
});

t.test("what a peer should not send is refused", async (t) => {
  const packr = new Packr({ useRecords: false });
  const [, , , , append] = messages;
  if (append?.kind !== "append_request") throw new Error("the fifth is an append");
  const gap = { ...append, previous: { index: 5, term: 3 } };
  const broken = { index: 8, term: 3, kind: "configuration" as const, data: Uint8Array.of(1) };
  const cases: readonly (readonly [string, Uint8Array])[] = [
    ["no msgpack", Uint8Array.of(0xc1, 1, 2)],
    ["no list", packr.pack({ kind: "timeout_now", term: 1 })],
    ["an unknown kind", packr.pack([{ kind: "please_lead", term: 1 }])],
    ["a negative term", packr.pack([{ kind: "timeout_now", term: -1 }])],
    ["a fractional term", packr.pack([{ kind: "timeout_now", term: 1.5 }])],
    ["a key too many", packr.pack([{ kind: "timeout_now", term: 1, force: true }])],
    ["a long name", packr.pack([{ kind: "read_request", round: "x".repeat(65) }])],
    ["entries with a gap", encodeFrame([encodeMessage(gap)])],
    ["a broken configuration", encodeFrame([encodeMessage({ ...append, entries: [broken] })])],
  ];
  for (const [name, frame] of cases) {
    t.throws(() => decodeFrame(frame), { code: "malformed_message" }, name);
  }
  t.throws(() => decodeFrame(new Uint8Array(maxFrameBytes + 1)), { code: "too_large" });
  const wrong = packr.pack([{ ...append, entries: Array.from({ length: 10_000 }, () => 0) }]);
  t.throws(() => decodeFrame(wrong), { message: /^.{1,200}$/ }, "in one short line");
});

t.test("a proposal carries its id, and a broken one is refused", async (t) => {
  const proposal = { id: "session:1", data: Uint8Array.of(1, 2) };
  t.strictSame(decodeProposal(encodeProposal(proposal)), proposal);
  for (const bytes of [[], [0], [5, 1], [65], [1, 0xff]]) {
    t.equal(decodeProposal(Uint8Array.from(bytes)), undefined, JSON.stringify(bytes));
  }
  const request = encodeExchange({ kind: "propose", proposals: [Uint8Array.of(0)] });
  t.throws(() => decodeLeaderRequest(request), { code: "malformed_message" });
});
