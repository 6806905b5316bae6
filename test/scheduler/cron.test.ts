import t from "tap";
import type { ClusterState, JobRun } from "../../src/cluster/index.ts";
import { apply } from "../../src/cluster/index.ts";
import { randomBelow, seededRandom, taskId } from "../../src/kernel/index.ts";
import { plan } from "../../src/scheduler/plan.ts";
import type { ScheduleSpec } from "../../src/spec/index.ts";
import { template } from "../builders.ts";
import { World, type WorldOptions, web } from "./world.ts";

const minuteMs = 60_000;
const restart = { condition: "none" as const, delayMs: 0, windowMs: 0 };
const mode = { kind: "replicated-job" as const, completions: 1, parallelism: 1, retries: 0 };

function scheduled(overrides: Partial<ScheduleSpec> = {}) {
  const schedule: ScheduleSpec = {
    cron: "* * * * *",
    timezone: "UTC",
    overlap: "forbid",
    isSuspended: false,
    ...overrides,
  };
  return { mode, schedule, template: template({ restart }) };
}

function worldAt(text: string, options: WorldOptions = {}): World {
  const world = new World(["n1", "n2"], { behaviourOf: () => "completes", ...options });
  world.now = Date.parse(text);
  return world;
}

function runs(world: { readonly state: ClusterState }): readonly JobRun[] {
  return world.state.services.get(web)?.runs ?? [];
}

function dueTimes(world: World): readonly string[] {
  return runs(world).map(({ dueAtMs = 0 }) => new Date(dueAtMs).toISOString().slice(11, 16));
}

t.test("[D7] a schedule runs once at each due time, and not before the first", async (t) => {
  const world = worldAt("2026-01-01T10:00:30Z");
  world.put(scheduled());
  world.run(25_000);
  t.strictSame(dueTimes(world), []);
  world.run(3 * minuteMs);
  t.strictSame(dueTimes(world), ["10:01", "10:02", "10:03"]);
  t.ok(runs(world).every(({ state }) => state === "succeeded"));
});

t.test("[D7] the time zone counts", async (t) => {
  const world = worldAt("2026-07-01T00:58:30Z");
  world.put(scheduled({ cron: "0 3 * * *", timezone: "Europe/Berlin" }));
  world.run(3 * minuteMs);
  t.strictSame(dueTimes(world), ["01:00"]);
});

t.test("[D7] two leaders that plan the same due time start it once", async (t) => {
  const world = worldAt("2026-01-01T10:00:30Z");
  world.put(scheduled());
  world.run(10_000);
  world.now = Date.parse("2026-01-01T10:01:00.100Z");
  let ids = 0;
  const planned = (now: number) => {
    const newTaskId = () => {
      ids += 1;
      return taskId(`x${ids}`);
    };
    const { command } = plan({
      state: world.state,
      observations: world.observations,
      now,
      newTaskId,
    });
    if (command === undefined) throw new Error("nothing was due");
    return command;
  };
  // The clock of the other leader is ahead, but the due time is the same.
  const [one, other] = [planned(world.now), planned(world.now + 20_000)];
  world.submit(one);
  const second = apply(world.state, world.state.index + 1, other);
  t.match(second.outcome, { kind: "rejected", code: "stale" });
  t.equal(runs(world).length, 1);
  t.equal(world.running().length, 1);
});

t.test(
  "[D7] a leader that takes over with a clock behind does not repeat a due time",
  async (t) => {
    const world = worldAt("2026-01-01T10:00:30Z");
    world.put(scheduled());
    world.run(35_000);
    t.strictSame(dueTimes(world), ["10:01"]);
    world.now -= 50_000;
    world.run(40_000);
    t.strictSame(dueTimes(world), ["10:01"]);
    world.run(70_000);
    t.strictSame(dueTimes(world), ["10:01", "10:02"]);
  },
);

t.test(
  "[D7] what was due while nobody led is made up for once, and the rest is named",
  async (t) => {
    const world = worldAt("2026-01-01T10:00:30Z");
    world.put(scheduled());
    world.run(5_000);
    world.now = Date.parse("2026-01-01T10:05:20Z");
    world.run(10_000);
    t.strictSame(dueTimes(world), ["10:05"]);
    t.match(runs(world)[0]?.message, /4 earlier due times were missed/);
  },
);

