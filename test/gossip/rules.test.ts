import t from "tap";
import { gossipTimings } from "../../src/gossip/index.ts";
import {
  type Claim,
  isPlausible,
  type MemberStatus,
  MemberTable,
  strongest,
  supersedes,
  suspicionTimeoutMs,
} from "../../src/gossip/member-table.ts";
import {
  decodeMessage,
  decodePing,
  decodeSync,
  encode,
  maxRecordBytes,
} from "../../src/gossip/message.ts";
import { OwnRecordId } from "../../src/gossip/own-record-id.ts";
import { isNewer, RecordTable, type StateRecord } from "../../src/gossip/record-table.ts";
import { watchedBy } from "../../src/gossip/watch-ring.ts";
import { nodeId, type Random, randomBelow, seededRandom } from "../../src/kernel/index.ts";

/** The pure rules, against tables and against each other on random input of fixed seeds. */

const [self, other, third] = [nodeId("self"), nodeId("other"), nodeId("third")];
const statuses: readonly MemberStatus[] = ["alive", "suspect", "failed", "left"];
const bounds = { minMs: 4_000, maxMs: 8_000, goneMs: 1_500 };

function claim(status: MemberStatus, incarnation: number, node = other): Claim {
  return { nodeId: node, status, incarnation };
}

function newTable(): MemberTable {
  return new MemberTable({ self, incarnation: 1, nowMs: 0, saveIncarnation: () => undefined });
}

function shuffled<T>(random: Random, items: readonly T[]): readonly T[] {
  const rest = [...items];
  return items.flatMap(() => rest.splice(randomBelow(random, rest.length), 1));
}

function someClaim(random: Random): Claim {
  return claim(statuses[randomBelow(random, 4)] ?? "alive", randomBelow(random, 4));
}

/** As the runner does: a suspicion is somebody's word, everything else is taken as it is. */
function hear(table: MemberTable, each: Claim): void {
  if (each.status === "suspect") {
    const { incarnation } = each;
    table.suspect(each.nodeId, third, 1, { incarnation });
  } else table.hear(each, 1);
}

t.test("suspicions and claims together lead to one belief, in whatever order they come", (t) => {
  const random = seededRandom(21);
  const differing: string[] = [];
  for (let round = 0; round < 500; round += 1) {
    const claims = Array.from({ length: 8 }, () => someClaim(random));
    const believed = [claims, shuffled(random, claims), [...claims, ...claims]].map((order) => {
      const table = newTable();
      for (const each of order) hear(table, each);
      const { status, incarnation } = table.get(other) ?? {};
      return JSON.stringify({ status, incarnation });
    });
    if (new Set(believed).size !== 1) differing.push(JSON.stringify([claims, believed]));
  }
  t.strictSame(differing, []);
  t.end();
});

t.test("which claim wins is a total order: never both ways, and never in a circle", (t) => {
  const all = [0, 1, 2].flatMap((at) => statuses.map((status) => claim(status, at)));
  for (const a of all) {
    for (const b of all) {
      if (a !== b && supersedes(a, b) === supersedes(b, a)) t.fail(JSON.stringify([a, b]));
      for (const c of all) {
        const isCircle = supersedes(a, b) && supersedes(b, c) && !supersedes(a, c);
        if (isCircle) t.fail(JSON.stringify([a, b, c]));
      }
    }
    t.notOk(supersedes(a, a), JSON.stringify(a));
  }
  t.end();
});

for (const [known, said, wanted] of [
  [claim("alive", 3), 3, claim("suspect", 3)],
  [claim("alive", 3), 5, claim("suspect", 5)],
  [claim("alive", 3), 2, claim("alive", 3)],
  [claim("failed", 3), 3, claim("failed", 3)],
  [claim("failed", 3), 5, claim("suspect", 5)],
  [claim("left", 3), 3, claim("left", 3)],
  [claim("left", 3), 4, claim("suspect", 4)],
] as const) {
  t.test(`a suspicion of incarnation ${said} meets ${known.status} ${known.incarnation}`, (t) => {
    const table = newTable();
    table.hear(known, 0);
    table.suspect(other, third, 1, { incarnation: said });
    t.match(table.get(other), wanted);
    t.end();
  });
}

