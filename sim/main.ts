import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { messageOf } from "../src/kernel/index.ts";
import { findPlantedBugs } from "./planted.ts";
import { defaultThreads } from "./pool.ts";
import { runSeeds } from "./seeds.ts";
import { type Simulation, simulations } from "./simulations.ts";

const help = `Simulates a part of Skein under faults. One seed is one run, always the same.

${simulations.map(({ name, summary }) => `  ${name.padEnd(7)} ${summary}`).join("\n")}

  npm run sim -- --seeds N             runs the seeds 1 to N of raft
  npm run sim -- gossip --seeds N      the same of gossip; so with all that follows
  npm run sim -- --seeds N --from S    begins at seed S; "random" draws one and prints it
  npm run sim -- --seed S              runs one seed; prints its story when it fails
  npm run sim -- --seed S --trace      prints the story whatever happens
  npm run sim -- --planted             plants each known bug and expects to find it
  npm run sim -- --planted --bug TEXT  only those with the text in their name
  npm run sim -- --seed S --bug TEXT   replays a seed with a planted bug

  --threads N   worker threads (default: one a core)`;

/** What led to a failure is near the end of the story. */
const shownLines = 80;

const { values, positionals } = parseArgs({
  allowPositionals: true,
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
  const simulation = simulationOf(positionals);
  if (values.planted) return await findPlanted(simulation, threads);
  if (values.seed !== undefined) return await replay(simulation, naturalOf("seed", values.seed));
  const first = values.from === "random" ? randomInt(1, 2 ** 31) : naturalOf("from", values.from);
  return await run(simulation, first, { count: naturalOf("seeds", values.seeds), threads });
}

function naturalOf(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  console.error(`--${name} takes a whole number above 0, not ${text}.\n\n${help}`);
  process.exit(2);
}

/** What is asked for by its name; the log when nothing is. */
function simulationOf([name = "raft", ...rest]: readonly string[]): Simulation {
  const simulation = simulations.find((each) => each.name === name);
  if (simulation !== undefined && rest.length === 0) return simulation;
  console.error(`There is no simulation ${[name, ...rest].join(" ")}.\n\n${help}`);
  process.exit(2);
}

async function run(
  simulation: Simulation,
  first: number,
  options: { readonly count: number; readonly threads: number },
): Promise<boolean> {
  const { name } = simulation;
  const started = performance.now();
  const { runs, cpuMs, totals, failure } = await runSeeds(simulation.name, first, options);
  if (failure !== undefined) {
    const isRepeated = !(await replay(simulation, failure.seed));
    if (!isRepeated) {
      console.error(`${name}: seed ${failure.seed} failed only once: ${failure.stack}`);
    }
    return false;
  }
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  const rate = (runs / (cpuMs / 1_000)).toFixed(0);
  const counts = Object.entries(totals).map(([what, count]) => `${count} ${what}`);
  console.log(
    `${name}: ${runs} seeds from ${first} passed in ${seconds} s, ` +
      `${rate} runs a second of CPU time (${counts.join(", ")})`,
  );
  return true;
}

/** Runs one seed; where it fails, tells what happened. */
async function replay({ name, bugs, run }: Simulation, seed: number): Promise<boolean> {
  const { bug: text } = values;
  const bug = text === undefined ? undefined : bugs.find((each) => each.name.includes(text));
  const lines: string[] = [];
  const keep = (line: string) => {
    lines.push(line);
    if (lines.length > 2 * shownLines) lines.splice(0, shownLines);
  };
  try {
    const print = values.trace ? (line: string) => console.log(line) : keep;
    await run({ seed, bug: bug?.name, print });
    console.log(`${name}: seed ${seed} passed`);
    return true;
  } catch (error) {
    for (const line of lines.slice(-shownLines)) console.error(line);
    console.error(`\n${name}: seed ${seed} failed: ${messageOf(error)}`);
    console.error(error instanceof Error ? error.stack : "");
    const planted = bug === undefined ? "" : ` --bug "${bug.name}"`;
    console.error(
      `Replay the whole story: npm run sim -- ${name} --seed ${seed}${planted} --trace`,
    );
    return false;
  }
}

async function findPlanted(simulation: Simulation, threads: number): Promise<boolean> {
  const bugs = simulation.bugs.filter(({ name }) => name.includes(values.bug ?? ""));
  let found = 0;
  await findPlantedBugs(
    { ...simulation, bugs },
    {
      threads,
      onResult: ({ bug, failure, runs }) => {
        const text =
          failure === undefined
            ? `NOT FOUND in ${runs} seeds`
            : `seed ${failure.seed} of ${bug.seeds}: ${failure.why.split("\n")[0]}`;
        console.log(`${bug.name} (${bug.section}): ${text}`);
        if (failure !== undefined) found += 1;
      },
    },
  );
  console.log(`${found} of ${bugs.length} planted bugs found`);
  return found === bugs.length;
}
