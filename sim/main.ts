import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { messageOf } from "../src/kernel/index.ts";
import { findPlantedBugs } from "./planted.ts";
import { defaultThreads } from "./pool.ts";
import { plantedBugs } from "./raft/planted-bugs.ts";
import { runRaftWorld } from "./raft/world.ts";
import { runSeeds } from "./seeds.ts";

const help = `Simulates the replicated log under faults. One seed is one run, always the same.

  npm run sim -- --seeds N             runs the seeds 1 to N
  npm run sim -- --seeds N --from S    begins at seed S; "random" draws one and prints it
  npm run sim -- --seed S              runs one seed; prints its story when it fails
  npm run sim -- --seed S --trace      prints the story whatever happens
  npm run sim -- --planted             plants each known bug and expects to find it
  npm run sim -- --planted --bug TEXT  only those with the text in their name
  npm run sim -- --seed S --bug TEXT   replays a seed with a planted bug

  --threads N   worker threads (default: one a core)`;

/** What led to a failure is near the end of the story. */
const shownLines = 80;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    trace: { type: "boolean", default: false },
    planted: { type: "boolean", default: false },
    bug: { type: "string" },
    threads: { type: "string", default: String(defaultThreads()) },
    help: { type: "boolean", default: false },
  },
});

process.exitCode = (await main()) ? 0 : 1;

async function main(): Promise<boolean> {
  const threads = naturalOf("threads", values.threads);
  if (values.help) {
    console.log(help);
    return true;
  }
  if (values.planted) return await findPlanted(threads);
  if (values.seed !== undefined) return await replay(naturalOf("seed", values.seed));
  const first = values.from === "random" ? randomInt(1, 2 ** 31) : naturalOf("from", values.from);
  return await run(first, { count: naturalOf("seeds", values.seeds), threads });
}

function naturalOf(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  console.error(`--${name} takes a whole number above 0, not ${text}.\n\n${help}`);
  process.exit(2);
}

async function run(
  first: number,
  options: { readonly count: number; readonly threads: number },
): Promise<boolean> {
  const started = performance.now();
  const { runs, cpuMs, totals, failure } = await runSeeds(first, options);
  if (failure !== undefined) {
    const isRepeated = !(await replay(failure.seed));
    if (!isRepeated) console.error(`raft: seed ${failure.seed} failed only once: ${failure.stack}`);
    return false;
  }
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  const rate = (runs / (cpuMs / 1_000)).toFixed(0);
  const { steps, committed, acknowledged, reads, undecided, onFiles } = totals;
  console.log(
    `raft: ${runs} seeds from ${first} passed in ${seconds} s, ${rate} runs a second of CPU time ` +
      `(${onFiles} on log files; ${steps} steps, ${committed} entries committed, ` +
      `${acknowledged} writes and ${reads} reads answered, ${undecided} histories undecided)`,
  );
  return true;
}

/** Runs one seed; where it fails, tells what happened. */
async function replay(seed: number): Promise<boolean> {
  const bug =
    values.bug === undefined
      ? undefined
      : plantedBugs.find(({ name }) => name.includes(values.bug ?? ""));
  const lines: string[] = [];
  const keep = (line: string) => {
    lines.push(line);
    if (lines.length > 2 * shownLines) lines.splice(0, shownLines);
  };
  try {
    await runRaftWorld({ seed, bug, print: values.trace ? (line) => console.log(line) : keep });
    console.log(`raft: seed ${seed} passed`);
    return true;
  } catch (error) {
    for (const line of lines.slice(-shownLines)) console.error(line);
    console.error(`\nraft: seed ${seed} failed: ${messageOf(error)}`);
    console.error(error instanceof Error ? error.stack : "");
    const planted = bug === undefined ? "" : ` --bug "${bug.name}"`;
    console.error(`Replay the whole story: npm run sim -- --seed ${seed}${planted} --trace`);
    return false;
  }
}

async function findPlanted(threads: number): Promise<boolean> {
  const bugs = plantedBugs.filter(({ name }) => name.includes(values.bug ?? ""));
  let found = 0;
  await findPlantedBugs(bugs, {
    threads,
    onResult: ({ bug, failure, runs }) => {
      const text =
        failure === undefined
          ? `NOT FOUND in ${runs} seeds`
          : `seed ${failure.seed} of ${bug.seeds}: ${failure.why.split("\n")[0]}`;
      console.log(`${bug.name} (${bug.section}): ${text}`);
      if (failure !== undefined) found += 1;
    },
  });
  console.log(`${found} of ${bugs.length} planted bugs found`);
  return found === bugs.length;
}
