import t from "tap";
import { nodeId, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import type { RolloutSpec } from "../../src/spec/index.ts";
import { serviceSpec, template } from "../builders.ts";
import { World, web } from "./world.ts";

function update(overrides: Partial<RolloutSpec> = {}): RolloutSpec {
  return { ...serviceSpec().update, ...overrides };
}

function steer(world: World, action: "pause" | "resume"): void {
  world.submit({ kind: "steer_rollout", service: web, action, nowMs: world.now });
}

const next = template({ image: "web:2" });

t.test("a good update", async (t) => {
  const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
  for (const order of ["start-first", "stop-first"] as const) {
    for (const seed of seeds) {
      t.test(
        `[E3] ${order}, seed ${seed}, keeps its bounds and ends in the new revision`,
        async (t) => {
          const random = seededRandom(seed);
          const wanted = 1 + randomBelow(random, 6);
          const parallelism = 1 + randomBelow(random, 3);
          const world = new World(["n1", "n2", "n3"], { seed });
          const spec = {
            mode: { kind: "replicated", replicas: wanted },
            update: update({ order, parallelism }),
          } as const;
          world.put(spec);
          world.run(4_000);
          world.put({ ...spec, template: next });
          let fewest = wanted;
          let most = 0;
          world.run(60_000, () => {
            fewest = Math.min(fewest, world.serving().length);
            most = Math.max(most, world.running().length);
          });
          const allowed = order === "start-first" ? wanted : Math.max(0, wanted - parallelism);
          t.ok(fewest >= allowed, `at least ${allowed} served, fewest ${fewest}`);
          t.ok(most <= wanted + (order === "start-first" ? parallelism : 0), `at most ${most} ran`);
          t.ok(world.running().every((task) => task.revision === 2));
          t.equal(world.serving().length, wanted);
          t.equal(world.state.tasks.size, wanted, "the old ones are forgotten");
          const counts = ["n1", "n2", "n3"].map((node) => world.perNode()[node] ?? 0);
          t.ok(Math.max(...counts) - Math.min(...counts) <= 1, "still spread");
        },
      );
    }
  }

  t.test("keeps an old task until the new one has served for the time of monitor", async (t) => {
    const monitorMs = 5_000;
    const world = new World(["n1", "n2", "n3"], { seed: 5 });
    const spec = { update: update({ order: "start-first", parallelism: 1, monitorMs }) };
    world.put(spec);
    world.run(4_000);
    world.put({ ...spec, template: next });
    const servedSince = new Map<string, number>();
    const stoppedTooSoon: string[] = [];
    let isBroken = false;
    world.run(60_000, () => {
      for (const task of world.serving()) {
        if (!servedSince.has(task.id)) servedSince.set(task.id, world.now);
      }
      // One of them dies young, once: its time begins anew.
      const young = world.serving().find((task) => task.revision === 2);
      if (
        young !== undefined &&
        !isBroken &&
        world.now - (servedSince.get(young.id) ?? 0) > 2_000
      ) {
        isBroken = true;
        servedSince.set(young.id, world.now);
        world.setStatus(young.id, { restarts: 1, sinceMs: world.now });
      }
      for (const task of world.state.tasks.values()) {
        if (task.revision === 2 || task.desired === "running") continue;
        const successor = [...world.state.tasks.values()].find(
          ({ slot, revision }) => slot === task.slot && revision === 2,
        );
        const since = servedSince.get(successor?.id ?? "") ?? world.now;
        if (task.stoppedAtIndex === world.state.index && world.now - since < monitorMs - 500) {
          stoppedTooSoon.push(`slot ${task.slot} after ${world.now - since} ms`);
        }
      }
    });
    t.ok(isBroken);
    t.strictSame(stoppedTooSoon, []);
    t.ok(world.running().every((task) => task.revision === 2));
  });

  t.test("survives a node failure and a scale-up on its way", async (t) => {
    const world = new World(["n1", "n2", "n3"], { seed: 11 });
    world.put();
    world.run(4_000);
    world.put({ template: next });
    world.run(1_500);
    world.setMember("n3", "failed");
    world.scale(5);
    world.run(10_000);
    world.setMember("n3", "alive");
    world.run(40_000);
    t.equal(world.serving().length, 5);
    t.ok(world.running().every((task) => task.revision === 2));
  });

  t.test("waits delayMs between two batches, and spreads them", async (t) => {
    const world = new World(["n1", "n2", "n3"], { startMs: { min: 0, max: 1 } });
    world.put({ update: update({ delayMs: 10_000 }) });
    world.run(4_000);
    world.put({ update: update({ delayMs: 10_000 }), template: next });
    world.run(60_000);
    const times = world.commands
      .flatMap(({ create }) => create)
      .filter((task) => task.revision === 2)
      .map((task) => task.createdAtMs);
    t.equal(times.length, 3);
    t.strictSame(world.perNode(), { n1: 1, n2: 1, n3: 1 });
    for (const [i, time] of times.slice(1).entries()) t.ok(time - (times[i] ?? 0) >= 10_000);
  });

  t.test("waits for the time of monitor though the old task's node drains", async (t) => {
    const monitorMs = 5_000;
    const world = new World(["n1", "n2"], { startMs: { min: 0, max: 1 } });
    const spec = {
      mode: { kind: "replicated", replicas: 1 },
      update: update({ monitorMs }),
    } as const;
    world.put(spec);
    world.run(4_000);
    world.drain(world.running()[0]?.nodeId ?? "");
    world.put({ ...spec, template: next });
    world.run(4_000);
    t.strictSame(
      world
        .serving()
        .map(({ revision }) => revision)
        .sort(),
      [1, 2],
    );
    world.run(10_000);
    t.strictSame(
      world.serving().map(({ revision }) => revision),
      [2],
    );
  });

  t.test("gives up the unfinished step of an update that it overtakes", async (t) => {
    const world = new World(["n1", "n2"], { capacity: { cpuMillis: 1_000, memoryBytes: 2 ** 30 } });
    const reservations = { cpuMillis: 600 };
    const mode = { kind: "replicated", replicas: 1 } as const;
    const put = (image: string) => world.put({ mode, template: template({ image, reservations }) });
    put("web:1");
    world.run(4_000);
    put("web:2");
    world.run(1_000);
    t.equal(world.running().length, 2, "no node has room for a third");
    put("web:3");
    world.run(30_000, () => t.ok(world.serving().length >= 1));
    t.strictSame(
      world.running().map(({ revision }) => revision),
      [3],
    );
  });

  t.test("that overtakes another keeps the old task, though its node drains", async (t) => {
    const world = new World(["n1", "n2", "n3"], { startMs: { min: 0, max: 1 } });
    const mode = { kind: "replicated", replicas: 1 } as const;
    const put = (image: string) =>
      world.put({ mode, update: update({ monitorMs: 5_000 }), template: template({ image }) });
    put("web:1");
    world.run(10_000);
    const [old] = world.running();
    put("web:2");
    world.run(1_000);
    world.drain(old?.nodeId ?? "");
    t.equal(world.serving().length, 2, "the second has come up just now");
    put("web:3");
    world.run(1_000);
    t.ok(world.running().some(({ id }) => id === old?.id));
    world.run(30_000, () => t.ok(world.serving().length >= 1));
    t.strictSame(
      world.running().map(({ revision }) => revision),
      [3],
    );
  });

  t.test("parallelism 0 replaces all at once", async (t) => {
    const world = new World(["n1", "n2"]);
    world.put({ update: update({ parallelism: 0 }) });
    world.run(4_000);
    world.put({ update: update({ parallelism: 0 }), template: next });
    world.plan();
    t.equal(world.running().length, 6);
  });

  t.test("during a drain ends on the other nodes", async (t) => {
    const world = new World(["n1", "n2", "n3"], { seed: 5 });
    world.put();
    world.run(4_000);
    world.put({ template: next });
    world.run(1_000);
    world.submit({ kind: "set_eligibility", nodeId: nodeId("n1"), eligibility: "drain" });
    world.run(40_000, () => t.ok(world.serving().length >= 3));
    t.ok(world.running().every((task) => task.revision === 2 && task.nodeId !== "n1"));
    t.equal(world.running().length, 3);
  });
});

t.test("an update that stops first", async (t) => {
  const stopFirst = (parallelism: number, more: Partial<RolloutSpec> = {}) =>
    update({ order: "stop-first", parallelism, ...more });
  const mode = { kind: "replicated", replicas: 6 } as const;
  const large = template({ image: "web:2", reservations: { cpuMillis: 100_000 } });

  for (const parallelism of [1, 2]) {
    const name = `[E3] that fits nowhere leaves all but ${parallelism} serving, until it is mended`;
    t.test(name, async (t) => {
      const world = new World(["n1", "n2", "n3"], { seed: parallelism });
      const spec = { mode, update: stopFirst(parallelism) };
      world.put(spec);
      world.run(6_000);
      world.put({ ...spec, template: large });
      const atLeast = () => t.ok(world.serving().length >= 6 - parallelism);
      world.run(60_000, atLeast);
      t.equal(world.serving().length, 6 - parallelism);
      t.equal(world.lastPlan.explanations.get(web)?.length, parallelism, "it is told why");
      world.put({ ...spec, template: next });
      world.run(120_000, atLeast);
      t.equal(world.serving().length, 6);
      t.ok(world.running().every(({ revision }) => revision === 3));
      t.equal(world.state.tasks.size, 6, "nothing is remembered for ever");
    });
  }

  t.test("[E3] and has lost its room meanwhile does not go on to the next", async (t) => {
    const world = new World(["n1"], { startMs: { min: 0, max: 1 } });
    const spec = { mode: { kind: "replicated", replicas: 3 } as const, update: stopFirst(1) };
    const third = { reservations: { cpuMillis: 1_300 } };
    world.put({ ...spec, template: template(third) });
    world.run(6_000);
    world.put({ ...spec, template: template({ ...third, image: "web:2" }) });
    world.run(500);
    // The machine is smaller when it comes back from its repair.
    world.setCapacity("n1", { cpuMillis: 2_700, memoryBytes: 2 ** 33 });
    world.run(30_000, () => t.ok(world.serving().length >= 2));
    t.equal(world.running().length, 2);
    world.scale(2);
    world.run(60_000);
    t.equal(world.state.tasks.size, 2, "nobody misses the third");
    t.ok(world.running().every(({ revision }) => revision === 2));
  });

  t.test(
    "goes on where a lost place of the service takes the room that it has freed",
    async (t) => {
      const needs = { reservations: { cpuMillis: 800 } };
      const world = new World(["n1", "n2", "n3"], {
        capacity: { cpuMillis: 1_600, memoryBytes: 2 ** 33 },
      });
      const spec = { mode, update: stopFirst(1) };
      world.put({ ...spec, template: template(needs) });
      world.run(6_000);
      world.setMember("n3", "failed");
      world.run(30_000);
      t.equal(world.serving().length, 4, "there is room for no more");
      world.put({ ...spec, template: template({ ...needs, image: "web:2" }) });
      world.run(120_000, () => t.ok(world.serving().length >= 3));
      t.equal(world.serving().length, 4);
      t.ok(world.serving().every(({ revision }) => revision === 2));
    },
  );

  t.test("goes on once a new task has served for the time of monitor", async (t) => {
    const monitorMs = 10_000;
    const world = new World(["n1", "n2", "n3"], { startMs: { min: 0, max: 1 } });
    const spec = { mode, update: stopFirst(2, { monitorMs, failureAction: "rollback" }) };
    world.put(spec);
    world.run(6_000);
    world.put({ ...spec, template: next });
    // Each of the new ones dies after 3 s, again and again; a restart begins its time anew.
    let restarts = 0;
    for (let round = 0; round < 10; round += 1) {
      world.run(3_000, () => t.ok(world.running().filter(isOld).length >= 4));
      restarts += 1;
      for (const { id, revision } of world.serving()) {
        if (revision === 2) world.setStatus(id, { restarts, sinceMs: world.now });
      }
    }
    t.match(world.state.services.get(web), { rollout: "rolled_back", revision: 3 });
    t.equal(world.serving().length, 6);

    function isOld({ revision }: { readonly revision: number }) {
      return revision !== 2;
    }
  });
});

t.test("a bad update", async (t) => {
  for (const behaviour of ["fails", "crashes"] as const) {
    for (const order of ["start-first", "stop-first"] as const) {
      const bad = {
        behaviourOf: (image: string) => (image === "web:2" ? behaviour : "serves"),
      } as const;

      t.test(`that ${behaviour} (${order}) is paused after the first batch`, async (t) => {
        const world = new World(["n1", "n2", "n3"], bad);
        world.put({ update: update({ order }) });
        world.run(4_000);
        world.put({ update: update({ order }), template: next });
        const fewest = order === "start-first" ? 3 : 2;
        world.run(60_000, () => t.ok(world.serving().length >= fewest));
        t.equal(world.state.services.get(web)?.rollout, "paused");
        t.equal(world.running().filter((task) => task.revision === 1).length, fewest);
      });

      t.test(`[E7] that ${behaviour} (${order}) goes back by itself`, async (t) => {
        const world = new World(["n1", "n2", "n3"], bad);
        const rollout = update({ order, failureAction: "rollback" });
        world.put({ update: rollout });
        world.run(4_000);
        const before = world.running();
        world.put({ update: rollout, template: next });
        const fewest = order === "start-first" ? 3 : 2;
        world.run(60_000, () => t.ok(world.serving().length >= fewest));
        const service = world.state.services.get(web);
        t.match(service, { rollout: "rolled_back", revision: 3 });
        t.equal(service?.spec.template.image, "web:1");
        t.equal(world.running().length, 3);
        t.equal(world.serving().length, 3);
        const kept = world.running().filter((task) => before.includes(task));
        t.equal(kept.length, fewest, "what still ran the old template was left alone");
      });
    }
  }

  t.test("that is up for a moment when it is paused leaves the old tasks alone", async (t) => {
    const world = new World(["n1", "n2"], { startMs: { min: 0, max: 1 } });
    const spec = { update: update({ parallelism: 0, monitorMs: 5_000 }) };
    world.put(spec);
    world.run(10_000);
    const before = world.running();
    world.put({ ...spec, template: next });
    world.run(1_000);
    for (const { id, revision } of world.running()) {
      if (revision === 2) world.setStatus(id, { restarts: 2, sinceMs: world.now });
    }
    world.run(2_000);
    t.equal(world.state.services.get(web)?.rollout, "paused");
    t.strictSame(
      world
        .running()
        .map(({ id }) => id)
        .sort(),
      before.map(({ id }) => id).sort(),
    );
  });

  t.test("with one replica that stops first goes back, though nothing old runs", async (t) => {
    const world = new World(["n1"], {
      behaviourOf: (image) => (image === "web:2" ? "crashes" : "serves"),
    });
    const spec = {
      mode: { kind: "replicated", replicas: 1 },
      update: update({ order: "stop-first", failureAction: "rollback" }),
    } as const;
    world.put(spec);
    world.run(4_000);
    world.put({ ...spec, template: next });
    world.run(30_000);
    t.equal(world.state.services.get(web)?.rollout, "rolled_back");
    t.equal(world.serving().length, 1);
  });

  t.test("whose way back fails as well is paused there", async (t) => {
    const world = new World(["n1", "n2", "n3"], {
      behaviourOf: (_image, task) => (task.revision === 1 ? "serves" : "fails"),
    });
    const rollout = update({ order: "stop-first", failureAction: "rollback" });
    world.put({ update: rollout });
    world.run(4_000);
    world.put({ update: rollout, template: next });
    world.run(60_000, () => t.ok(world.serving().length >= 2));
    t.match(world.state.services.get(web), { rollout: "paused", revision: 3 });
  });

  t.test("[E7] that never becomes healthy stays at its first batch", async (t) => {
    const world = new World(["n1", "n2", "n3"], {
      behaviourOf: (image) => (image === "web:2" ? "hangs" : "serves"),
    });
    world.put();
    world.run(4_000);
    world.put({ template: next });
    world.run(60_000, () => t.equal(world.serving().length, 3));
    t.equal(world.running().filter((task) => task.revision === 2).length, 1);
  });

  t.test("within maxFailureRatio goes on", async (t) => {
    const world = new World(["n1", "n2", "n3"], {
      behaviourOf: (image, task) =>
        image === "web:2" && task.slot === 1 && task.nodeId === "n1" ? "fails" : "serves",
    });
    world.put({ update: update({ maxFailureRatio: 0.5 }) });
    world.run(4_000);
    world.put({ update: update({ maxFailureRatio: 0.5 }), template: next });
    world.run(60_000);
    t.equal(world.state.services.get(web)?.rollout, "normal");
    t.ok(world.running().every((task) => task.revision === 2));
  });

  t.test("is cured by the next one", async (t) => {
    const world = new World(["n1", "n2", "n3"], {
      behaviourOf: (image) => (image === "web:2" ? "fails" : "serves"),
    });
    world.put();
    world.run(4_000);
    world.put({ template: next });
    world.run(10_000);
    world.put({ template: template({ image: "web:3" }) });
    world.run(40_000);
    t.match(world.state.services.get(web), { rollout: "normal", revision: 3 });
    t.equal(world.serving().length, 3);
    t.equal(world.state.tasks.size, 3);
  });

  t.test("does not follow from a node that fails long after a good one", async (t) => {
    const world = new World(["n1", "n2", "n3"], {
      behaviourOf: (_image, task) =>
        task.revision === 2 && task.slot === 2 && task.reason.includes("lost") ? "fails" : "serves",
    });
    world.put({ update: update({ failureAction: "rollback" }) });
    world.run(4_000);
    world.put({ update: update({ failureAction: "rollback" }), template: next });
    world.run(40_000);
    const victim = world.running().find((task) => task.slot === 2);
    world.setMember(victim?.nodeId ?? "", "failed");
    world.run(30_000);
    t.match(world.state.services.get(web), { rollout: "normal", revision: 2 });
  });
});

t.test("a paused roll-out", async (t) => {
  t.test("goes on when it is resumed, and its failures so far are forgiven", async (t) => {
    let isCured = false;
    const world = new World(["n1", "n2", "n3"], {
      behaviourOf: (image) => (image === "web:2" && !isCured ? "fails" : "serves"),
    });
    world.put();
    world.run(4_000);
    world.put({ template: next });
    world.run(30_000);
    t.match(world.state.services.get(web), { rollout: "paused", pauseCause: "failed" });
    isCured = true;
    steer(world, "resume");
    world.run(60_000, () => t.ok(world.serving().length >= 3));
    t.match(world.state.services.get(web), { rollout: "normal", revision: 2 });
    t.equal(world.state.services.get(web)?.pauseCause, undefined);
    t.ok(world.running().every((task) => task.revision === 2));
    t.equal(world.running().length, 3);
  });

  t.test("is paused again when what failed goes on failing", async (t) => {
    const world = new World(["n1", "n2", "n3"], {
      behaviourOf: (image) => (image === "web:2" ? "fails" : "serves"),
    });
    world.put();
    world.run(4_000);
    world.put({ template: next });
    world.run(30_000);
    steer(world, "resume");
    t.equal(world.state.services.get(web)?.rollout, "normal");
    world.run(90_000, () => t.ok(world.serving().length >= 3));
    t.match(world.state.services.get(web), { rollout: "paused", pauseCause: "failed" });
  });

  t.test("by hand replaces nothing more until it is resumed", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put();
    world.run(4_000);
    world.put({ template: next });
    world.run(8_000);
    steer(world, "pause");
    world.run(5_000);
    const updated = () => world.running().filter((task) => task.revision === 2).length;
    const before = updated();
    t.ok(before >= 1 && before < 3, `${before} updated`);
    world.run(60_000, () => t.equal(updated(), before));
    t.match(world.state.services.get(web), { rollout: "paused", pauseCause: "asked" });
    steer(world, "resume");
    world.run(60_000);
    t.equal(updated(), 3);
    t.equal(world.running().length, 3);
  });
});

