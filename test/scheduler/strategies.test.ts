import t from "tap";
import { getsTraffic, type Task } from "../../src/cluster/index.ts";
import { randomBelow, seededRandom } from "../../src/kernel/index.ts";
import type { RolloutSpec, StrategySpec } from "../../src/spec/index.ts";
import { serviceSpec, template } from "../builders.ts";
import { World, type WorldOptions, web } from "./world.ts";

/** Blue-green and canary: who runs, and who gets the traffic, at every step of the way. */

const keepMs = 30_000;
const next = template({ image: "web:2" });

function update(strategy: StrategySpec, overrides: Partial<RolloutSpec> = {}): RolloutSpec {
  return { ...serviceSpec().update, failureAction: "rollback", ...overrides, strategy };
}

const blueGreen = update({ kind: "blue-green", keepMs });

function canary(
  share: Extract<StrategySpec, { kind: "canary" }>["share"],
  more: { readonly bakeMs?: number; readonly pauses?: boolean } = {},
): RolloutSpec {
  return update({ kind: "canary", share, bakeMs: 20_000, pauses: false, ...more });
}

/** Tasks that serve and that every proxy may send requests to. */
function receiving(world: World): readonly Task[] {
  const service = world.state.services.get(web);
  return world.serving().filter(({ desired, revision }) => {
    return desired === "running" && service !== undefined && getsTraffic(service, revision);
  });
}

function imagesOf(world: World, tasks: readonly Task[]): string {
  const { templates } = world.state.services.get(web) ?? { templates: new Map() };
  return [...new Set(tasks.map(({ revision }) => templates.get(revision)?.image))].sort().join(" ");
}

function cluster(replicas: number, options: WorldOptions & { update: RolloutSpec }): World {
  const world = new World(["n1", "n2", "n3"], options);
  world.put({ mode: { kind: "replicated", replicas }, update: options.update });
  world.run(8_000);
  return world;
}

function put(world: World, replicas: number, spec: { update: RolloutSpec; image?: string }): void {
  const { update, image = "web:2" } = spec;
  const changed = { ...next, image };
  world.put({ mode: { kind: "replicated", replicas }, update, template: changed });
}

