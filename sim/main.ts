import { parseArgs } from "node:util";
import { messageOf } from "../src/kernel/index.ts";
import { plantedBugs } from "./raft/planted-bugs.ts";
import { runRaftWorld } from "./raft/world.ts";

const help = `Simulates the replicated log under faults. One seed is one run, always the same.

  node sim/main.ts --seeds N             runs N seeds
  node sim/main.ts --seeds N --seed S    starts at seed S (alone with --seeds 1)
  node sim/main.ts --bugs                plants each known bug and expects to find it`;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    bugs: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help) console.log(help);
else if (values.bugs) process.exitCode = findPlantedBugs() ? 0 : 1;
else process.exitCode = runSeeds(numberOf("seed"), numberOf("seeds")) ? 0 : 1;

function numberOf(name: "seed" | "seeds"): number {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value > 0) return value;
  console.error(`--${name} takes a whole number above 0, not ${values[name]}.\n\n${help}`);
  process.exit(2);
}

function runSeeds(first: number, count: number): boolean {
  const started = performance.now();
  const totals = { steps: 0, committed: 0, reads: 0 };
  for (let seed = first; seed < first + count; seed += 1) {
    try {
      const { steps, committed, reads } = runRaftWorld(seed);
      totals.steps += steps;
      totals.committed += committed;
      totals.reads += reads;
    } catch (error) {
      console.error(`raft: seed ${seed} failed: ${messageOf(error)}`);
      console.error(error instanceof Error ? error.stack : "");
      console.error(`Replay: npm run sim -- --seeds 1 --seed ${seed}`);
      return false;
    }
  }
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  const { steps, committed, reads } = totals;
  console.log(
    `raft: ${count} seeds from ${first} passed in ${seconds} s ` +
      `(${steps} steps, ${committed} entries committed, ${reads} reads)`,
  );
  return true;
}

function findPlantedBugs(): boolean {
  let areAllFound = true;
  for (const bug of plantedBugs) {
    const found = firstFailure(bug.seeds, (seed) => runRaftWorld(seed, bug));
    const text =
      found === undefined ? `NOT FOUND in ${bug.seeds} seeds` : `seed ${found.seed}, ${found.why}`;
    console.log(`${bug.name} (${bug.section}): ${text}`);
    areAllFound &&= found !== undefined;
  }
  return areAllFound;
}

function firstFailure(seeds: number, run: (seed: number) => void) {
  for (let seed = 1; seed <= seeds; seed += 1) {
    try {
      run(seed);
    } catch (error) {
      return { seed, why: messageOf(error) };
    }
  }
  return undefined;
}
