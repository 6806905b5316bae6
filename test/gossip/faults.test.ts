import t from "tap";
import { failedWithinMs as failedWithin } from "../../sim/gossip/checker.ts";
import { gossipTimings } from "../../src/gossip/index.ts";
import type { NodeId } from "../../src/kernel/index.ts";
import { failedWithinMs, GossipWorld, timing } from "./gossip-world.ts";

/** The whole life of a member under faults, with fixed seeds: what fails once fails always. */

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();

function some(node: NodeId | undefined): NodeId {
  if (node === undefined) throw new Error("the world has too few nodes");
  return node;
}

function isEverywhere(world: GossipWorld, owner: NodeId, body: string): boolean {
  return world.ids.every((on) => text(world.gossip(on).records.get().get(owner)?.body) === body);
}

for (const preset of ["lan", "local"] as const) {
  t.test(`a crash is known to all within what the preset ${preset} promises`, async (t) => {
    const promised = gossipTimings[preset];
    for (const seed of [1, 2, 3]) {
      const world = new GossipWorld(5, seed, promised);
      await world.startAll();
      await world.until(5_000, () => world.isTrueEverywhere());
      world.crash(some(world.ids[seed]));
      const tookMs = await world.until(failedWithin({ timing: promised }), () =>
        world.isTrueEverywhere(),
      );
      t.not(tookMs, undefined, `seed ${seed}: after ${tookMs} ms`);
      t.ok((tookMs ?? 0) >= promised.suspicionGoneMs, "and never without a chance to object");
    }
  });
}

t.test("many crashes at once are all known in time, and all returns", async (t) => {
  const world = new GossipWorld(10, 41);
  await world.startAll();
  await world.until(5_000, () => world.isTrueEverywhere());
  const slander = world.watchForSlander();
  const victims = world.ids.slice(2, 6);
  for (const victim of victims) world.crash(victim);
  // The helpers that are asked may be among the dead: a round more for each of them.
  const limitMs = failedWithinMs + 3 * timing.indirectTimeoutMs;
  t.not(await world.until(limitMs, () => world.isTrueEverywhere()), undefined);
  t.strictSame(slander, []);
  for (const victim of victims) await world.start(victim);
  t.not(await world.until(5_000, () => world.isTrueEverywhere()), undefined);
});

t.test("a small and a large part of a cluster find together again, with what is new", async (t) => {
  for (const seed of [51, 52]) {
    const world = new GossipWorld(10, seed);
    await world.startAll();
    await world.until(5_000, () => world.isTrueEverywhere());
    const [small, large] = [world.ids.slice(0, 3), world.ids.slice(3)];
    const [left, right] = [some(small[0]), some(large[0])];
    world.separate(small, large);
    const isSplit = () =>
      small.every((on) => large.every((of) => world.view(of, on) === "failed")) &&
      large.every((on) => small.every((of) => world.view(of, on) === "failed"));
    t.not(await world.until(3 * failedWithinMs, isSplit), undefined, `seed ${seed}: given up`);
    world.gossip(left).publish(Buffer.from("left"));
    world.gossip(right).publish(Buffer.from("right"));
    await world.clock.advance(1_000);
    world.join(small, large);
    const isWhole = () =>
      world.isTrueEverywhere() &&
      isEverywhere(world, left, "left") &&
      isEverywhere(world, right, "right");
    t.not(await world.until(5_000, isWhole), undefined, `seed ${seed}: together again`);
  }
});

