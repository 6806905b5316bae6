import { plantedGossipBugs } from "./gossip/planted-bugs.ts";
import { runGossipWorld } from "./gossip/world.ts";
import { importWithEdit } from "./planted-source.ts";
import { plantedBugs } from "./raft/planted-bugs.ts";
import { runRaftWorld } from "./raft/world.ts";

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

const worldUrl = new URL("./gossip/world.ts", import.meta.url);
type GossipWorldModule = typeof import("./gossip/world.ts");
const gossipWorlds = new Map<string, GossipWorldModule>();

const gossip: Simulation = {
  name: "gossip",
  summary: "failure detection and state records",
  bugs: plantedGossipBugs,
  prepare: brokenWorld,
  run: async ({ seed, bug, print }) => {
    const run = bug === undefined ? runGossipWorld : (await brokenWorld(bug)).runGossipWorld;
    const { nodes, seconds, requests, publications, changes, happened } = await run({
      seed,
      ...(print && { print }),
    });
    return {
      nodes,
      "seconds simulated": seconds,
      requests,
      publications,
      "changes of belief": changes,
      faults: happened,
    };
  },
};

async function brokenWorld(bug: string): Promise<GossipWorldModule> {
  const known = gossipWorlds.get(bug);
  if (known !== undefined) return known;
  const world = (await importWithEdit(
    worldUrl,
    named(plantedGossipBugs, bug),
  )) as GossipWorldModule;
  gossipWorlds.set(bug, world);
  return world;
}

export const simulations: readonly Simulation[] = [raft, gossip];

export function named<Value extends { readonly name: string }>(
  values: readonly Value[],
  name: string,
): Value {
  const found = values.find((value) => value.name === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}