t.test("with failure_action continue a bad update goes on to its end", async (t) => {
  const world = new World(["n1", "n2", "n3"], {
    behaviourOf: (image, task) => (image === "web:2" && task.slot === 1 ? "fails" : "serves"),
  });
  const goesOn = update({ failureAction: "continue" });
  world.put({ update: goesOn });
  world.run(4_000);
  world.put({ update: goesOn, template: next });
  world.run(120_000);
  t.match(world.state.services.get(web), { rollout: "normal", revision: 2 });
  const updated = world.serving().filter((task) => task.revision === 2);
  t.strictSame(updated.map(({ slot }) => slot).sort(), [2, 3]);
});

t.test("rollback_config", async (t) => {
  const goesBack = { update: update({ failureAction: "rollback", order: "start-first" }) };

  t.test("says how many are put back at a time, and what comes first", async (t) => {
    const spec = {
      ...goesBack,
      mode: { kind: "replicated", replicas: 6 },
      rollback: update({ parallelism: 3, order: "stop-first", failureAction: "pause" }),
    } as const;
    const world = new World(["n1", "n2", "n3"]);
    world.put(spec);
    world.run(4_000);
    world.put({ ...spec, template: next });
    world.run(120_000, () => t.ok(world.serving().length >= 6, "the update starts first"));
    world.submit({ kind: "roll_back_service", service: web, nowMs: world.now });
    let fewest = 6;
    let most = 0;
    world.run(120_000, () => {
      fewest = Math.min(fewest, world.serving().length);
      most = Math.max(most, world.running().length);
    });
    t.equal(fewest, 3, "three stopped first");
    t.equal(most, 6);
    t.ok(world.running().every((task) => task.revision === 3));
  });

  t.test("counts for the way back that the cluster chooses by itself", async (t) => {
    const spec = { ...goesBack, rollback: update({ parallelism: 0, failureAction: "continue" }) };
    const world = new World(["n1", "n2", "n3"], {
      // What runs is fine; of what is put back one task fails for a while.
      behaviourOf: (image, task) =>
        image === "web:2" || (task.revision === 3 && task.slot === 2) ? "fails" : "serves",
    });
    world.put({ ...spec, update: { ...spec.update, order: "stop-first", parallelism: 2 } });
    world.run(4_000);
    world.put({
      ...spec,
      update: { ...spec.update, order: "stop-first", parallelism: 2 },
      template: next,
    });
    world.run(120_000);
    t.match(world.state.services.get(web), { rollout: "rolled_back", revision: 3 });
  });

  t.test("allows as many failures as its max_failure_ratio", async (t) => {
    const states = [0, 0.5].map((maxFailureRatio) => {
      const spec = { ...goesBack, rollback: update({ failureAction: "pause", maxFailureRatio }) };
      const world = new World(["n1", "n2", "n3"], {
        behaviourOf: (_image, task) =>
          task.revision === 3 && task.slot === 1 && task.nodeId === "n1" ? "fails" : "serves",
      });
      world.put(spec);
      world.run(4_000);
      world.put({ ...spec, template: next });
      world.run(60_000);
      world.submit({ kind: "roll_back_service", service: web, nowMs: world.now });
      world.run(90_000);
      return world.state.services.get(web)?.rollout;
    });
    t.strictSame(states, ["paused", "normal"]);
  });
});

t.test("changed constraints move tasks one at a time", async (t) => {
  const world = new World(["n1", "n2", "n3"]);
  world.put();
  world.run(4_000);
  world.put({ placement: { constraints: [{ key: "node.id", operator: "!=", value: "n1" }] } });
  world.run(20_000, () => t.ok(world.serving().length >= 2));
  t.strictSame(world.perNode(), { n2: 2, n3: 1 });
});

t.test("[E4] what is put back before it rolled out restarts nothing", async (t) => {
  const world = new World(["n1", "n2", "n3"]);
  world.put();
  world.run(5_000);
  const before = world.running().map(({ id }) => id);
  world.put({ template: template({ image: "web:2" }) });
  world.submit({ kind: "roll_back_service", service: web, nowMs: world.now });
  world.run(20_000);
  t.strictSame(
    world.running().map(({ id }) => id),
    before,
  );
});
