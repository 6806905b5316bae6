import t from "tap";
import { plantedBugs } from "../../sim/raft/planted-bugs.ts";
import { runRaftWorld } from "../../sim/raft/world.ts";

t.test("nothing unsafe happens in a hundred simulated runs, and all of them recover", async (t) => {
  let committed = 0;
  for (let seed = 1; seed <= 100; seed += 1) committed += runRaftWorld(seed).committed;
  t.ok(committed > 5_000, "the runs did something");
});

t.test("a run follows from its seed alone", async (t) => {
  t.strictSame(runRaftWorld(7), runRaftWorld(7));
});

t.test("the simulator finds", async (t) => {
  for (const bug of plantedBugs) {
    t.test(`a node that ${bug.name} (${bug.section})`, async (t) => {
      let foundAt: number | undefined;
      for (let seed = 1; seed <= bug.seeds && foundAt === undefined; seed += 1) {
        try {
          runRaftWorld(seed, bug);
        } catch {
          foundAt = seed;
        }
      }
      t.ok(foundAt !== undefined, `within ${bug.seeds} seeds, at ${foundAt}`);
    });
  }
});
