import t from "tap";
import type { JobRun, Task } from "../../src/cluster/index.ts";
import { nodeId } from "../../src/kernel/index.ts";
import type { ServiceSpec } from "../../src/spec/index.ts";
import { template } from "../builders.ts";
import { World, type WorldOptions, web } from "./world.ts";

const restart = { condition: "none" as const, delayMs: 0, windowMs: 0 };
const once = template({ restart });

function job(
  completions = 1,
  options: { readonly parallelism?: number; readonly retries?: number } = {},
): ServiceSpec["mode"] {
  const { parallelism = completions, retries = 3 } = options;
  return { kind: "replicated-job", completions, parallelism, retries };
}

const completing: WorldOptions = { behaviourOf: () => "completes" };

function runs(world: World): readonly JobRun[] {
  return world.state.services.get(web)?.runs ?? [];
}

function results(world: World, outcome: "succeeded" | "failed"): readonly Task[] {
  return world.tasks().filter(({ result }) => result?.outcome === outcome);
}

function active(world: World): readonly Task[] {
  return world.running().filter(({ result }) => result === undefined);
}

t.test("[D6] a job that exits with 0 has succeeded and is never started again", async (t) => {
  const world = new World(["n1", "n2"], completing);
  world.put({ mode: job(), template: once });
  world.run(60_000);
  t.match(runs(world), [{ number: 1, trigger: "deploy", state: "succeeded" }]);
  t.equal(world.tasks().length, 1, "one task, and it is kept with its output");
  t.match(world.tasks()[0]?.result, { outcome: "succeeded", exitCode: 0 });
  const before = world.commands.length;
  world.put({ mode: job(), template: once });
  world.run(60_000);
  t.equal(world.commands.length, before, "submitting it again changes nothing");
});

t.test("[D6] a job that exits with 1 is tried again, with pauses, then has failed", async (t) => {
  const world = new World(["n1", "n2"], { behaviourOf: () => "fails" });
  world.put({ mode: job(1, { retries: 3 }), template: once });
  world.run(120_000);
  t.match(runs(world), [{ state: "failed", message: "task 1 failed 4 times: exited with code 1" }]);
  const failed = results(world, "failed");
  t.equal(failed.length, 4, "the first attempt and three retries");
  t.match(failed[0]?.result, { exitCode: 1, message: "exited with code 1" });
  const starts = failed.map(({ createdAtMs }) => createdAtMs).sort((a, b) => a - b);
  const pauses = starts.slice(1).map((at, i) => at - (starts[i] ?? at));
  t.ok(
    pauses.every((pause, i) => pause >= 1_000 * 2 ** i),
    `pauses grow: ${pauses}`,
  );
  t.strictSame(new Set(failed.map((task) => task.nodeId)).size, 2, "a retry runs elsewhere");
});

t.test("[D6] a retry that succeeds is a success", async (t) => {
  const world = new World(["n1", "n2"], {
    behaviourOf: (_, { reason }) => (reason.startsWith("Tries again") ? "completes" : "fails"),
  });
  world.put({ mode: job(2), template: once });
  world.run(30_000);
  t.match(runs(world), [{ state: "succeeded" }]);
  t.equal(results(world, "succeeded").length, 2);
  t.equal(results(world, "failed").length, 2);
});

t.test("[D6] without retries the first failure counts", async (t) => {
  const world = new World(["n1"], { behaviourOf: () => "fails" });
  world.put({ mode: job(1, { retries: 0 }), template: once });
  world.run(30_000);
  t.match(runs(world), [{ state: "failed", message: /task 1 failed once/ }]);
  t.equal(world.tasks().length, 1);
});

t.test("[D6] completions are reached with at most as many at a time as asked for", async (t) => {
  const world = new World(["n1", "n2", "n3"], completing);
  world.put({ mode: job(7, { parallelism: 2 }), template: once });
  let most = 0;
  world.run(60_000, () => {
    most = Math.max(most, active(world).length);
  });
  t.equal(most, 2);
  t.match(runs(world), [{ state: "succeeded" }]);
  t.strictSame(
    results(world, "succeeded").map(({ slot }) => slot),
    [1, 2, 3, 4, 5, 6, 7],
  );
});

t.test(
  "[D6] a job on a node that is lost runs again elsewhere, which costs no retry",
  async (t) => {
    const world = new World(["n1", "n2"], { ...completing, workMs: 60_000 });
    world.put({ mode: job(1, { retries: 0 }), template: once });
    world.run(3_000);
    const [first] = active(world);
    world.setMember(first?.nodeId ?? "", "failed");
    world.run(20_000);
    const [second] = active(world);
    t.not(second?.nodeId, first?.nodeId);
    t.equal(active(world).length, 1, "never twice at a time, as far as we know");
    world.run(90_000);
    t.match(runs(world), [{ state: "succeeded" }]);
  },
);

t.test("[D6] a job on a node that drains is moved", async (t) => {
  const world = new World(["n1", "n2"], { ...completing, workMs: 60_000 });
  world.put({ mode: job(1), template: once });
  world.run(3_000);
  const [first] = active(world);
  world.submit({
    kind: "set_eligibility",
    nodeId: first?.nodeId ?? nodeId(""),
    eligibility: "drain",
  });
  world.run(5_000);
  t.not(active(world)[0]?.nodeId, first?.nodeId);
});

