import t from "tap";
import { template } from "../builders.ts";
import { World } from "./world.ts";

t.test("[D5] a global service runs once on every node", async (t) => {
  const world = new World(["n1", "n2", "n3"]);
  world.put({ mode: { kind: "global" } });
  world.run(4_000);
  t.strictSame(world.perNode(), { n1: 1, n2: 1, n3: 1 });

  t.test("also on one that joins later, by itself", async (t) => {
    world.join("n4");
    world.run(4_000);
    t.strictSame(world.perNode(), { n1: 1, n2: 1, n3: 1, n4: 1 });
    t.equal(world.serving().length, 4);
  });

  t.test("not on a drained one, and again once it takes tasks", async (t) => {
    world.drain("n2");
    world.run(3_000);
    t.strictSame(world.perNode(), { n1: 1, n3: 1, n4: 1 });
    const [n2] = [...world.state.nodes.values()].filter(({ name }) => name === "n2");
    if (n2 === undefined) throw new Error("n2 is gone");
    world.submit({ kind: "set_eligibility", nodeId: n2.id, eligibility: "active" });
    world.run(3_000);
    t.strictSame(world.perNode(), { n1: 1, n2: 1, n3: 1, n4: 1 });
  });

  t.test("a node that fails keeps its task, and nobody else gets a second one", async (t) => {
    world.setMember("n3", "failed");
    world.run(20_000);
    t.strictSame(world.perNode(), { n1: 1, n2: 1, n3: 1, n4: 1 });
    world.setMember("n3", "alive");
    world.run(4_000);
    t.equal(world.serving().length, 4);
  });

  t.test("an update goes node by node", async (t) => {
    world.put({ mode: { kind: "global" }, template: template({ image: "web:2" }) });
    let least = 4;
    world.run(60_000, () => {
      least = Math.min(least, world.serving().length);
    });
    t.ok(least >= 3, `at most one is out at a time, ${least} served`);
    t.ok(world.running().every(({ revision }) => revision === 2));
  });
});

t.test(
  "[D5] an update goes on where a node with its first new task is lost for good",
  async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put({ mode: { kind: "global" } });
    world.run(4_000);
    world.put({ mode: { kind: "global" }, template: template({ image: "web:2" }) });
    const newTask = () => world.running().find(({ revision }) => revision === 2);
    while (newTask() === undefined) world.run(100);
    const lost = newTask()?.nodeId;
    world.setMember(String(lost), "failed");
    world.run(120_000);
    const others = world.running().filter(({ nodeId }) => nodeId !== lost);
    t.strictSame(
      others.map(({ revision }) => revision),
      [2, 2],
    );
  },
);

t.test(
  "[D5] a node without room for its global task is named; the others run theirs",
  async (t) => {
    const world = new World(["n1", "n2"]);
    world.setCapacity("n1", { cpuMillis: 100, memoryBytes: 2 ** 30 });
    world.put({
      mode: { kind: "global" },
      template: template({ reservations: { cpuMillis: 500 } }),
    });
    world.run(4_000);
    t.strictSame(world.perNode(), { n2: 1 });
    t.match(
      [...world.lastPlan.explanations.values()].flat().map(({ message }) => message),
      [/n1: 0.5 CPUs needed, 0.1 of 0.1 free/],
    );
  },
);

t.test("[D5] a node without room for the next revision does not keep others from it", async (t) => {
  const world = new World(["n1", "n2", "n3"]);
  world.setCapacity("n1", { cpuMillis: 1_000, memoryBytes: 2 ** 30 });
  const reservations = { cpuMillis: 600 };
  world.put({ mode: { kind: "global" }, template: template({ reservations }) });
  world.run(5_000);
  world.put({ mode: { kind: "global" }, template: template({ image: "web:2", reservations }) });
  world.run(60_000);
  const revisions = world.running().map(({ nodeId, revision }) => `${nodeId} ${revision}`);
  t.strictSame(revisions.sort(), ["n1 1", "n2 2", "n3 2"]);
});