t.test("confirmations count for their own incarnation only", (t) => {
  const table = newTable();
  for (const node of ["a", "b", "c"]) table.hear(claim("alive", 1, nodeId(node)), 0);
  table.hear(claim("alive", 1), 0);
  for (const by of ["a", "b", "c"]) {
    table.suspect(other, nodeId(by), 1_000, { incarnation: 1 });
  }
  table.suspect(other, nodeId("a"), 2_000, { incarnation: 2 });
  t.equal(table.get(other)?.suspectedBy.size, 1);
  t.strictSame(table.expire(9_999, bounds), [], "begun anew, with one who says so");
  t.match(table.expire(10_000, bounds), [claim("failed", 2)]);
  t.end();
});

t.test("a suspicion without a name runs out like one of a single member", (t) => {
  t.equal(suspicionTimeoutMs(-1, bounds), bounds.maxMs);
  const table = newTable();
  for (const node of ["a", "b", "c"]) table.hear(claim("alive", 1, nodeId(node)), 0);
  table.hear(claim("suspect", 1), 0);
  t.match(table.expire(bounds.maxMs, bounds), [claim("failed", 1)]);
  t.end();
});

t.test("others may raise a member's number a little, itself to anything", (t) => {
  const far = Number.MAX_SAFE_INTEGER;
  for (const [from, incarnation, known, wanted] of [
    [other, far, 0, true],
    [third, far, 0, false],
    [undefined, far, 0, false],
    [third, 1_000, 0, true],
    [third, 0, 1_000, true],
    [third, far, far - 1, true],
  ] as const) {
    t.equal(isPlausible({ about: other, from, incarnation }, known), wanted);
  }
  t.end();
});

t.test("of many claims about one member one is left, the one that wins against all", (t) => {
  const random = seededRandom(31);
  for (let round = 0; round < 100; round += 1) {
    const claims = Array.from({ length: 10 }, () => someClaim(random));
    const [winner, ...more] = strongest([...claims, claim("alive", 9, third)]);
    t.equal(more.length, 1);
    if (winner === undefined || claims.some((each) => supersedes(each, winner))) {
      t.fail(JSON.stringify(claims));
    }
  }
  t.strictSame(strongest([]), []);
  t.end();
});

const signature = new Uint8Array(64);

t.test("records lead to the same table in whatever order and how often they come", (t) => {
  const random = seededRandom(41);
  for (let round = 0; round < 100; round += 1) {
    const records: readonly StateRecord[] = Array.from({ length: 12 }, () => {
      const [epoch, version] = [randomBelow(random, 3), randomBelow(random, 4)];
      const owner = nodeId(`n${randomBelow(random, 3)}`);
      return { owner, epoch, version, body: Uint8Array.of(epoch, version), signature };
    });
    const digests = [records, shuffled(random, records), [...records, ...records]].map((order) => {
      const table = new RecordTable();
      for (const record of order) table.put(record);
      return table.digest().toSorted((a, b) => (a.owner < b.owner ? -1 : 1));
    });
    t.strictSame(digests[1], digests[0]);
    t.strictSame(digests[2], digests[0]);
  }
  t.end();
});

t.test("two tables that hand each other what is newer are equal afterwards", (t) => {
  const random = seededRandom(42);
  const tables = [new RecordTable(), new RecordTable()] as const;
  for (let at = 0; at < 60; at += 1) {
    const owner = nodeId(`n${randomBelow(random, 8)}`);
    const [epoch, version] = [randomBelow(random, 3), randomBelow(random, 9)];
    tables[at % 2 === 0 ? 0 : 1].put({ owner, epoch, version, body: new Uint8Array(), signature });
  }
  const [left, right] = tables;
  const [forLeft, forRight] = [right.newerThan(left.digest()), left.newerThan(right.digest())];
  t.ok(forLeft.length > 0 && forRight.length > 0);
  for (const record of forLeft) left.put(record);
  for (const record of forRight) right.put(record);
  t.strictSame(left.newerThan(right.digest()), []);
  t.strictSame(right.newerThan(left.digest()), []);
  t.end();
});