t.test("one lost answer makes nobody believe to be alone while others are heard", async (t) => {
  for (const seed of [61, 62]) {
    const world = new GossipWorld(3, seed);
    await world.startAll();
    await world.until(5_000, () => world.isTrueEverywhere());
    const [first, second, dead] = [some(world.ids[0]), some(world.ids[1]), some(world.ids[2])];
    world.crash(dead);
    await world.until(failedWithinMs, () => world.isTrueEverywhere());
    world.faults = { lossRate: 0.02, duplicateRate: 0 };
    let outOfReach = 0;
    for (const [on, of] of [
      [first, second],
      [second, first],
    ] as const) {
      world.gossip(on).members.subscribe(() => {
        if (world.view(of, on) === "suspect") outOfReach += 1;
      });
    }
    const before = world.sent;
    await world.clock.advance(120_000);
    t.ok(outOfReach <= 4, `seed ${seed}: ${outOfReach} times in two minutes`);
    const perNodeSecond = (world.sent - before) / 2 / 120;
    t.ok(perNodeSecond < 6, `${perNodeSecond.toFixed(1)} messages a second and node for the dead`);
  }
});

t.test("a wall clock that jumps ends no suspicion early, nor keeps one for ever", async (t) => {
  const hourMs = 3_600_000;
  const world = new GossipWorld(4, 71);
  await world.startAll();
  await world.until(5_000, () => world.isTrueEverywhere());
  const [first, victim] = [some(world.ids[0]), some(world.ids[1])];
  const others = world.ids.filter((id) => id !== victim);
  const slander = world.watchForSlander();
  world.separate([victim], others);
  const isSuspected = () => world.view(victim, first) === "suspect";
  t.not(await world.until(5_000, isSuspected), undefined);
  world.wallClockErrorMs = hourMs;
  await world.clock.advance(1_000);
  t.equal(world.view(victim, first), "suspect", "an hour by the wall is a second in truth");
  world.join([victim], others);
  t.not(await world.until(5_000, () => world.isTrueEverywhere()), undefined);
  t.strictSame(slander, []);

  const sinceMs = () => world.gossip(first).members.get().get(victim)?.sinceMs;
  const before = sinceMs();
  t.ok(Math.abs((before ?? 0) - world.clock.now() - hourMs) < 10_000, "people read the wall clock");
  world.wallClockErrorMs = 0;
  await world.clock.advance(2_000);
  t.equal(sinceMs(), before, "what has begun has begun");

  world.crash(victim);
  t.not(await world.until(5_000, isSuspected), undefined);
  world.wallClockErrorMs = -hourMs;
  t.not(await world.until(failedWithinMs, () => world.isTrueEverywhere()), undefined);
});

t.test("a member that lost its disk is heard again, with its records", async (t) => {
  const world = new GossipWorld(4, 81);
  await world.startAll();
  await world.until(5_000, () => world.isTrueEverywhere());
  const victim = some(world.ids[1]);
  for (let life = 0; life < 3; life += 1) {
    world.crash(victim);
    await world.until(failedWithinMs, () => world.isTrueEverywhere());
    await world.start(victim);
    world.gossip(victim).publish(Buffer.from("before"));
    await world.until(5_000, () => world.isTrueEverywhere());
  }
  world.crash(victim);
  world.loseDisk(victim);
  await world.clock.advance(failedWithinMs);
  const again = await world.start(victim);
  again.publish(Buffer.from("after"));
  const isBack = () => world.isTrueEverywhere() && isEverywhere(world, victim, "after");
  t.not(await world.until(5_000, isBack), undefined);
});

t.test("a goodbye is no failure, and is no obstacle to coming back", async (t) => {
  const world = new GossipWorld(5, 91);
  await world.startAll();
  await world.until(5_000, () => world.isTrueEverywhere());
  const leaver = some(world.ids[4]);
  const others = world.ids.slice(0, 4);
  await world.gossip(leaver).leave();
  await world.clock.advance(200);
  world.crash(leaver);
  const hasLeft = () => others.every((on) => world.view(leaver, on) === "left");
  t.ok(hasLeft(), "known at once");
  await world.clock.advance(2 * failedWithinMs);
  t.ok(hasLeft(), "and not turned into a failure");
  await world.start(leaver);
  t.not(await world.until(3_000, () => world.isTrueEverywhere()), undefined);
});
