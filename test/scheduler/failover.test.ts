import t from "tap";
import { nodeId, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import type { FailoverSpec, HealthCheckSpec } from "../../src/spec/index.ts";
import { fenceMarginMs, leaseMs } from "../../src/spec/index.ts";
import { serviceSpec, template } from "../builders.ts";
import { World, web } from "./world.ts";

/** What becomes of the tasks of a node that is lost, and that may come back. */

const names = ["n1", "n2", "n3"];

function single(failover: FailoverSpec, seed = 1): World {
  const world = new World(names, { seed });
  const order = failover.isFenced === true ? "stop-first" : "start-first";
  world.put({
    mode: { kind: "replicated", replicas: 1 },
    update: { ...serviceSpec().update, order },
    failover,
  });
  world.run(8_000);
  return world;
}

function home(world: World): string {
  return world.running()[0]?.nodeId ?? "";
}

t.test("x-failover.after is the time after which a task is replaced", async (t) => {
  for (const [afterMs, failover] of [
    [5_000, {}],
    [0, { afterMs: 0 }],
    [30_000, { afterMs: 30_000 }],
    [120_000, { afterMs: 120_000 }],
  ] as const) {
    const world = single(failover);
    world.setMember(home(world), "failed");
    const from = world.now;
    let replacedAt = 0;
    world.run(150_000, () => {
      if (replacedAt === 0 && world.commands.length > 1) replacedAt = world.now;
    });
    const tookMs = replacedAt - from;
    t.ok(tookMs >= afterMs && tookMs < afterMs + 1_000, `${tookMs} for ${afterMs}`);
  }
});

t.test("the time that a node was suspected counts, and not more than was suspected", async (t) => {
  const cases = [
    { suspectMs: 3_000, status: "failed", afterMs: 6_000 },
    { suspectMs: 500, status: "failed", afterMs: 5_500 },
    { suspectMs: 8_000, status: "failed", afterMs: 8_000 },
    { suspectMs: 3_000, status: "left", afterMs: 13_000 },
    { suspectMs: 1_500, status: "failed", isGone: true, afterMs: 11_500 },
    { suspectMs: 3_000, status: "failed", afterMs: 8_000, hasNewLeader: true },
    { suspectMs: 3_000, status: "failed", afterMs: 13_000, failover: { afterMs: 10_000 } },
  ] as const;
  for (const { suspectMs, status, afterMs, ...rest } of cases) {
    const world = single("failover" in rest ? rest.failover : {});
    const lost = home(world);
    const commands = world.commands.length;
    const from = world.now;
    let replacedAt = 0;
    const look = () => {
      if (replacedAt === 0 && world.commands.length > commands) replacedAt = world.now;
    };
    world.setMember(lost, "suspect");
    world.run(suspectMs, look);
    world.setMember(lost, status, { isGone: "isGone" in rest });
    if ("hasNewLeader" in rest) world.changeLeader();
    world.run(20_000, look);
    const tookMs = replacedAt - from;
    const name = `suspect for ${suspectMs} ms, then ${status}: ${tookMs} for ${afterMs}`;
    t.ok(tookMs >= afterMs && tookMs < afterMs + 1_000, name);
  }
});

t.test("a node that objects is counted anew", async (t) => {
  const world = single({});
  const lost = home(world);
  world.setMember(lost, "suspect");
  world.run(5_000);
  world.setMember(lost, "alive");
  world.run(1_000);
  world.setMember(lost, "failed");
  const commands = world.commands.length;
  world.run(4_500);
  t.equal(world.commands.length, commands);
  world.run(1_500);
  t.ok(world.commands.length > commands);
});

t.test("a node that is back in time keeps its task", async (t) => {
  const world = single({ afterMs: 30_000 });
  const before = world.running();
  world.setMember(home(world), "failed");
  world.run(25_000);
  world.setMember(home(world), "alive");
  world.run(60_000);
  t.strictSame(world.running(), before);
});

t.test("when a node comes back", async (t) => {
  t.test("the replacement stays, unless the service says otherwise", async (t) => {
    const world = single({ afterMs: 1_000 });
    const [original] = world.running();
    world.setMember(home(world), "failed");
    world.run(10_000);
    world.setMember(original?.nodeId ?? "", "alive");
    world.run(10_000);
    t.equal(world.running().length, 1);
    t.not(world.running()[0]?.id, original?.id);
  });

  t.test("with keep-original its task stays and the replacement goes", async (t) => {
    const world = single({ afterMs: 1_000, reconnect: "keep-original" });
    const [original] = world.running();
    world.setMember(home(world), "failed");
    world.run(10_000);
    t.equal(world.serving().length, 1, "another one serves meanwhile");
    t.equal(world.running().length, 2, "the original was not told to stop");
    world.setMember(original?.nodeId ?? "", "alive");
    world.run(10_000, () => t.ok(world.serving().length >= 1));
    t.strictSame(world.running(), [original]);
    t.equal(world.state.tasks.size, 1);
  });

  t.test("with keep-original a task that does not serve any more has to go", async (t) => {
    const world = single({ afterMs: 1_000, reconnect: "keep-original" });
    const [original] = world.running();
    world.setMember(home(world), "failed");
    world.run(10_000);
    if (original !== undefined) world.setStatus(original.id, { phase: "preparing", restarts: 1 });
    world.setMember(original?.nodeId ?? "", "alive");
    world.run(10_000, () => t.ok(world.serving().length >= 1));
    t.equal(world.running().length, 1);
    t.not(world.running()[0]?.id, original?.id);
  });

  t.test("with keep-original the loss of the replacement too leaves one to serve", async (t) => {
    const world = single({ afterMs: 1_000, reconnect: "keep-original" });
    const [original] = world.running();
    world.setMember(home(world), "failed");
    world.run(8_000);
    const second = world.serving()[0]?.nodeId ?? "";
    world.setMember(second, "failed");
    world.run(8_000);
    t.equal(world.serving().length, 1);
    t.equal(world.running().length, 2);
    world.setMember(second, "alive");
    world.setMember(original?.nodeId ?? "", "alive");
    world.run(20_000);
    t.strictSame(world.running(), [original]);
  });

  t.test("with keep-original an outdated task is not kept", async (t) => {
    const world = single({ afterMs: 1_000, reconnect: "keep-original" });
    const [original] = world.running();
    world.setMember(home(world), "failed");
    world.run(8_000);
    world.put({
      mode: { kind: "replicated", replicas: 1 },
      failover: { afterMs: 1_000, reconnect: "keep-original" },
      template: template({ image: "web:2" }),
    });
    world.run(30_000);
    world.setMember(original?.nodeId ?? "", "alive");
    world.run(20_000);
    t.equal(world.running().length, 1);
    t.equal(world.running()[0]?.revision, 2);
  });
});

t.test("a fenced service", async (t) => {
  const failover = { afterMs: 30_000, isFenced: true } as const;
  const lease = leaseMs({ failover }) ?? 0;

  t.test("is replaced after the time that it says, and not before", async (t) => {
    const world = single(failover);
    world.setMember(home(world), "failed");
    const from = world.now;
    let createdAt = 0;
    world.run(60_000, () => {
      if (createdAt === 0 && world.running().length > 0 && world.commands.length > 2) {
        createdAt = world.now;
      }
    });
    const tookMs = createdAt - from;
    t.ok(tookMs >= 30_000 && tookMs < 31_000, `${tookMs} ms`);
    t.equal(world.serving().length, 1);
  });

  t.test("says what it waits for", async (t) => {
    const world = single(failover);
    world.setMember(home(world), "failed");
    world.run(10_000);
    t.match(world.lastPlan.explanations.get(web), [{ cause: "waiting_for_stop" }]);
  });

  for (const seed of Array.from({ length: 40 }, (_, i) => i + 1)) {
    t.test(
      `seed ${seed}: never has two tasks, whoever leads and whenever the node is back`,
      async (t) => {
        const random = seededRandom(seed);
        const world = single(failover, seed);
        const [victim] = world.running();
        const node = victim?.nodeId ?? nodeId("");
        // Cut off: the leader learns of it later, and the node stops its task by its own clock.
        const cutAt = world.now;
        const diesAt = cutAt + lease - fenceMarginMs;
        const noticedAt = cutAt + 1_500 + randomBelow(random, 9_000);
        const backAt = noticedAt + randomBelow(random, 60_000);
        let isBack = false;
        let isNoticed = false;
        const runsThere = () => !isBack && world.now < diesAt;
        world.run(120_000, () => {
          if (!isNoticed && world.now >= noticedAt) {
            isNoticed = true;
            world.setMember(node, "failed");
          }
          if (!isBack && world.now >= backAt) {
            isBack = true;
            world.setMember(node, "alive");
          }
          if (randomBelow(random, 20) === 0) world.changeLeader();
          const others = world.serving().filter(({ id }) => id !== victim?.id);
          const there = world.serving().some(({ id }) => id === victim?.id) || runsThere();
          t.ok(others.length + (there ? 1 : 0) <= 1, "one at the most");
        });
        world.run(60_000);
        t.equal(world.serving().length, 1, "and one in the end");
        t.equal(world.running().length, 1);
      },
    );
  }

  t.test("stops first when its node drains", async (t) => {
    const world = single(failover);
    world.drain(home(world));
    world.run(30_000, () => t.ok(world.serving().length <= 1));
    t.equal(world.serving().length, 1);
    t.equal(world.running().length, 1);
  });

  t.test("is not given another place while its old one may still run", async (t) => {
    const world = new World(names);
    const spec = { failover, update: { ...serviceSpec().update, order: "stop-first" } } as const;
    world.put({ ...spec, mode: { kind: "replicated", replicas: 2 } });
    world.run(8_000);
    const [first] = world.running();
    world.setMember(first?.nodeId ?? "", "failed");
    world.run(10_000);
    world.scale(1);
    world.run(2_000);
    world.scale(2);
    world.run(5_000);
    t.equal(world.serving().length, 1, "the other one");
    world.run(40_000);
    t.equal(world.serving().length, 2);
  });

  t.test("is replaced at once when its machine is removed", async (t) => {
    const world = single(failover);
    const node = nodeId(home(world));
    world.setMember(node, "failed");
    world.submit({ kind: "remove_node", nodeId: node });
    world.run(5_000);
    t.equal(world.serving().length, 1);
  });
});

t.test("[B6] a task that its node gives up is started on another one", async (t) => {
  const world = single({});
  const [first] = world.running();
  if (first !== undefined) world.fail(first.id, "exited with code 1, six times in a row");
  world.run(10_000);
  const [second] = world.serving();
  t.not(second?.nodeId, first?.nodeId);
  t.match(second?.reason, /^Replaces .*, which failed\.$/);
});

t.test(
  "keep-unhealthy: of a paused roll-out the task that is unhealthy stays to be looked at",
  async (t) => {
    const check: HealthCheckSpec = {
      test: { kind: "tcp", port: 80 },
      intervalMs: 1_000,
      timeoutMs: 1_000,
      retries: 1,
      startPeriodMs: 0,
      startIntervalMs: 1_000,
    };
    for (const keepUnhealthy of [true, undefined] as const) {
      const world = new World(names);
      world.put();
      world.run(8_000);
      const healthCheck = { ...check, ...(keepUnhealthy && { keepUnhealthy }) };
      world.put({ template: template({ image: "web:2", healthCheck }) });
      world.run(2_500);
      const bad = world.running().find(({ revision }) => revision === 2);
      if (bad !== undefined) world.setStatus(bad.id, { phase: "running", health: "unhealthy" });
      world.run(20_000, () => t.ok(world.serving().length >= 3));
      t.equal(world.state.services.get(web)?.rollout, "paused");
      t.equal(
        world.running().some(({ id }) => id === bad?.id),
        keepUnhealthy === true,
      );
    }
  },
);