t.test("own records are numbered above all that anybody holds", (t) => {
  const ids = new OwnRecordId(self, 3);
  t.strictSame(ids.next(), { owner: self, epoch: 3, version: 1 });
  for (const [epoch, version, isAbove] of [
    [2, 99, false],
    [3, 1, false],
    [3, 7, true],
    [3, 6, false],
    [5, 2, true],
    [5, Number.MAX_SAFE_INTEGER, true],
  ] as const) {
    t.equal(ids.passOver({ owner: self, epoch, version }), isAbove, `${epoch}.${version}`);
    const next = ids.next();
    t.ok(isNewer(next, { owner: self, epoch, version }));
    t.ok(Number.isSafeInteger(next.version) && Number.isSafeInteger(next.epoch));
  }
  t.end();
});

t.test("a ring does not depend on the order in which members are named", (t) => {
  const nodes = Array.from({ length: 12 }, (_, at) => nodeId(`node-${at}`));
  const random = seededRandom(51);
  for (const node of nodes) {
    t.strictSame(watchedBy(node, shuffled(random, nodes)), watchedBy(node, nodes));
  }
  const [alone] = nodes;
  t.strictSame(watchedBy(alone ?? self, []), []);
  t.strictSame(watchedBy(self, [other, other, self]), [other], "named twice counts once");
  t.end();
});

t.test("the departure of one member moves only its neighbours' watches", (t) => {
  const nodes = Array.from({ length: 40 }, (_, at) => nodeId(`node-${at}`));
  for (const gone of nodes) {
    const rest = nodes.filter((node) => node !== gone);
    const changed = rest.filter(
      (node) => watchedBy(node, rest).join() !== watchedBy(node, nodes).join(),
    );
    t.equal(changed.length, 3, `without ${gone}`);
  }
  t.end();
});

for (const [name, timing] of Object.entries(gossipTimings)) {
  t.test(`the preset ${name} leaves time for each answer that it waits for`, (t) => {
    for (const [what, value] of Object.entries(timing)) {
      t.ok(Number.isInteger(value) && value > 0, what);
    }
    t.ok(timing.helperPingTimeoutMs < timing.indirectTimeoutMs, "a helper's no arrives in time");
    t.ok(timing.silenceMs > timing.pingIntervalMs, "one ping has to be missed");
    t.ok(timing.suspicionMinMs < timing.suspicionMaxMs, "confirmations shorten");
    const refutedMs = timing.pingIntervalMs + timing.pingTimeoutMs;
    t.ok(timing.suspicionMinMs > refutedMs, "who is pinged while suspect can object");
    t.ok(timing.syncIntervalMs > timing.suspicionMaxMs, "exchanges are the slow way");
    t.end();
  });
}

t.test("numbers that are no counters make no message", (t) => {
  const bad = [-1, 0.5, Number.NaN, Infinity, 2 ** 53, 1e300, 2n ** 60n, "1", null, [1], undefined];
  // The wire carries anything, whatever the types of an honest sender say.
  const pack = (value: unknown) => encode(value as Parameters<typeof encode>[0]);
  for (const value of bad) {
    const name = typeof value === "bigint" ? `${value}n` : JSON.stringify(value ?? String(value));
    const message = { kind: "claims", claims: [{ ...claim("failed", 1), incarnation: value }] };
    t.equal(decodeMessage(pack(message)), undefined, `incarnation ${name}`);
    for (const field of ["epoch", "version"]) {
      const id = { owner: other, epoch: 1, version: 1, [field]: value };
      t.equal(decodeMessage(pack({ kind: "announce", id })), undefined, `${field} ${name}`);
    }
    t.throws(() => decodePing(pack({ incarnation: value })), `ping ${name}`);
  }
  t.end();
});

t.test("an exchange loses a record that is too large, not the others", (t) => {
  const record = { owner: other, epoch: 1, version: 1, signature };
  const claims = [claim("alive", 4)];
  const sync = decodeSync(
    encode({
      claims,
      digest: [],
      records: [
        { ...record, body: new Uint8Array(maxRecordBytes + 1) },
        { ...record, owner: third, body: new Uint8Array(maxRecordBytes) },
        { ...record, owner: third, body: new Uint8Array(), signature: new Uint8Array(65) },
      ],
    }),
  );
  t.strictSame(sync.claims, claims);
  t.strictSame(
    sync.records.map(({ owner }) => owner),
    [third],
  );
  t.end();
});
