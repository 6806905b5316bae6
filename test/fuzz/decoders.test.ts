import { randomInt } from "node:crypto";
import { memoryUsage } from "node:process";
import { Packr } from "msgpackr";
import t from "tap";
import { type ConsoleFrame, decodeConsoleFrame, encodeConsoleFrame } from "../../src/api/index.ts";
import { decodeCommand } from "../../src/cluster/command-codec.ts";
import { decodeReport, encodeCommand, encodeReport } from "../../src/cluster/index.ts";
import {
  decodeIndirect,
  decodeMessage,
  decodePing,
  decodeSync,
  encode,
} from "../../src/gossip/message.ts";
import { nodeId, type Random, randomBelow, seededRandom, taskId } from "../../src/kernel/index.ts";
import {
  clusterKeySeed,
  decodeClusterKey,
  encodeClusterKey,
} from "../../src/network/io/cluster-key.ts";
import { createCluster, readMembership } from "../../src/network/io/credentials.ts";
import { FrameReader } from "../../src/network/io/frame-reader.ts";
import {
  joinPurpose,
  joinRequestSchema,
  sealedJoinSchema,
} from "../../src/network/io/join-messages.ts";
import { seal, unseal } from "../../src/network/io/seal.ts";
import { decodeToken, encodeToken } from "../../src/network/token.ts";
import { ControlFrameReader, encodeControlFrame } from "../../src/proxy/control-protocol.ts";
import { parseRequestHead, parseResponseHead } from "../../src/proxy/http-head.ts";
import { decodePreamble, encodePreamble } from "../../src/proxy/preamble.ts";
import { decodeConfiguration, encodeConfiguration } from "../../src/raft/configuration.ts";
import { decodeFrame, encodeFrame, encodeMessage } from "../../src/raft/message-codec.ts";
import {
  decodeLeaderAnswer,
  decodeLeaderRequest,
  decodeProposal,
  encodeExchange,
  encodeProposal,
} from "../../src/raft/proposal.ts";
import { serviceSpec, task } from "../builders.ts";

/**
 * Everything that reads bytes of others, with damaged and with hostile input: it answers or
 * throws an Error, and takes little memory. Seeds are fresh in each run and are printed.
 */

const rounds = 3_000;
/** What one call may take beyond its input. */
const maxGrowthBytes = 32 * 2 ** 20;

const configuration = {
  voters: [nodeId("a"), nodeId("b"), nodeId("c")],
  votersOutgoing: [],
  learners: [nodeId("d")],
  learnersNext: [],
};
const entry = { index: 8, term: 3, kind: "normal", data: Uint8Array.of(1, 2, 3) } as const;
const raftFrame = encodeFrame(
  [
    {
      kind: "append_request",
      term: 4,
      previous: { index: 7, term: 3 },
      entries: [
        entry,
        { ...entry, index: 9, kind: "configuration", data: encodeConfiguration(configuration) },
      ],
      commitIndex: 2 ** 40,
    } as const,
    {
      kind: "snapshot_offer",
      term: 4,
      meta: { index: 9, term: 4, configuration },
      bytes: 9,
    } as const,
    { kind: "heartbeat", term: 4, commitIndex: 9, readContext: 1 } as const,
  ].map(encodeMessage),
);
const claim = { nodeId: nodeId("a"), status: "alive", incarnation: 3 } as const;
const record = {
  owner: nodeId("a"),
  epoch: 1,
  version: 2,
  body: Uint8Array.of(1, 2),
  signature: Uint8Array.of(3),
};
const report = encodeReport({
  nodeId: nodeId("a"),
  skeinVersion: "0.1.0",
  runtime: "docker",
  runtimeVersion: "20",
  platform: { os: "linux", arch: "amd64" },
  capacity: { cpuMillis: 2_000, memoryBytes: 1e9 },
  httpPort: 80,
  routesIndex: 3,
  appliedIndex: 3,
  tasks: [],
});
const token = encodeToken({
  clusterId: "c1",
  role: "node",
  tokenId: "ab12",
  secret: "secret-secret-secret",
  clusterPublicKey: "k".repeat(43),
  caFingerprint: "0".repeat(64),
  expiresAtMs: 4e12,
});
const cluster = await createCluster({ clusterId: "c1", self: nodeId("a"), nowMs: 1e12 });
const packr = new Packr({ useRecords: false });
const pack = (value: unknown): Uint8Array => packr.pack(value);
const unpack = (bytes: Uint8Array): unknown => packr.unpack(bytes);
const joinContents = pack({
  ...{ nodeId: "a", tokenId: "ab", secret: "s", name: "n", address: "10.0.0.1:7946" },
  ...{ labels: { zone: "a" }, publicKeyPem: "pem" },
});
const sealedJoin = seal(
  Buffer.from(cluster.clusterPublicKey, "base64url"),
  joinContents,
  joinPurpose("c1"),
);
const text = (value: string) => Buffer.from(value, "latin1");

