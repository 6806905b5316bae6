import { PlanLoad } from "./plan-load.ts";
import {
  type Bench,
  type BenchOptions,
  type Case,
  describeLoad,
  median,
  toCase,
} from "./report.ts";

/** What a pass may take at the most, so that the leader still answers in time. */
const barMs = 200;
const size = { nodes: 1_000, tasks: 10_000 };

/** The planner alone, over a large cluster in memory, against a bar instead of a peer. */
export const planBench: Bench = {
  name: "plan",
  summary: "one pass of the scheduler, 1,000 nodes and 10,000 tasks",
  loads: ["services-100", "services-10"],
  defaults: { rounds: 3, seconds: 1 },
  run,
};

async function run({ rounds, loads, signal, say }: BenchOptions): Promise<readonly Case[]> {
  say(describeLoad());
  return loads.flatMap((load) => {
    const services = Number(load.split("-")[1]);
    const placing: number[] = [];
    const idle: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      signal.throwIfAborted();
      const measured = measure(services);
      placing.push(measured.placing);
      idle.push(measured.idle);
      say(
        `${load}: ${measured.placing.toFixed(0)} ms placing, ${measured.idle.toFixed(0)} ms idle`,
      );
    }
    const peer = placing.map(() => barMs);
    const common = { unit: "ms", better: "less", peer, peerName: "limit", bar: 1 } as const;
    return [
      toCase({ ...common, name: `${services} services, 500 tasks to place`, ours: placing }),
      toCase({ ...common, name: `${services} services, nothing to do`, ours: idle }),
    ];
  });
}

/** The median pass of each kind, from an empty cluster until there is nothing left to place. */
function measure(services: number): { readonly placing: number; readonly idle: number } {
  const load = new PlanLoad({ ...size, services });
  const placing: number[] = [];
  for (;;) {
    const { plan, ms } = load.pass();
    if (plan.command === undefined) break;
    placing.push(ms);
  }
  const idle = Array.from({ length: 5 }, () => load.pass().ms);
  return { placing: median(placing), idle: median(idle) };
}
