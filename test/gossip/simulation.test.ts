import { randomInt } from "node:crypto";
import t from "tap";
import { encode } from "../../src/gossip/message.ts";
import { nodeId } from "../../src/kernel/index.ts";
import { failedWithinMs, GossipWorld, timing } from "./gossip-world.ts";

/** Gossip of 3, 10 and 30 nodes under faults, in virtual time. Each run adds a fresh seed. */

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();
const fresh = randomInt(2 ** 31);

for (const [count, seeds] of [
  [3, [1, 2, fresh]],
  [10, [1, fresh]],
  [30, [fresh]],
] as const) {
  for (const seed of seeds) {
    t.test(
      `${count} nodes, seed ${seed}: a crash is known to all in time, a return at once`,
      async (t) => {
        const world = new GossipWorld(count, seed);
        await world.startAll();
        const [first, victim] = world.ids;
        if (first === undefined || victim === undefined) throw new Error("there are nodes");
        t.not(await world.until(5_000, () => world.isTrueEverywhere()), undefined, "all know all");

        world.gossip(victim).publish(Buffer.from("one"));
        const isEverywhere = (body: string) =>
          world.ids.every((on) => text(world.gossip(on).records.get().get(victim)?.body) === body);
        t.not(
          await world.until(1_000, () => isEverywhere("one")),
          undefined,
          "a record reaches all",
        );

        world.crash(victim);
        const tookMs = await world.until(failedWithinMs, () => world.isTrueEverywhere());
        t.not(tookMs, undefined, `given up by all within ${failedWithinMs} ms`);
        t.ok((tookMs ?? 0) >= timing.silenceMs, "and not at the first silence");

        const again = await world.start(victim);
        again.publish(Buffer.from("two"));
        t.not(await world.until(3_000, () => world.isTrueEverywhere()), undefined, "its return");
        t.not(
          await world.until(1_000, () => isEverywhere("two")),
          undefined,
          "its new record wins",
        );
      },
    );
  }
}

t.test("nobody who runs is called failed on a network that loses and repeats some", async (t) => {
  const world = new GossipWorld(10, fresh);
  await world.startAll();
  await world.until(5_000, () => world.isTrueEverywhere());
  world.faults = { lossRate: 0.05, duplicateRate: 0.05 };
  const slander = world.watchForSlander();
  const before = world.sent;
  await world.clock.advance(60_000);
  t.strictSame(slander, []);
  const perNodeSecond = (world.sent - before) / world.ids.length / 60;
  t.ok(perNodeSecond < 20, `${perNodeSecond.toFixed(1)} messages a second and node`);
  t.ok(world.largestBytes < 16 * 1024, "and each of them small");

  world.gossip(world.ids[0] ?? nodeId("")).publish(Buffer.from("news"));
  const [owner] = world.ids;
  const isEverywhere = () =>
    world.ids.every(
      (on) =>
        text(
          world
            .gossip(on)
            .records.get()
            .get(owner ?? on)?.body,
        ) === "news",
    );
  t.not(
    await world.until(2 * timing.syncIntervalMs * world.ids.length, isEverywhere),
    undefined,
    "what is lost is caught up",
  );
});

t.test("two halves give each other up, and find together again", async (t) => {
  const world = new GossipWorld(10, fresh);
  await world.startAll();
  await world.until(5_000, () => world.isTrueEverywhere());
  const [left, right] = [world.ids.slice(0, 5), world.ids.slice(5)];
  world.separate(left, right);
  const isSplit = () =>
    left.every((on) => right.every((of) => world.view(of, on) === "failed")) &&
    right.every((on) => left.every((of) => world.view(of, on) === "failed"));
  // A watcher's helpers may all be on the other side: then it looks like being alone, at first.
  t.not(await world.until(3 * failedWithinMs, isSplit), undefined, "given up");
  t.ok(left.every((on) => left.every((of) => world.view(of, on) === "alive")));
  world.join(left, right);
  t.not(await world.until(5_000, () => world.isTrueEverywhere()), undefined, "together again");
});

t.test("who is cut off knows itself to be alone, and blames nobody", async (t) => {
  const world = new GossipWorld(5, fresh);
  await world.startAll();
  await world.until(5_000, () => world.isTrueEverywhere());
  const [lonely, ...others] = world.ids;
  if (lonely === undefined) throw new Error("there are nodes");
  world.separate([lonely], others);
  const isAlone = () => others.every((of) => world.view(of, lonely) === "suspect");
  t.not(await world.until(5_000, isAlone), undefined, "out of reach for it");
  t.not(
    await world.until(failedWithinMs, () =>
      others.every((on) => world.view(lonely, on) === "failed"),
    ),
    undefined,
  );
  t.ok(isAlone(), "still only out of reach");
  const slander = world.watchForSlander();
  world.join([lonely], others);
  t.not(await world.until(5_000, () => world.isTrueEverywhere()), undefined, "back");
  const ofOthers = slander.filter((each) => !each.endsWith(lonely));
  t.strictSame(ofOthers, [], "nobody was given up on its word");
});

t.test("what a member should not send changes nothing and ends nothing", async (t) => {
  const world = new GossipWorld(3, 5);
  await world.startAll();
  await world.until(5_000, () => world.isTrueEverywhere());
  const [a, b, c] = world.ids;
  if (a === undefined || b === undefined || c === undefined) throw new Error("there are three");
  world.gossip(b).publish(Buffer.from("mine"));
  await world.clock.advance(500);
  const signature = new Uint8Array(64);
  const bad: readonly Uint8Array[] = [
    Uint8Array.of(0xc1),
    encode({
      kind: "record",
      record: { owner: b, epoch: 99, version: 99, body: Buffer.from("forged"), signature },
    }),
    encode({
      kind: "claims",
      claims: [{ nodeId: nodeId("stranger"), status: "alive", incarnation: 1 }],
    }),
    encode({ kind: "claims", claims: [{ nodeId: b, status: "failed", incarnation: -1 }] }),
    encode({ kind: "claims", claims: [{ nodeId: b, status: "failed", incarnation: Number.NaN }] }),
  ];
  for (const body of bad) {
    await world.networkOf(c).publish("skein/members/1", body);
    await world.networkOf(c).publish("skein/state/1", body);
  }
  await world.clock.advance(1_000);
  t.equal(
    text(world.gossip(a).records.get().get(b)?.body),
    "mine",
    "nobody writes another's record",
  );
  t.equal(world.view(nodeId("stranger"), a), undefined);
  t.ok(world.isTrueEverywhere());
  const { signal } = new AbortController();
  const asked = world.networkOf(c).request(a, "/skein/ping/1", Uint8Array.of(0xc1), { signal });
  const refused = t.rejects(asked);
  await world.clock.advance(1_000);
  await refused;
});