const consoleFrames: readonly ConsoleFrame[] = [
  {
    kind: "request",
    request: {
      ...{ kind: "exec", taskId: taskId("abcdefghij12"), command: ["sh", "-c", "true"] },
      ...{ environment: { A: "1" }, user: "1:1", tty: true, stdin: true },
      size: { columns: 80, rows: 24 },
    },
  },
  { kind: "input", bytes: Uint8Array.of(1, 2, 3) },
  { kind: "output", stream: "stderr", bytes: Uint8Array.of(1, 2, 3) },
  { kind: "resize", size: { columns: 80, rows: 24 } },
  { kind: "signal", name: "SIGTERM" },
  { kind: "exited", exitCode: 7 },
  { kind: "error", code: "busy", message: "later", exitCode: 125 },
  { kind: "ready" },
];

type Case = {
  readonly name: string;
  readonly samples: readonly Uint8Array[];
  readonly decode: (bytes: Buffer) => unknown;
};

const cases: readonly Case[] = [
  { name: "raft messages", samples: [raftFrame], decode: decodeFrame },
  {
    name: "raft configurations",
    samples: [encodeConfiguration(configuration)],
    decode: decodeConfiguration,
  },
  {
    name: "proposals",
    samples: [encodeProposal({ id: "s:1", data: Uint8Array.of(1, 2) })],
    decode: decodeProposal,
  },
  {
    name: "requests to the leader",
    samples: [
      encodeExchange({
        kind: "propose",
        proposals: [encodeProposal({ id: "s:1", data: entry.data })],
      }),
      encodeExchange({ kind: "snapshot_chunk", index: 7, term: 3, offset: 2 ** 33 }),
    ],
    decode: decodeLeaderRequest,
  },
  {
    name: "answers of the leader",
    samples: [
      encodeExchange({ kind: "chunk", data: new Uint8Array(100) }),
      encodeExchange({ kind: "position", index: 9, term: 3 }),
    ],
    decode: decodeLeaderAnswer,
  },
  {
    name: "commands",
    samples: [
      encodeCommand({ kind: "put_services", specs: [serviceSpec()], nowMs: 5 }),
      encodeCommand({
        kind: "update_tasks",
        basedOn: { "shop/web": 2 },
        create: [task()],
        stop: [],
        forget: [],
        rollouts: [],
      }),
    ],
    decode: decodeCommand,
  },
  { name: "reports", samples: [report], decode: (bytes) => decodeReport(bytes, "a") },
  {
    name: "gossip messages",
    samples: [encode({ kind: "claims", claims: [claim] }), encode({ kind: "record", record })],
    decode: decodeMessage,
  },
  { name: "pings", samples: [encode({ incarnation: 1, about: claim })], decode: decodePing },
  { name: "indirect pings", samples: [encode({ target: "a" })], decode: decodeIndirect },
  {
    name: "exchanges of digests",
    samples: [encode({ claims: [claim], digest: [record], records: [record] })],
    decode: decodeSync,
  },
  {
    name: "frames of streams",
    samples: [Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from("abc")])],
    decode: (bytes) => new FrameReader().take(bytes),
  },
  {
    name: "frames of consoles",
    samples: consoleFrames.map(encodeConsoleFrame),
    decode: decodeConsoleFrame,
  },
  {
    name: "frames of the proxy's control socket",
    samples: [encodeControlFrame({ id: 1, body: { kind: "hello" } })],
    decode: (bytes) => new ControlFrameReader().push(bytes),
  },
  {
    name: "preambles of the data path",
    samples: [encodePreamble({ taskId: taskId("abcdefghij12"), target: 80 })],
    decode: decodePreamble,
  },
  {
    name: "tokens",
    samples: [text(token)],
    decode: (bytes) => decodeToken(bytes.toString("latin1")),
  },
  {
    name: "membership certificates",
    samples: [text(cluster.membership)],
    decode: (bytes) => readMembership(bytes.toString("latin1"), cluster.clusterPublicKey),
  },
  {
    name: "requests to join",
    samples: [pack({ kind: "who_are_you" }), pack({ kind: "admit", sealed: sealedJoin })],
    decode: (bytes) => joinRequestSchema.parse(unpack(bytes)),
  },
  {
    name: "sealed messages",
    samples: [sealedJoin],
    decode: (bytes) => unseal(clusterKeySeed(cluster), bytes, joinPurpose("c1")),
  },
  {
    name: "contents of sealed requests",
    samples: [joinContents],
    decode: (bytes) => sealedJoinSchema.parse(unpack(bytes)),
  },
  {
    name: "cluster keys",
    samples: [encodeClusterKey(cluster)],
    decode: (bytes) => decodeClusterKey(bytes, cluster),
  },
  {
    name: "request heads",
    samples: [
      text("GET /a?b=c HTTP/1.1\r\nHost: x.test\r\nContent-Length: 3\r\n\r\n"),
      text("POST http://x.test/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
    decode: (bytes) => parseRequestHead(bytes, 0, bytes.length),
  },
  {
    name: "response heads",
    samples: [text("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n")],
    decode: (bytes) => parseResponseHead(bytes, 0, bytes.length),
  },
];

/** Small messages that announce huge or endless contents. */
const bombs: readonly Buffer[] = [
  [0xdd, 0xff, 0xff, 0xff, 0xff],
  [0xdf, 0xff, 0xff, 0xff, 0xff],
  [0xdb, 0xff, 0xff, 0xff, 0xff],
  [0xc6, 0xff, 0xff, 0xff, 0xff],
  [0xc9, 0xff, 0xff, 0xff, 0xff, 0x72],
  [0xd4, 0x72, 0x40],
  [0xc7, 0x08, 0x74, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
  Array.from({ length: 200_000 }, () => 0x91),
  Array.from({ length: 200_000 }, () => 0x81),
  [0xff, 0xff, 0xff, 0xff],
].map((bytes) => Buffer.from(bytes));

function damaged(random: Random, sample: Uint8Array): Buffer {
  let bytes: Buffer = Buffer.from(sample);
  const changes = 1 + randomBelow(random, 4);
  for (let change = 0; change < changes; change += 1) {
    const at = randomBelow(random, bytes.length + 1);
    const kind = randomBelow(random, 6);
    if (kind === 0) bytes = bytes.subarray(0, at);
    else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes]);
    else if (kind === 2) bytes = insert(bytes, at, bombs[randomBelow(random, 7)] ?? bytes);
    else if (kind === 3) bytes.fill(0xff, at, Math.min(at + 4, bytes.length));
    else if (at < bytes.length) bytes[at] = randomBelow(random, 256);
  }
  return bytes;
}