t.test("[E6] blue-green", async (t) => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    t.test(`seed ${seed}: all traffic moves in one step, to as many tasks`, async (t) => {
      const replicas = 1 + randomBelow(seededRandom(seed), 6);
      const world = cluster(replicas, { seed, update: blueGreen });
      put(world, replicas, { update: blueGreen });
      const seen: string[] = [];
      world.run(25_000, () => {
        const now = receiving(world);
        const images = imagesOf(world, now);
        if (seen.at(-1) !== images) seen.push(images);
        t.ok(now.length >= replicas, "never fewer than wanted");
        t.ok(world.running().length <= 2 * replicas, "never more than twice as many");
      });
      t.strictSame(seen, ["web:1", "web:2"], "never both, and once");
      t.equal(world.running().length, 2 * replicas, "the old ones stand by");
      world.run(keepMs + 5_000, () => t.ok(receiving(world).length >= replicas));
      t.equal(world.running().length, replicas);
      t.equal(imagesOf(world, world.running()), "web:2");
      t.equal(world.state.tasks.size, replicas, "nothing is left of the old ones");
    });
  }

  t.test("rollback moves the traffic back in one step, and starts nothing", async (t) => {
    const world = cluster(3, { update: blueGreen });
    const before = world.running().map(({ id }) => id);
    put(world, 3, { update: blueGreen });
    world.run(25_000);
    t.equal(imagesOf(world, receiving(world)), "web:2");
    world.submit({ kind: "roll_back_service", service: web, nowMs: world.now });
    const created = world.commands.length;
    world.plan();
    t.strictSame(
      receiving(world).map(({ id }) => id),
      before,
    );
    world.run(keepMs + 5_000, () => t.equal(receiving(world).length, 3));
    t.strictSame(
      world.commands.slice(created).flatMap(({ create }) => create),
      [],
    );
    t.strictSame(
      world.running().map(({ id }) => id),
      before,
    );
  });

  t.test("rollback before the traffic has moved leaves it where it is", async (t) => {
    const world = cluster(3, { update: blueGreen });
    const before = world.running().map(({ id }) => id);
    put(world, 3, { update: blueGreen });
    world.run(2_000);
    world.submit({ kind: "roll_back_service", service: web, nowMs: world.now });
    world.run(10_000, () => t.equal(receiving(world).length, 3));
    t.strictSame(
      world.running().map(({ id }) => id),
      before,
      "the new ones went at once",
    );
  });

  t.test("what never becomes healthy gets no request, and is rolled back", async (t) => {
    const behaviourOf = (image: string) => (image === "web:2" ? "crashes" : "serves");
    const world = cluster(3, { behaviourOf, update: blueGreen });
    const before = world.running().map(({ id }) => id);
    put(world, 3, { update: blueGreen });
    world.run(60_000, () => {
      t.equal(imagesOf(world, receiving(world)), "web:1");
      t.equal(receiving(world).length, 3);
    });
    t.match(world.state.services.get(web), { rollout: "rolled_back", revision: 3 });
    t.strictSame(
      world.running().map(({ id }) => id),
      before,
    );
  });

  t.test("what fails after the traffic has moved hands it back in one step", async (t) => {
    const world = cluster(3, { update: blueGreen });
    put(world, 3, { update: blueGreen });
    world.run(25_000);
    for (const task of receiving(world)) world.setStatus(task.id, { health: "unhealthy" });
    world.plan();
    world.plan();
    t.equal(imagesOf(world, receiving(world)), "web:1");
    t.equal(receiving(world).length, 3);
    world.run(5_000);
    t.equal(world.running().length, 3, "what failed does not stand by");
  });

  t.test("the old ones are replaced while the new ones have no traffic", async (t) => {
    const behaviourOf = (image: string) => (image === "web:2" ? "hangs" : "serves");
    const world = cluster(3, { behaviourOf, update: blueGreen });
    put(world, 3, { update: blueGreen });
    world.run(5_000);
    world.setMember("n1", "failed");
    world.run(30_000);
    t.equal(receiving(world).length, 3);
    t.equal(imagesOf(world, receiving(world)), "web:1");
    t.notOk(receiving(world).some(({ nodeId }) => nodeId === "n1"));
  });

  t.test("while it is paused nothing moves; resumed, it goes on", async (t) => {
    const world = cluster(3, { update: blueGreen });
    put(world, 3, { update: blueGreen });
    world.run(1_000);
    world.submit({ kind: "steer_rollout", service: web, action: "pause", nowMs: world.now });
    world.run(60_000, () => t.equal(imagesOf(world, receiving(world)), "web:1"));
    world.submit({ kind: "steer_rollout", service: web, action: "resume", nowMs: world.now });
    world.run(2_000);
    t.equal(imagesOf(world, receiving(world)), "web:2");
  });

  t.test("waits for every proxy to know the new ones, but not for ever", async (t) => {
    const world = cluster(3, { update: blueGreen });
    world.setAwaiting("n2", (task) => task.revision === 2);
    put(world, 3, { update: blueGreen });
    let allServeSince: number | undefined;
    let movedAt = 0;
    world.run(60_000, () => {
      const isUp = world.serving().filter(({ revision }) => revision === 2).length === 3;
      if (isUp) allServeSince ??= world.now;
      if (movedAt === 0 && imagesOf(world, receiving(world)) === "web:2") movedAt = world.now;
    });
    const waitedMs = movedAt - (allServeSince ?? 0);
    const { monitorMs } = blueGreen;
    t.ok(waitedMs >= monitorMs + 9_000 && waitedMs <= monitorMs + 12_000, `${waitedMs} ms`);
  });

  t.test("of a global service counts the nodes that are there", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    const spec = { mode: { kind: "global" }, update: blueGreen } as const;
    world.put(spec);
    world.run(8_000);
    world.setMember("n3", "failed");
    world.put({ ...spec, template: next });
    world.run(25_000, () => t.equal(receiving(world).length, 2));
    t.equal(imagesOf(world, receiving(world)), "web:2");
    world.setMember("n3", "alive");
    world.run(keepMs + 20_000);
    t.equal(world.serving().length, 3);
    t.equal(imagesOf(world, world.running()), "web:2");
  });

  t.test("ends when the service is changed to roll batch by batch", async (t) => {
    const rolling = { ...serviceSpec().update };
    const world = cluster(3, { update: blueGreen });
    put(world, 3, { update: blueGreen });
    world.run(2_000);
    put(world, 3, { update: rolling });
    world.run(30_000, () => t.ok(receiving(world).length >= 3));
    t.equal(world.state.services.get(web)?.traffic, undefined);
    t.equal(world.running().length, 3);
    t.equal(imagesOf(world, world.running()), "web:2");
  });
});

