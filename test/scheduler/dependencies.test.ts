import t from "tap";
import { nodeId, serviceKey } from "../../src/kernel/index.ts";
import { explainService } from "../../src/scheduler/index.ts";
import type { DependencySpec, ServiceSpec } from "../../src/spec/index.ts";
import { template } from "../builders.ts";
import { World, type WorldOptions, web } from "./world.ts";

const db = serviceKey("shop", "db");
const two: ServiceSpec["mode"] = { kind: "replicated", replicas: 2 };
const jobMode: ServiceSpec["mode"] = {
  kind: "replicated-job",
  completions: 1,
  parallelism: 1,
  retries: 0,
};

function on(condition: DependencySpec["condition"], part: Partial<DependencySpec> = {}) {
  return { dependsOn: [{ service: "db", condition, isRequired: true, restart: false, ...part }] };
}

/** `hangs` is a task that runs and never becomes healthy; images decide who does what. */
function world(options: WorldOptions = {}): World {
  return new World(["n1", "n2"], {
    behaviourOf: (image) =>
      image.startsWith("hang")
        ? "hangs"
        : image.startsWith("work")
          ? "completes"
          : image.startsWith("bad")
            ? "fails"
            : "serves",
    ...options,
  });
}

function putDb(of: World, image: string, part: Partial<ServiceSpec> = {}): void {
  const mode = { kind: "replicated", replicas: 1 } as const;
  of.put({ name: "db", mode, template: template({ image }), ...part });
}

/** Becomes healthy; the model's tasks do so only when they are told. */
function heal(of: World): void {
  for (const { id } of of.running(db)) of.setStatus(id, { health: "healthy" });
}

const why = (of: World) => of.lastPlan.explanations.get(web)?.map(({ message }) => message);