function insert(bytes: Buffer, at: number, part: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)]);
}

function usedBytes(): number {
  const { heapUsed, external, arrayBuffers } = memoryUsage();
  return heapUsed + external + arrayBuffers;
}

/** What was wrong with one call; undefined when nothing was. */
function complaint({ decode }: Case, bytes: Buffer): string | undefined {
  const before = usedBytes();
  try {
    decode(Buffer.from(bytes));
  } catch (error) {
    if (!(error instanceof Error)) return `threw ${String(error)}`;
  }
  const grownBytes = usedBytes() - before - bytes.length;
  return grownBytes > maxGrowthBytes ? `took ${grownBytes} bytes` : undefined;
}

for (const each of cases) {
  t.test(`${each.name} of others: an answer or an error, in little memory`, (t) => {
    const seed = randomInt(2 ** 31);
    t.comment(`seed ${seed}`);
    const random = seededRandom(seed);
    for (const sample of each.samples) t.doesNotThrow(() => each.decode(Buffer.from(sample)));
    const inputs = [...bombs];
    for (let round = 0; round < rounds; round += 1) {
      const sample = each.samples[round % each.samples.length] ?? new Uint8Array();
      inputs.push(damaged(random, sample));
    }
    const complaints = inputs.flatMap((bytes) => {
      const text = complaint(each, bytes);
      return text === undefined ? [] : [`${text}: ${bytes.subarray(0, 200).toString("hex")}`];
    });
    t.strictSame(complaints, []);
    t.end();
  });
}
