import { randomInt } from "node:crypto";
import t from "tap";
import { plantedGossipBugs } from "../../sim/gossip/planted-bugs.ts";
import { runGossipWorld } from "../../sim/gossip/world.ts";
import { type BugSearch, findPlantedBugs } from "../../sim/planted.ts";
import { importWithEdit } from "../../sim/planted-source.ts";
import { defaultThreads } from "../../sim/pool.ts";
import { runSeeds } from "../../sim/seeds.ts";

const knownSeeds = 15;
const freshSeeds = 15;
/** A bug that takes more is looked for by `npm run sim -- gossip --planted` only. */
const maxSeedsHere = 30;

// Seconds of both cores; much more where others use them as well.
t.setTimeout(300_000);

t.test("gossip keeps its promises in simulated runs, and all of them heal", async (t) => {
  const asked = Number(process.env["SIM_FROM"]);
  const fresh = asked > 0 ? asked : randomInt(1, 2 ** 31);
  t.comment(`fresh seeds from ${fresh}: SIM_FROM=${fresh} repeats them`);
  for (const [first, count] of [[1, knownSeeds] as const, [fresh, freshSeeds] as const]) {
    const { failure, totals } = await runSeeds("gossip", first, {
      count,
      threads: defaultThreads(),
    });
    const replay = `npm run sim -- gossip --seed ${failure?.seed} --trace`;
    t.equal(failure?.why, undefined, `${count} seeds from ${first}; see a failure with: ${replay}`);
    const total = (name: string) => totals[name] ?? 0;
    t.ok(total("frames") > 500 * count && total("faults") > 3 * count, "something happened");
    t.ok(total("changes of belief") > 20 * count, "and was noticed");
  }
});

t.test("a run follows from its seed alone", async (t) => {
  const stories: string[][] = [[], []];
  for (const story of stories) await runGossipWorld({ seed: 9, print: (line) => story.push(line) });
  t.ok((stories[0]?.length ?? 0) > 100);
  t.equal(stories[0]?.join("\n") === stories[1]?.join("\n"), true);
});

t.test("the simulator finds", async (t) => {
  const bugs = plantedGossipBugs.filter(({ seeds }) => seeds <= maxSeedsHere);
  t.ok(plantedGossipBugs.length >= 15 && bugs.length >= 10, `${bugs.length} here`);
  const searches: BugSearch[] = [];
  await findPlantedBugs(
    { name: "gossip", bugs },
    { threads: defaultThreads(), onResult: (search) => searches.push(search) },
  );
  for (const { bug, failure } of searches) {
    const found = `a node that ${bug.name} (${bug.section}) within ${bug.seeds} seeds`;
    t.ok(failure !== undefined, `${found}, at ${failure?.seed}`);
  }
  t.equal(searches.length, bugs.length);
});

t.test("a mistake that is not there to be planted is no mistake that was found", async (t) => {
  const url = new URL("../../sim/gossip/world.ts", import.meta.url);
  const edit = { file: "gossip/record-table.ts", find: "no such text", replace: "" };
  await t.rejects(importWithEdit(url, edit, /gossip/), /0 times instead of once/);
});
