import { plantedGossipBugs } from "./gossip/planted-bugs.ts";
import { runGossipWorld } from "./gossip/world.ts";
import { BrokenWorlds } from "./planted-source.ts";
import { plantedBugs } from "./raft/planted-bugs.ts";
import { runRaftWorld } from "./raft/world.ts";
import { plantedRingBugs } from "./ring/planted-bugs.ts";
import { runRingWorld } from "./ring/world.ts";
import { plantedRunnerBugs } from "./runner/planted-bugs.ts";
import { runRunnerWorld } from "./runner/world.ts";

export type PlantedBug = {
  readonly name: string;
  readonly section: string;
  /** The runs within which it must be found. */
  readonly seeds: number;
};

/** What the runs of a simulation did, added up. */
export type Totals = Readonly<Record<string, number>>;

export type Run = {
  readonly seed: number;
  /** A planted bug, by its name. */
  readonly bug?: string | undefined;
  readonly print?: ((line: string) => void) | undefined;
};

/** A world of its own: one seed is one run, always the same. */
export type Simulation = {
  readonly name: string;
  readonly summary: string;
  readonly bugs: readonly PlantedBug[];
  /** @throws when the bug is not there to be planted. */
  prepare(bug: string): Promise<unknown>;
  /** @throws whatever promise was broken. */
  run(run: Run): Promise<Totals>;
};

const raft: Simulation = {
  name: "raft",
  summary: "the replicated log",
  bugs: plantedBugs,
  prepare: async (bug) => named(plantedBugs, bug),
  run: async ({ seed, bug, print }) => {
    const planted = bug === undefined ? undefined : named(plantedBugs, bug);
    const result = await runRaftWorld({ seed, bug: planted, ...(print && { print }) });
    const { steps, committed, acknowledged, reads, undecided, store } = result;
    return {
      steps,
      "entries committed": committed,
      "writes answered": acknowledged,
      "reads answered": reads,
      "histories undecided": undecided,
      "runs on log files": store === "file" ? 1 : 0,
    };
  },
};

type GossipWorldModule = typeof import("./gossip/world.ts");
/** Only what takes part is loaded anew with each planted bug. */
const gossipWorlds = new BrokenWorlds<GossipWorldModule>({
  url: new URL("./gossip/world.ts", import.meta.url),
  bugs: plantedGossipBugs,
  reloaded: /\/(src|sim)\/gossip\//,
});

const gossip: Simulation = {
  name: "gossip",
  summary: "failure detection and state records",
  bugs: plantedGossipBugs,
  prepare: (bug) => gossipWorlds.load(bug),
  run: async ({ seed, bug, print }) => {
    const run = bug === undefined ? runGossipWorld : (await gossipWorlds.load(bug)).runGossipWorld;
    const { nodes, seconds, requests, frames, publications, changes, happened } = await run({
      seed,
      ...(print && { print }),
    });
    return {
      nodes,
      "seconds simulated": seconds,
      requests,
      frames,
      publications,
      "changes of belief": changes,
      faults: happened,
    };
  },
};

type RingWorldModule = typeof import("./ring/world.ts");
const ringWorlds = new BrokenWorlds<RingWorldModule>({
  url: new URL("./ring/world.ts", import.meta.url),
  bugs: plantedRingBugs,
  reloaded: /\/(src|sim)\/.*\.ts$/,
});

const ring: Simulation = {
  name: "ring",
  summary: "everything together: log, gossip, scheduler, agents, routes",
  bugs: plantedRingBugs,
  prepare: (bug) => ringWorlds.load(bug),
  run: async ({ seed, bug, print }) => {
    const run = bug === undefined ? runRingWorld : (await ringWorlds.load(bug)).runRingWorld;
    const result = await run({ seed, ...(print && { print }) });
    return {
      nodes: result.nodes,
      "seconds simulated": result.seconds,
      "entries agreed": result.entries,
      "containers started": result.containers,
      faults: result.faults,
      "acts of users": result.acts,
      "runs of jobs": result.runs,
    };
  },
};

type RunnerWorldModule = typeof import("./runner/world.ts");
const runnerWorlds = new BrokenWorlds<RunnerWorldModule>({
  url: new URL("./runner/world.ts", import.meta.url),
  bugs: plantedRunnerBugs,
  reloaded: /\/(src|sim)\/.*\.ts$/,
});

const runner: Simulation = {
  name: "runner",
  summary: "the log as the daemon drives it",
  bugs: plantedRunnerBugs,
  prepare: (bug) => runnerWorlds.load(bug),
  run: async ({ seed, bug, print }) => {
    const run = bug === undefined ? runRunnerWorld : (await runnerWorlds.load(bug)).runRunnerWorld;
    const result = await run({ seed, ...(print && { print }) });
    return {
      nodes: result.nodes,
      "seconds simulated": result.seconds,
      writes: result.writes,
      "calls answered": result.answered,
      terms: result.terms,
      "starts of nodes": result.starts,
      faults: result.happened,
      "runs on log files": result.store === "file" ? 1 : 0,
    };
  },
};

export const simulations: readonly Simulation[] = [raft, gossip, ring, runner];

export function named<Value extends { readonly name: string }>(
  values: readonly Value[],
  name: string,
): Value {
  const found = values.find((value) => value.name === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}
