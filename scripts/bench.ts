import { parseArgs } from "node:util";
import { UnableToRun } from "./bench/errors.ts";
import { gossipBench } from "./bench/gossip.ts";
import { idleBench } from "./bench/idle.ts";
import { orchestrateBench } from "./bench/orchestrate.ts";
import { planBench } from "./bench/plan.ts";
import { proxyBench } from "./bench/proxy.ts";
import { raftBench } from "./bench/raft.ts";
import { asText, type Bench, type BenchOptions } from "./bench/report.ts";

/**
 * `npm run bench -- NAME`: a part of Skein against the program that people would use in its
 * place, both on this machine and in turns. Exits 0 when every bar holds, 1 when one is
 * missed, 2 when nothing could be measured. What it says on the way goes to standard error.
 */
const benches: readonly Bench[] = [
  gossipBench,
  idleBench,
  orchestrateBench,
  planBench,
  proxyBench,
  raftBench,
];

const usage = `usage: npm run bench -- NAME [--json] [--rounds N] [--seconds N] [--only LOAD,LOAD]

${benches.map(({ name, summary, loads }) => `  ${name.padEnd(11)} ${summary}\n              loads: ${loads.join(", ")}`).join("\n")}`;

process.exit(await main());

async function main(): Promise<number> {
  const stop = new AbortController();
  const interrupt = (): void => stop.abort(new UnableToRun("The benchmark was interrupted."));
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  try {
    const { bench, isJson, options } = readArguments(stop.signal);
    const cases = await bench.run(options);
    if (isJson) console.log(JSON.stringify({ bench: bench.name, cases }, undefined, 1));
    else console.log(asText(bench.name, cases));
    return cases.every(({ holds }) => holds) ? 0 : 1;
  } catch (caught) {
    const error: unknown = stop.signal.aborted ? stop.signal.reason : caught;
    // Whatever broke, no bar was measured: that must not look like a missed one.
    console.error(error instanceof UnableToRun ? error.message : error);
    return 2;
  }
}

function readArguments(signal: AbortSignal): {
  readonly bench: Bench;
  readonly isJson: boolean;
  readonly options: BenchOptions;
} {
  const { values, positionals } = parse();
  const [name, ...rest] = positionals;
  if (name === undefined || rest.length > 0) throw new UnableToRun(usage);
  const bench = benches.find((candidate) => candidate.name === name);
  if (bench === undefined) throw new UnableToRun(`There is no benchmark "${name}".\n\n${usage}`);
  const { only } = values;
  const loads = only?.split(",") ?? bench.loads;
  const unknown = loads.find((load) => !bench.loads.includes(load));
  if (unknown !== undefined) {
    throw new UnableToRun(`The benchmark ${name} has no load "${unknown}".\n\n${usage}`);
  }
  const { defaults } = bench;
  return {
    bench,
    isJson: values.json,
    options: {
      rounds: atLeastOne("rounds", values.rounds, defaults.rounds),
      seconds: atLeastOne("seconds", values.seconds, defaults.seconds),
      loads,
      signal,
      say: (line) => console.error(line),
    },
  };
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        json: { type: "boolean", default: false },
        rounds: { type: "string" },
        seconds: { type: "string" },
        only: { type: "string" },
      },
    });
  } catch (error) {
    throw new UnableToRun(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
}

function atLeastOne(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new UnableToRun(`--${name} must be a whole number of at least 1, and is "${text}".`);
}
