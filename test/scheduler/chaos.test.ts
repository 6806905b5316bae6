import t from "tap";
import { nodeId, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import { World } from "./world.ts";

const names = ["n1", "n2", "n3", "n4"];
const wanted = 6;

/** One random misfortune or recovery; n1 stays, so that there always is a place to run. */
function disturb(world: World, random: ReturnType<typeof seededRandom>): void {
  const name = names[1 + randomBelow(random, names.length - 1)] ?? "n2";
  const running = world.running();
  const victim = running[randomBelow(random, running.length)];
  const status = (["alive", "suspect", "failed", "left"] as const)[randomBelow(random, 4)];
  switch (randomBelow(random, 4)) {
    case 0:
    case 1:
      world.setMember(name, status ?? "alive");
      break;
    case 2:
      if (victim !== undefined) world.fail(victim.id);
      break;
    default:
      world.submit({
        kind: "set_eligibility",
        nodeId: nodeId(name),
        eligibility: randomBelow(random, 2) === 0 ? "drain" : "active",
      });
  }
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  t.test(`seed ${seed}: after any misfortunes exactly the wanted number runs again`, async (t) => {
    const random = seededRandom(seed);
    const world = new World(names, { seed });
    world.put({ mode: { kind: "replicated", replicas: wanted } });
    world.run(4_000);
    for (let round = 0; round < 30; round += 1) {
      disturb(world, random);
      world.run(randomBelow(random, 8_000), () => {
        const perSlot = Map.groupBy(world.running(), ({ slot }) => slot);
        for (const [slot, tasks] of perSlot) {
          if (tasks.length > 2) t.fail(`slot ${slot} has ${tasks.length} running tasks`);
        }
      });
    }
    for (const name of names) world.setMember(name, "alive");
    for (const id of world.state.nodes.keys()) {
      world.submit({ kind: "set_eligibility", nodeId: id, eligibility: "active" });
    }
    world.run(140_000);
    t.equal(world.running().length, wanted);
    t.equal(world.serving().length, wanted);
    t.equal(new Set(world.running().map(({ slot }) => slot)).size, wanted);
    t.equal(world.state.tasks.size, wanted, "nothing is remembered for ever");
  });
}
