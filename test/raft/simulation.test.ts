import { randomInt } from "node:crypto";
import t from "tap";
import { type BugSearch, findPlantedBugs } from "../../sim/planted.ts";
import { defaultThreads } from "../../sim/pool.ts";
import { harmlessVariants, plantedBugs } from "../../sim/raft/planted-bugs.ts";
import { runRaftWorld } from "../../sim/raft/world.ts";
import { runSeeds } from "../../sim/seeds.ts";

/** Seeds that found something once: 537 a segment whose name was not durable. */
const regressionSeeds = [537];
const knownSeeds = 150;
const freshSeeds = 450;
const variantSeeds = 50;
/** A bug that takes more is looked for by `npm run sim -- --planted` only. */
const maxSeedsHere = 1_500;

// Half a minute of both cores; much more where others use them as well.
t.setTimeout(180_000);

t.test("nothing unsafe happens in simulated runs, and all of them recover", async (t) => {
  const asked = Number(process.env["SIM_FROM"]);
  const fresh = asked > 0 ? asked : randomInt(1, 2 ** 31);
  t.comment(`fresh seeds from ${fresh}: SIM_FROM=${fresh} repeats them`);
  for (const [first, count] of [
    ...regressionSeeds.map((seed) => [seed, 1] as const),
    [1, knownSeeds] as const,
    [fresh, freshSeeds] as const,
  ]) {
    const { failure, totals } = await runSeeds("raft", first, { count, threads: defaultThreads() });
    const replay = `npm run sim -- --seed ${failure?.seed} --trace`;
    t.equal(failure, undefined, `${count} seeds from ${first}; see a failure with: ${replay}`);
    t.equal(totals["histories undecided"], 0, "every history was decided");
    if (count < knownSeeds) continue;
    const total = (name: string) => totals[name] ?? 0;
    t.ok(
      total("entries committed") > 20 * count && total("runs on log files") > 0,
      "the runs did something",
    );
    t.ok(
      total("writes answered") > 5 * count && total("reads answered") > 5 * count,
      "clients were answered",
    );
  }
});

t.test("a run follows from its seed alone, on files too", async (t) => {
  const stores = new Set<string>();
  for (let seed = 1; stores.size < 2; seed += 1) {
    const stories: string[][] = [[], []];
    const results = [];
    for (const story of stories) {
      results.push(await runRaftWorld({ seed, print: (line) => story.push(line) }));
    }
    t.strictSame(results[0], results[1]);
    t.equal(stories[0]?.join("\n") === stories[1]?.join("\n"), true, `the story of ${seed}`);
    stores.add(results[0]?.store ?? "");
  }
});

for (const variant of harmlessVariants) {
  t.test(`a node that ${variant.name} (${variant.section}) does no harm`, async (t) => {
    for (let seed = 1; seed <= variantSeeds; seed += 1) {
      await t.resolves(runRaftWorld({ seed, bug: variant }), `seed ${seed}`);
    }
  });
}

t.test("the simulator finds", async (t) => {
  const bugs = plantedBugs.filter(({ seeds }) => seeds <= maxSeedsHere);
  t.ok(plantedBugs.length >= 20 && bugs.length >= 20, `${bugs.length} of ${plantedBugs.length}`);
  const searches: BugSearch[] = [];
  await findPlantedBugs(
    { name: "raft", bugs },
    {
      threads: defaultThreads(),
      onResult: (search) => searches.push(search),
    },
  );
  for (const { bug, failure } of searches) {
    const found = `a node that ${bug.name} (${bug.section}) within ${bug.seeds} seeds`;
    t.ok(failure !== undefined, `${found}, at ${failure?.seed}`);
  }
  t.equal(searches.length, bugs.length);
});