t.test("[D7] a run that is due while the one before goes on", async (t) => {
  const slow = { workMs: 90_000 };
  const states = (world: World) => runs(world).map(({ state }) => state);

  t.test("is skipped, and that is remembered (forbid)", async (t) => {
    const world = worldAt("2026-01-01T10:00:30Z", slow);
    world.put(scheduled());
    world.run(3.2 * minuteMs);
    t.strictSame(states(world), ["succeeded", "skipped", "active"]);
  });

  t.test("is started as well (allow)", async (t) => {
    const world = worldAt("2026-01-01T10:00:30Z", slow);
    world.put(scheduled({ overlap: "allow" }));
    world.run(1.8 * minuteMs);
    t.strictSame(states(world), ["active", "active"]);
    t.equal(world.running().length, 2);
  });

  t.test("stops the other one (replace)", async (t) => {
    const world = worldAt("2026-01-01T10:00:30Z", slow);
    world.put(scheduled({ overlap: "replace" }));
    world.run(1.8 * minuteMs);
    t.strictSame(states(world), ["replaced", "active"]);
    t.equal(world.running().length, 1);
  });
});

t.test("[D7] suspend starts nothing, and nothing is made up for afterwards", async (t) => {
  const world = worldAt("2026-01-01T10:00:30Z");
  world.put(scheduled());
  const suspend = (isSuspended: boolean) =>
    world.submit({ kind: "suspend_schedule", service: web, isSuspended, nowMs: world.now });
  world.run(40_000);
  suspend(true);
  world.run(4 * minuteMs);
  t.strictSame(dueTimes(world), ["10:01"]);

  t.test("while a trigger by hand still works", async (t) => {
    world.submit({ kind: "trigger_job", service: web, nowMs: world.now });
    world.run(5_000);
    t.match(runs(world).at(-1), { trigger: "manual", state: "succeeded" });
  });

  suspend(false);
  world.run(minuteMs);
  t.strictSame(
    runs(world).map(({ trigger }) => trigger),
    ["schedule", "manual", "schedule"],
  );
});

t.test(
  "[D7] a new schedule counts from now on; an unchanged file keeps what was done",
  async (t) => {
    const world = worldAt("2026-01-01T10:00:30Z");
    world.put(scheduled());
    world.run(40_000);
    world.put({ ...scheduled(), labels: { team: "a" } });
    world.run(10_000);
    t.strictSame(dueTimes(world), ["10:01"], "nothing is repeated");
    world.put(scheduled({ cron: "*/5 * * * *" }));
    world.run(2 * minuteMs);
    t.strictSame(dueTimes(world), ["10:01"]);
  },
);

for (const seed of [1, 2, 3, 4]) {
  t.test(`[D7] seed ${seed}: exactly once over leaders whose clocks differ`, async (t) => {
    const random = seededRandom(seed);
    const world = worldAt("2026-01-01T10:00:10Z");
    world.put(scheduled());
    const started = new Map<number, number>();
    const note = () => {
      for (const { dueAtMs } of runs(world)) {
        if (dueAtMs !== undefined) started.set(dueAtMs, 1);
      }
      const perDue = Map.groupBy(world.tasks(), ({ run }) => run);
      for (const [run, tasks] of perDue) {
        if (tasks.length > 1) t.fail(`run ${run} has ${tasks.length} tasks`);
      }
    };
    for (let minute = 0; minute < 20; minute += 1) {
      // Another leader: its clock is up to 20 s ahead or behind, and it plans after a silence.
      const skewMs = randomBelow(random, 40_000) - 20_000;
      const silenceMs = randomBelow(random, 15_000);
      world.pass(silenceMs);
      world.now += skewMs;
      world.run(minuteMs - silenceMs, note);
      world.now -= skewMs;
    }
    const first = Date.parse("2026-01-01T10:01:00Z");
    const dues = [...started.keys()].sort((a, b) => a - b);
    t.strictSame(
      dues,
      dues.map((_, i) => first + i * minuteMs),
      "no due time is left out",
    );
    t.ok(dues.length >= 19);
    const numbers = runs(world).map(({ dueAtMs }) => dueAtMs);
    t.equal(new Set(numbers).size, numbers.length, "none is there twice");
  });
}
