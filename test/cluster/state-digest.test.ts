import t from "tap";
import { encodeCommand } from "../../src/cluster/command-codec.ts";
import { ClusterStore, type Command } from "../../src/cluster/index.ts";
import { clusterNode, serviceSpec, task } from "../builders.ts";

const first: readonly Command[] = [
  { kind: "bootstrap", clusterId: "c1", node: clusterNode("n1") },
  { kind: "put_services", specs: [serviceSpec()], nowMs: 5 },
  {
    kind: "update_tasks",
    basedOn: { "shop/web": 2 },
    create: [task()],
    stop: [],
    forget: [],
    rollouts: [],
  },
];

/** A command that makes the state grow, and one entry of about 150 bytes. */
function tokenCommand(number: number, secretHash = "x".repeat(64)): Command {
  const token = {
    id: `token${number}`,
    role: "node" as const,
    secretHash,
    expiresAtMs: 1_700_000_000_000 + number,
    // Absent in some, so that optional fields are digested either way.
    ...(number % 3 === 0 ? { usesLeft: number } : {}),
    createdAtMs: 1_600_000_000_000 + number,
  };
  return { kind: "put_token", token };
}

const log = [...first, ...Array.from({ length: 200 }, (_, number) => tokenCommand(number))].map(
  (command, position) => ({ index: position + 1, data: encodeCommand(command) }),
);

/** Every digest that a store takes on its way through these entries. */
function digestsOf(store: ClusterStore, entries: typeof log) {
  const digests: ClusterStore["digest"][] = [];
  for (const entry of entries) {
    store.apply(entry);
    if (store.digest !== undefined && store.digest !== digests.at(-1)) digests.push(store.digest);
  }
  return digests;
}

t.test("the same log gives the same digests, also behind a snapshot", async (t) => {
  const all = digestsOf(new ClusterStore(), log);
  t.ok(all.length >= 3, `${all.length} digests`);
  t.ok(all.length < 12, "and far fewer than entries");
  t.strictSame(digestsOf(new ClusterStore(), log), all);
  for (const cut of [10, 77, 130]) {
    const before = new ClusterStore();
    const early = digestsOf(before, log.slice(0, cut));
    const after = new ClusterStore();
    after.restore(before.snapshot(), cut);
    t.strictSame(after.digest, before.digest);
    const late = digestsOf(after, log.slice(cut)).filter((digest) => digest !== early.at(-1));
    const seen = [...early, ...late.filter((digest) => digest?.index !== early.at(-1)?.index)];
    t.strictSame(seen, all, `restored at ${cut}`);
  }
});

t.test("one different byte in one entry shows in every later digest", async (t) => {
  const all = digestsOf(new ClusterStore(), log);
  const changed = log.map((entry) =>
    entry.index === 40
      ? { ...entry, data: encodeCommand(tokenCommand(36, `${"x".repeat(63)}y`)) }
      : entry,
  );
  const other = digestsOf(new ClusterStore(), changed);
  t.equal(other.length > 0, true);
  for (const digest of all) {
    const same = other.find(
      (each) => each?.index === digest?.index && each?.value === digest?.value,
    );
    t.equal(same !== undefined, (digest?.index ?? 0) < 40, `at ${digest?.index}`);
  }
});

t.test("a digest is remembered for others to be compared with, but not for ever", async (t) => {
  const store = new ClusterStore();
  const digests = digestsOf(store, log);
  for (const digest of digests) t.equal(store.digestAt(digest?.index ?? 0), digest?.value);
  t.equal(store.digestAt(2), undefined);
});