t.test("A service is started when the one before it is as far as it has to be", async (t) => {
  t.test("healthy", async (t) => {
    const shop = world();
    putDb(shop, "hang:1");
    shop.put({ mode: two, ...on("healthy") });
    shop.run(60_000);
    t.equal(shop.tasks().length, 0);
    t.strictSame(why(shop), [
      "shop/web.1 waits for db to be healthy (1 is starting).",
      "shop/web.2 waits for db to be healthy (1 is starting).",
    ]);
    const { state, observations, now } = shop;
    const explained = explainService({ state, observations, now }, web);
    t.match(explained?.pending[0], { cause: "waiting_for_dependency" });
    heal(shop);
    shop.run(10_000);
    t.equal(shop.serving().length, 2, "all of its replicas");
    t.equal(why(shop), undefined);
  });

  t.test("started, though not healthy yet", async (t) => {
    const shop = world();
    putDb(shop, "hang:1");
    shop.put({ mode: two, ...on("started") });
    shop.plan();
    t.strictSame([shop.tasks(db).length, shop.tasks().length], [1, 0], "the other one comes first");
    shop.run(10_000);
    t.equal(shop.serving().length, 2);
  });

  t.test("completed", async (t) => {
    const shop = world({ workMs: 20_000 });
    putDb(shop, "work:1", { mode: jobMode });
    shop.put({ mode: two, ...on("completed") });
    shop.run(10_000);
    t.equal(shop.tasks().length, 0);
    t.match(why(shop)?.[0], /^shop\/web\.1 waits for db to complete \(run 1\)\.$/);
    shop.run(30_000);
    t.equal(shop.serving().length, 2);
  });

  t.test("not at all, while that one fails", async (t) => {
    const shop = world();
    putDb(shop, "bad:1", { mode: jobMode });
    shop.put({ mode: two, ...on("completed") });
    shop.run(60_000);
    t.equal(shop.tasks().length, 0);
    t.match(why(shop)?.[0], /waits for db to complete: its run 1 failed \(task 1 failed once/);
  });

  t.test("not while there is no such service, unless it need not exist", async (t) => {
    const shop = world();
    shop.put({ mode: two, ...on("started") });
    shop.run(5_000);
    t.equal(shop.tasks().length, 0);
    t.match(why(shop)?.[0], /waits for db to run, and there is no such service/);
    shop.put({ mode: two, ...on("started", { isRequired: false }) });
    shop.run(10_000);
    t.equal(shop.serving().length, 2);
  });

  t.test("a job, too", async (t) => {
    const shop = world();
    putDb(shop, "hang:1");
    shop.put({ mode: jobMode, template: template({ image: "work:1" }), ...on("healthy") });
    shop.run(10_000);
    t.equal(shop.tasks().length, 0);
    t.strictSame(why(shop), ["shop/web.1 waits for db to be healthy (1 is starting)."]);
    heal(shop);
    shop.run(20_000);
    t.match(shop.state.services.get(web)?.runs, [{ state: "succeeded" }]);
  });
});

t.test("What was started once waits for nothing any more", async (t) => {
  const shop = world();
  putDb(shop, "hang:1");
  shop.put({ mode: two, ...on("healthy") });
  shop.run(5_000);
  heal(shop);
  shop.run(10_000);
  for (const { id } of shop.running(db)) shop.setStatus(id, { health: "unhealthy" });
  const [first] = shop.running();
  if (first !== undefined) shop.fail(first.id);
  shop.run(20_000);
  t.equal(shop.serving().length, 2, "a failed replica comes back");
  shop.setMember("n1", "failed");
  shop.run(30_000);
  t.equal(shop.serving().length, 2, "and those of a lost node");
});

t.test("An update waits as well, and the old version serves meanwhile", async (t) => {
  for (const order of ["start-first", "stop-first"] as const) {
    t.test(order, async (t) => {
      const shop = world({ workMs: 30_000 });
      const update = {
        parallelism: 2,
        delayMs: 0,
        order,
        monitorMs: 1_000,
        failureAction: "pause",
        maxFailureRatio: 0,
      } as const;
      putDb(shop, "work:1", { mode: jobMode });
      shop.put({ mode: two, update, ...on("completed") });
      shop.run(60_000);
      t.equal(shop.serving().length, 2);
      putDb(shop, "work:2", { mode: jobMode });
      shop.put({ mode: two, update, template: template({ image: "web:2" }), ...on("completed") });
      shop.run(10_000, () => t.equal(shop.serving().length, 2));
      t.ok(shop.running().every(({ revision }) => revision === 1));
      t.match(why(shop)?.[0], /waits for db to complete \(run 2\)/);
      t.test("a task whose node is lost moves with its old version", async (t) => {
        shop.setMember("n1", "failed");
        shop.run(12_000);
        t.ok(shop.running().every(({ nodeId: id }) => id === nodeId("n2")));
        t.ok(shop.running().every(({ revision }) => revision === 1));
        t.equal(shop.running().length, 2);
        shop.run(90_000);
        t.ok(
          shop.serving().every(({ revision }) => revision === 2),
          "then it is updated",
        );
        t.equal(shop.serving().length, 2);
      });
    });
  }
});

t.test("With `restart`, tasks are replaced when the service before them was updated", async (t) => {
  const shop = world();
  putDb(shop, "db:1");
  shop.put({ mode: two, ...on("started", { restart: true }) });
  shop.run(30_000);
  const before = shop.running().map(({ id }) => id);
  t.equal(before.length, 2);
  shop.run(30_000);
  t.strictSame(
    shop.running().map(({ id }) => id),
    before,
    "nothing happens without an update",
  );
  putDb(shop, "db:2");
  shop.run(60_000, () => t.ok(shop.serving().length >= 1, "one after the other"));
  const after = shop.running();
  t.equal(shop.serving().length, 2);
  t.notOk(after.some(({ id }) => before.includes(id)));
  t.ok(
    after.every(({ revision }) => revision === 1),
    "it is the same version",
  );
  const count = shop.commands.length;
  shop.run(60_000);
  t.equal(shop.commands.length, count, "once is enough");
});