t.test("[D6] a job that does not fit anywhere waits and says why", async (t) => {
  const world = new World(["n1"], completing);
  const large = template({ restart, reservations: { cpuMillis: 9_000 } });
  world.put({ mode: job(), template: large });
  world.run(3_000);
  const [pending] = world.lastPlan.explanations.get(web) ?? [];
  t.match(pending?.message, /9 CPUs needed, 4 of 4 free/);
  world.setCapacity("n1", { cpuMillis: 9_000, memoryBytes: 1 });
  world.run(10_000);
  t.match(runs(world), [{ state: "succeeded" }]);
});

t.test("a changed job stops the run of the old template and starts a new one", async (t) => {
  const world = new World(["n1"], { ...completing, workMs: 30_000 });
  world.put({ mode: job(), template: once });
  world.run(3_000);
  world.put({ mode: job(), template: { ...once, image: "web:2" } });
  world.run(3_000);
  t.match(runs(world), [{ state: "replaced" }, { state: "active", revision: 2 }]);
  t.strictSame(
    active(world).map(({ revision }) => revision),
    [2],
  );
});

t.test("a job is triggered again by hand, but not while it runs", async (t) => {
  const world = new World(["n1"], completing);
  world.put({ mode: job(), template: once });
  world.run(1_000);
  const trigger = () => world.submit({ kind: "trigger_job", service: web, nowMs: world.now });
  t.throws(trigger, /Run 1 of shop\/web is still going on/);
  world.run(5_000);
  trigger();
  world.run(6_000);
  t.match(runs(world), [
    { number: 1, state: "succeeded" },
    { number: 2, trigger: "manual", state: "succeeded" },
  ]);
});

t.test("the output of the last runs is kept, that of older ones goes", async (t) => {
  const world = new World(["n1"], completing);
  world.put({ mode: job(), template: once });
  world.run(5_000);
  for (let i = 0; i < 30; i += 1) {
    world.submit({ kind: "trigger_job", service: web, nowMs: world.now });
    world.run(6_000);
  }
  t.equal(world.tasks().length, 5);
  t.ok(runs(world).length <= 21, `${runs(world).length} runs are remembered`);
  t.equal(runs(world).at(-1)?.number, 31);
});

t.test("a service becomes a job and a job a service without a trace", async (t) => {
  const world = new World(["n1"], completing);
  world.put({ mode: { kind: "replicated", replicas: 2 }, template: template() });
  world.run(500);
  world.put({ mode: job(), template: once });
  world.run(10_000);
  t.match(runs(world), [{ state: "succeeded" }]);
  t.equal(world.tasks().length, 1);
  world.put({ mode: { kind: "replicated", replicas: 2 }, template: template() });
  world.run(10_000);
  t.ok(world.running().every(({ run }) => run === undefined));
});

t.test("[D6] a job for every node", async (t) => {
  const world = new World(["n1", "n2", "n3"], completing);
  world.drain("n3");
  world.put({ mode: { kind: "global-job", retries: 1 }, template: once });

  t.test("runs once on each that takes tasks", async (t) => {
    world.run(10_000);
    t.match(runs(world), [{ state: "succeeded" }]);
    t.strictSame(
      world
        .tasks()
        .map((task) => task.nodeId)
        .sort(),
      ["n1", "n2"],
    );
  });

  t.test("and is not repeated on one that joins after it was done", async (t) => {
    world.join("n4");
    world.run(10_000);
    t.equal(world.tasks().length, 2);
  });

  t.test("has failed when it fails too often on one node", async (t) => {
    const other = new World(["n1", "n2"], {
      behaviourOf: (_, task) => (task.nodeId === "n2" ? "fails" : "completes"),
    });
    other.put({ mode: { kind: "global-job", retries: 1 }, template: once });
    other.run(30_000);
    t.match(runs(other), [{ state: "failed" }]);
    t.equal(results(other, "failed").length, 2);
    t.ok(results(other, "failed").every((task) => task.nodeId === "n2"));
  });
});

t.test("[D6] a job that was removed and is submitted again runs again", async (t) => {
  const world = new World(["n1", "n2"], completing);
  world.put({ mode: job(), template: once });
  world.run(10_000);
  const [first] = results(world, "succeeded");
  world.submit({ kind: "remove_services", services: [web] });
  // What is left of the first one is still remembered.
  world.put({ mode: job(), template: once });
  world.run(10_000);
  t.match(runs(world), [{ number: 1, state: "succeeded" }]);
  const [second] = results(world, "succeeded").filter(({ desired }) => desired === "running");
  t.not(second?.id, undefined, "something was done");
  t.not(second?.id, first?.id);
});

t.test(
  "[D8] a job to be removed at its end is, some seconds after it, by whoever leads",
  async (t) => {
    for (const behaviour of ["completes", "fails"] as const) {
      const world = new World(["n1"], { behaviourOf: () => behaviour });
      world.put({ mode: job(1, { retries: 0 }), template: once, removedAtEnd: true });
      world.run(6_000);
      t.match(runs(world), [{ state: behaviour === "fails" ? "failed" : "succeeded" }]);
      world.run(30_000);
      t.equal(world.state.services.size, 0, "no client is needed for it");
      t.strictSame(world.tasks(), []);
    }
  },
);

t.test("[D8] a job to be removed at its end is not, while it runs", async (t) => {
  const world = new World(["n1"]);
  world.put({ mode: job(1, { retries: 0 }), template: once, removedAtEnd: true });
  world.run(120_000);
  t.match(runs(world), [{ state: "active" }]);
  t.equal(active(world).length, 1);
});
