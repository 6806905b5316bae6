import t from "tap";
import { serviceSpec } from "../builders.ts";
import { World, web } from "./world.ts";

function steer(world: World, action: "restart" | "stop" | "start"): void {
  world.submit({ kind: "steer_service", service: web, action, nowMs: world.now });
}

const strategies = [
  {},
  { strategy: { kind: "blue-green", keepMs: 1_000 } },
  { order: "stop-first" },
] as const;

for (const more of strategies) {
  const how = "strategy" in more ? "blue-green" : "order" in more ? more.order : "start-first";
  t.test(`a restart replaces every task, ${how}`, async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put({ update: { ...serviceSpec().update, ...more } });
    world.run(4_000);
    const before = new Set(world.running().map(({ id }) => id));
    steer(world, "restart");
    let fewest = 3;
    world.run(60_000, () => {
      fewest = Math.min(fewest, world.serving().length);
    });
    t.ok(fewest >= (how === "stop-first" ? 2 : 3), `${fewest} served at least`);
    t.equal(world.serving().length, 3);
    t.notOk(
      world.running().some(({ id }) => before.has(id)),
      "all are new",
    );
    t.ok(world.running().every(({ revision }) => revision === 2));
    const decided = world.commands.length;
    world.run(20_000);
    t.equal(world.commands.length, decided, "and that is all");
  });
}

t.test(
  "a restart whose new tasks fail goes no further, and the way back keeps the old",
  async (t) => {
    const world = new World(["n1", "n2", "n3"], {
      behaviourOf: (_, task) => (task.revision === 2 ? "fails" : "serves"),
    });
    world.put({ update: { ...serviceSpec().update, failureAction: "rollback" } });
    world.run(4_000);
    const before = world.running().map(({ id }) => id);
    steer(world, "restart");
    world.run(120_000);
    const now = new Set(world.serving().map(({ id }) => id));
    t.ok(
      before.every((id) => now.has(id)),
      "what served goes on",
    );
  },
);

for (const mode of [{ kind: "replicated", replicas: 3 }, { kind: "global" }] as const) {
  t.test(
    `a stopped service (${mode.kind}) runs nowhere, and as before when it is started`,
    async (t) => {
      const world = new World(["n1", "n2", "n3"]);
      world.put({ mode });
      world.run(4_000);
      steer(world, "stop");
      world.run(20_000);
      t.equal(world.running().length, 0);
      t.equal(world.state.tasks.size, 0, "and nothing is left of its tasks");
      world.join("n4");
      world.run(5_000);
      t.equal(world.running().length, 0, "not on a new node either");
      steer(world, "start");
      world.run(10_000);
      t.equal(world.serving().length, mode.kind === "global" ? 4 : 3);
    },
  );
}
