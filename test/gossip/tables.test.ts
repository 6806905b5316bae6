import t from "tap";
import {
  type Claim,
  type MemberStatus,
  MemberTable,
  supersedes,
  suspicionTimeoutMs,
} from "../../src/gossip/member-table.ts";
import { RecordTable, type StateRecord } from "../../src/gossip/record-table.ts";
import { watchedBy } from "../../src/gossip/watch-ring.ts";
import { nodeId, randomBelow, seededRandom } from "../../src/kernel/index.ts";

const [self, other] = [nodeId("self"), nodeId("other")];
const statuses: readonly MemberStatus[] = ["alive", "suspect", "failed", "left"];

const bounds = { minMs: 4_000, maxMs: 8_000, goneMs: 1_500 };

function claim(status: MemberStatus, incarnation: number, node = other): Claim {
  return { nodeId: node, status, incarnation };
}

function tableOf(incarnation = 5) {
  const saved: number[] = [];
  const saveIncarnation = (value: number) => saved.push(value);
  const table = new MemberTable({ self, incarnation, nowMs: 0, saveIncarnation });
  return { table, saved };
}

t.test("a claim replaces another by incarnation, then by the worse status", (t) => {
  const cases: readonly (readonly [Claim, Claim | undefined, boolean])[] = [
    [claim("alive", 0), undefined, true],
    [claim("alive", 2), claim("failed", 1), true],
    [claim("failed", 1), claim("alive", 2), false],
    [claim("alive", 1), claim("suspect", 1), false],
    [claim("suspect", 1), claim("alive", 1), true],
    [claim("failed", 1), claim("suspect", 1), true],
    [claim("left", 1), claim("failed", 1), true],
    [claim("alive", 1), claim("alive", 1), false],
  ];
  for (const [fresh, known, wanted] of cases) {
    t.equal(supersedes(fresh, known), wanted, JSON.stringify([fresh, known]));
  }
  t.end();
});

t.test("claims lead to the same belief in whatever order and how often they come", (t) => {
  const random = seededRandom(11);
  for (let round = 0; round < 200; round += 1) {
    const claims = Array.from({ length: 8 }, () =>
      claim(statuses[randomBelow(random, 4)] ?? "alive", randomBelow(random, 4)),
    );
    const orders = [
      claims,
      claims.toReversed(),
      [...claims, ...claims].toSorted(() => random.next() - 0.5),
    ];
    const beliefs = orders.map((order) => {
      const { table } = tableOf();
      for (const each of order) table.hear(each, 1);
      const entry = table.get(other);
      return [entry?.status, entry?.incarnation];
    });
    t.strictSame(beliefs[1], beliefs[0]);
    t.strictSame(beliefs[2], beliefs[0]);
  }
  t.end();
});

t.test("a suspicion lasts shorter with every confirmation, within its bounds", (t) => {
  const lasts = [0, 1, 2, 3].map((confirmations) => suspicionTimeoutMs(confirmations, bounds));
  t.equal(lasts[0], 8_000);
  t.ok((lasts[1] ?? 0) < 8_000 && (lasts[1] ?? 0) > 4_000);
  t.strictSame(lasts.slice(2), [4_000, 4_000]);
  t.end();
});

for (const [members, by, lastsMs] of [
  [2, 1, 4_000],
  [3, 1, 8_000],
  [3, 2, 4_000],
  [4, 2, 8_000 - 4_000 * (Math.log(2) / Math.log(3))],
  [4, 3, 4_000],
] as const) {
  t.test(
    `of ${members} members, ${by} suspect one: it fails after ${Math.round(lastsMs)} ms`,
    (t) => {
      const { table } = tableOf();
      const others = ["b", "c"].slice(0, members - 2).map((name) => nodeId(name));
      for (const node of [other, ...others]) table.hear(claim("alive", 1, node), 0);
      for (const node of [self, ...others].slice(0, by)) table.suspect(other, node, 1_000);
      t.strictSame(table.expire(1_000 + lastsMs - 1, bounds), []);
      t.match(table.expire(1_000 + lastsMs + 1, bounds), [{ status: "failed" }]);
      t.end();
    },
  );
}

