import { randomInt } from "node:crypto";
import t from "tap";
import { type BugSearch, findPlantedBugs } from "../../sim/planted.ts";
import { defaultThreads } from "../../sim/pool.ts";
import { plantedRunnerBugs } from "../../sim/runner/planted-bugs.ts";
import { runRunnerWorld } from "../../sim/runner/world.ts";
import { runSeeds } from "../../sim/seeds.ts";

const knownSeeds = 40;
const freshSeeds = 100;
/** A bug that takes more is looked for by `npm run sim -- runner --planted` only. */
const maxSeedsHere = 30;

// Twenty seconds of both cores; much more where others use them as well.
t.setTimeout(300_000);

t.test("the log keeps its promises as the daemon drives it, and every run heals", async (t) => {
  const asked = Number(process.env["SIM_FROM"]);
  const fresh = asked > 0 ? asked : randomInt(1, 2 ** 31);
  t.comment(`fresh seeds from ${fresh}: SIM_FROM=${fresh} repeats them`);
  for (const [first, count] of [
    [1, knownSeeds],
    [fresh, freshSeeds],
  ] as const) {
    const { failure, totals } = await runSeeds("runner", first, {
      count,
      threads: defaultThreads(),
    });
    const replay = `npm run sim -- runner --seed ${failure?.seed} --trace`;
    t.equal(failure?.why, undefined, `${count} seeds from ${first}; see a failure with: ${replay}`);
    const total = (name: string) => totals[name] ?? 0;
    t.ok(total("starts of nodes") > total("nodes") && total("faults") > 3 * count, "it was hard");
    t.ok(total("writes") > 20 * count && total("calls answered") > 20 * count, "and busy");
    t.ok(total("runs on log files") > 0, "on files too");
  }
});

t.test("a run follows from its seed alone, on files too", async (t) => {
  const stores = new Set<string>();
  for (let seed = 1; stores.size < 2; seed += 1) {
    const stories: string[][] = [[], []];
    const results = [];
    for (const story of stories) {
      results.push(await runRunnerWorld({ seed, print: (line) => story.push(line) }));
    }
    t.strictSame(results[0], results[1]);
    t.equal(stories[0]?.join("\n") === stories[1]?.join("\n"), true, `the story of ${seed}`);
    stores.add(results[0]?.store ?? "");
  }
});

t.test("the simulator finds", async (t) => {
  const bugs = plantedRunnerBugs.filter(({ seeds }) => seeds <= maxSeedsHere);
  t.ok(plantedRunnerBugs.length >= 30 && bugs.length >= 15, `${bugs.length} here`);
  const searches: BugSearch[] = [];
  await findPlantedBugs(
    { name: "runner", bugs },
    { threads: defaultThreads(), onResult: (search) => searches.push(search) },
  );
  for (const { bug, failure } of searches) {
    const found = `a node that ${bug.name} (${bug.section}) within ${bug.seeds} seeds`;
    t.ok(failure !== undefined, `${found}, at ${failure?.seed}`);
  }
  t.equal(searches.length, bugs.length);
});