t.test("a canary", async (t) => {
  const updated = (world: World) => world.running().filter(({ revision }) => revision === 2).length;

  for (const [share, replicas, wanted] of [
    [{ kind: "count", count: 1 }, 6, 1],
    [{ kind: "count", count: 4 }, 6, 4],
    [{ kind: "percent", percent: 25 }, 6, 2],
    [{ kind: "percent", percent: 1 }, 6, 1],
    [{ kind: "count", count: 9 }, 3, 3],
  ] as const) {
    for (const order of ["start-first", "stop-first"] as const) {
      const name = `${JSON.stringify(share)} of ${replicas} (${order})`;
      t.test(`of ${name} bakes, then the rest follows by itself`, async (t) => {
        const how = { ...canary(share), order };
        const world = cluster(replicas, { update: how });
        put(world, replicas, { update: how });
        const bounds = () => {
          const least = order === "start-first" ? replicas : replicas - 1;
          t.ok(world.serving().length >= least);
          t.ok(world.running().length <= replicas + (order === "start-first" ? 1 : 0));
        };
        let mostBeforeBake = 0;
        let firstAt: number | undefined;
        world.run(20_000, () => {
          bounds();
          if (updated(world) > 0) firstAt ??= world.now;
          if (world.now < (firstAt ?? world.now) + 20_000) {
            mostBeforeBake = Math.max(mostBeforeBake, updated(world));
          }
        });
        world.run(20_000 + 10_000 * wanted, bounds);
        t.ok(mostBeforeBake <= wanted, `${mostBeforeBake} at first`);
        world.run(90_000, bounds);
        t.equal(updated(world), replicas);
        t.equal(world.running().length, replicas);
        const service = world.state.services.get(web);
        t.equal(service?.rollout, "normal");
        // Where the canary is everything, nothing is left that would follow.
        if (wanted < replicas) t.equal(service?.promotedRevision, 2);
      });
    }
  }

  t.test("that fails goes back, and nothing else was touched", async (t) => {
    const behaviourOf = (image: string) => (image === "web:2" ? "fails" : "serves");
    const how = canary({ kind: "percent", percent: 30 });
    const world = cluster(6, { behaviourOf, update: { ...how, maxFailureRatio: 0.5 } });
    const before = world.running().map(({ id }) => id);
    put(world, 6, { update: { ...how, maxFailureRatio: 0.5 } });
    world.run(90_000, () => t.ok(world.serving().length >= 6));
    t.match(world.state.services.get(web), { rollout: "rolled_back", revision: 3 });
    t.strictSame(
      world.running().map(({ id }) => id),
      before,
    );
  });

  t.test("that is to be looked at waits until the roll-out is resumed", async (t) => {
    const how = canary({ kind: "count", count: 2 }, { pauses: true });
    const world = cluster(6, { update: how });
    put(world, 6, { update: how });
    world.run(300_000, () => t.ok(updated(world) <= 2));
    t.equal(updated(world), 2);
    t.match(world.state.services.get(web), { rollout: "paused", pauseCause: "canary" });
    world.submit({ kind: "steer_rollout", service: web, action: "resume", nowMs: world.now });
    world.run(90_000, () => t.ok(world.serving().length >= 6));
    t.equal(updated(world), 6);
  });

  t.test("need not be waited for: resume ends it at once", async (t) => {
    const how = canary({ kind: "count", count: 1 }, { bakeMs: 3_600_000 });
    const world = cluster(4, { update: how });
    put(world, 4, { update: how });
    world.run(20_000);
    t.equal(updated(world), 1);
    world.submit({ kind: "steer_rollout", service: web, action: "resume", nowMs: world.now });
    world.run(60_000);
    t.equal(updated(world), 4);
  });

  t.test("stays as small when nodes fail and replicas are added", async (t) => {
    const how = canary({ kind: "count", count: 1 }, { bakeMs: 300_000 });
    const world = cluster(4, { update: how });
    put(world, 4, { update: how });
    world.run(20_000);
    world.setMember("n1", "failed");
    world.scale(6);
    world.run(60_000, () => t.ok(updated(world) <= 2));
    t.equal(world.serving().length, 6);
    t.ok(updated(world) <= 1, `${updated(world)} updated`);
    t.equal(imagesOf(world, world.running()), "web:1 web:2");
  });

  t.test("is only for updates: a new service starts as a whole", async (t) => {
    const how = canary({ kind: "count", count: 1 });
    const world = cluster(4, { update: how });
    t.equal(world.serving().length, 4);
    t.match(world.state.services.get(web), { rollout: "normal", revision: 1 });
  });

  t.test("is not repeated on the way back", async (t) => {
    const how = canary({ kind: "count", count: 1 });
    const world = cluster(4, { update: how });
    put(world, 4, { update: how });
    world.run(120_000);
    t.equal(updated(world), 4);
    world.submit({ kind: "roll_back_service", service: web, nowMs: world.now });
    world.run(40_000);
    t.equal(imagesOf(world, world.running()), "web:1");
  });
});