t.test(
  "of a process that has ended the suspicion is short, also when that is learned later",
  (t) => {
    for (const isLearnedLater of [false, true]) {
      const { table } = tableOf();
      for (const node of [other, nodeId("b"), nodeId("c")]) table.hear(claim("alive", 1, node), 0);
      if (isLearnedLater) table.suspect(other, self, 1_000);
      const told = table.suspect(other, self, 1_000, { isGone: true });
      t.equal(told === undefined, isLearnedLater, "what was told once is not told again");
      t.strictSame(table.expire(2_499, bounds), []);
      const failed = table.expire(2_500, bounds);
      t.match(failed, [{ status: "failed", isGone: true }]);
      const elsewhere = tableOf().table;
      for (const each of failed) elsewhere.hear(each, 0);
      t.equal(elsewhere.get(other)?.isGone, true, "others are told");
      elsewhere.heardFrom(other, 2, 1);
      t.equal(elsewhere.get(other)?.isGone, false, "until it is back");
    }
    const { table } = tableOf();
    for (const node of [other, nodeId("b"), nodeId("c")]) table.hear(claim("alive", 1, node), 0);
    table.suspect(other, self, 1_000, { isGone: true });
    table.heardFrom(other, 2, 1_100);
    table.suspect(other, self, 2_000);
    t.strictSame(table.expire(9_999, bounds), [], "its next life is suspected anew");
    t.notOk(table.expire(10_000, bounds)[0]?.isGone, "and is only silent");
    t.end();
  },
);

t.test("nothing that is said of a removed member is taken in, whoever says it", (t) => {
  const { table } = tableOf();
  table.hear(claim("alive", 1), 0);
  table.keepOnly(new Set([self]));
  const records = new RecordTable();
  records.keepOnly(new Set([self]));
  t.equal(table.hear(claim("alive", 9), 1), undefined);
  t.equal(table.suspect(other, self, 1), undefined);
  t.equal(table.heardFrom(other, 9, 1), undefined);
  const [body, signature] = [Uint8Array.of(1), Uint8Array.of(2)];
  t.equal(records.put({ owner: other, epoch: 1, version: 1, body, signature }), false);
  t.equal(table.get(other), undefined);
  table.keepOnly(new Set([self, other]));
  t.match(table.hear(claim("alive", 1), 2), { status: "alive" }, "until it is admitted again");
  t.end();
});

t.test("what only removed members suspect is void, and what others do as well is not", (t) => {
  const { table } = tableOf();
  const [removed, staying] = [nodeId("removed"), nodeId("staying")];
  const accused = [nodeId("a"), nodeId("b")] as const;
  for (const node of [removed, staying, ...accused]) table.hear(claim("alive", 1, node), 0);
  for (const node of accused) table.suspect(node, removed, 1_000);
  table.suspect(accused[1], staying, 1_000);
  table.acquit(1_500);
  t.equal(table.get(accused[0])?.status, "suspect", "as long as its accuser is a member");
  table.keepOnly(new Set([self, staying, ...accused]));
  table.acquit(2_000);
  t.match(table.get(accused[0]), { status: "alive", incarnation: 1, sinceMs: 2_000 });
  t.match(table.get(accused[1]), { status: "suspect", sinceMs: 1_000 });
  t.end();
});

t.test("a suspected member fails in time, unless it is heard", (t) => {
  const { table } = tableOf();
  for (const node of [other, nodeId("b"), nodeId("c")]) table.hear(claim("alive", 1, node), 0);
  t.match(table.suspect(other, self, 1_000), { status: "suspect", incarnation: 1 });
  t.equal(table.suspect(other, self, 1_500), undefined, "the same word twice is no news");
  t.strictSame(table.expire(8_999, bounds), []);
  t.match(table.expire(9_000, bounds), [{ status: "failed", incarnation: 1 }]);
  t.equal(table.suspect(other, self, 9_500), undefined, "a failed member is not suspected");
  t.equal(table.hear(claim("alive", 1), 9_600), undefined, "old news does not revive it");
  table.heardFrom(other, 2, 9_700);
  t.equal(table.get(other)?.status, "alive", "its own newer word does");

  table.suspect(other, self, 10_000);
  table.suspect(other, nodeId("b"), 10_100);
  table.suspect(other, nodeId("c"), 10_200);
  t.match(
    table.expire(14_000, bounds),
    [{ status: "failed" }],
    "three who say so are believed sooner",
  );
  t.end();
});

t.test("what is untrue about oneself is refuted above what was said, on disk first", (t) => {
  const { table, saved } = tableOf(5);
  t.equal(table.hear(claim("failed", 4, self), 1), undefined, "that was an earlier life");
  t.match(table.hear(claim("suspect", 5, self), 1), { status: "alive", incarnation: 6 });
  t.match(table.hear(claim("failed", 9, self), 2), { status: "alive", incarnation: 10 });
  t.strictSame(saved, [6, 10]);
  t.equal(table.hear(claim("alive", 12, self), 3), undefined);
  table.leave(4);
  t.equal(table.hear(claim("suspect", 20, self), 5), undefined, "who has left does not object");
  t.end();
});

t.test("who is not admitted any more is forgotten, except oneself", (t) => {
  const { table } = tableOf();
  table.hear(claim("alive", 1), 0);
  t.equal(table.keepOnly(new Set([other])), false);
  t.equal(table.keepOnly(new Set()), true);
  t.strictSame(
    table.entries().map(({ nodeId: node }) => node),
    [self],
  );
  t.end();
});

t.test("the newest record of each owner wins, by epoch and version, never by order", (t) => {
  const record = (epoch: number, version: number, owner = other): StateRecord => {
    return {
      owner,
      epoch,
      version,
      body: Uint8Array.of(epoch, version),
      signature: Uint8Array.of(1),
    };
  };
  const table = new RecordTable();
  t.equal(table.put(record(1, 9)), true);
  t.equal(table.put(record(1, 9)), false);
  t.equal(table.put(record(1, 8)), false);
  t.equal(table.put(record(2, 1)), true, "a restart begins anew, above");
  t.equal(table.put(record(1, 99)), false);
  table.put(record(1, 1, self));
  t.strictSame(table.newerThan([{ owner: other, epoch: 2, version: 1 }]), [record(1, 1, self)]);
  t.strictSame(table.newerThan(table.digest()), []);
  t.equal(table.keepOnly(new Set([self])), true);
  t.strictSame([...table.records.keys()], [self]);
  t.end();
});

t.test("everybody has the same number of watchers, and a newcomer changes few", (t) => {
  for (const count of [1, 2, 3, 4, 10, 100]) {
    const nodes = Array.from({ length: count }, (_, number) => nodeId(`node-${number}`));
    const watchers = new Map(nodes.map((node) => [node, 0]));
    for (const node of nodes) {
      const watched = watchedBy(node, nodes);
      t.notOk(watched.includes(node), "nobody watches itself");
      for (const each of watched) watchers.set(each, (watchers.get(each) ?? 0) + 1);
    }
    t.strictSame(new Set(watchers.values()), new Set([Math.min(3, count - 1)]), `${count} nodes`);
  }
  const nodes = Array.from({ length: 50 }, (_, number) => nodeId(`node-${number}`));
  const changed = nodes.filter((node) => {
    const before = watchedBy(node, nodes);
    const after = watchedBy(node, [...nodes, nodeId("newcomer")]);
    return before.some((each) => !after.includes(each));
  });
  t.equal(changed.length, 3, "only its three watchers look elsewhere");
  t.end();
});
