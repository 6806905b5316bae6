import { gossipTimings } from "../../src/gossip/index.ts";
import { type Random, randomBelow } from "../../src/kernel/index.ts";
import type { RaftTiming } from "../../src/raft/index.ts";
import type { Weather } from "../gossip/network.ts";
import type { RingTiming } from "./context.ts";

/** Things that go wrong; each run draws which of them do. */
export const faults = [
  "crash",
  "power_loss",
  "mass_restart",
  "pause",
  "cut",
  "one_way_cut",
  "partition",
  "wall_clock_jump",
  "loss",
  "engine_unreachable",
  "engine_restart",
  "engine_trouble",
  "slow_engine",
  "slow_disk",
  "slow_proxy",
  "container_dies",
  "container_vanishes",
  "container_sick",
] as const;

/** What users do. */
export const acts = [
  "up",
  "update",
  "bad_update",
  "scale",
  "rollback",
  "rm",
  "drain",
  "resume",
  "trigger",
  "suspend",
  "again",
] as const;

export type Fault = (typeof faults)[number];
export type Act = (typeof acts)[number];

/** What one run is made of: each seed draws its own mix. */
export type Swarm = {
  readonly nodes: number;
  readonly services: number;
  readonly hasJobs: boolean;
  /** Whether some services may never run twice; that takes longer to go wrong. */
  readonly hasFences: boolean;
  readonly hasPriorities: boolean;
  readonly timing: RingTiming;
  readonly weather: Weather;
  readonly faults: readonly Fault[];
  readonly acts: readonly Act[];
  /** Between two faults, and between two acts, on average. */
  readonly faultGapMs: number;
  readonly actGapMs: number;
  readonly faultsMs: number;
  readonly maxDownMs: number;
  readonly maxPauseMs: number;
  readonly maxCutMs: number;
  readonly maxTroubleMs: number;
  /** How likely it is that one machine is gone for good in the end. */
  readonly goneRate: number;
  readonly clockSkew: number;
  readonly busyRate: number;
  /** Of each machine. */
  readonly cpuMillis: number;
};

/** What fencing is for. */
const fencedFrom: ReadonlySet<Fault> = new Set(["cut", "crash"]);

/** The times of the presets, with fewer ticks and pings: each of them costs a simulation dear. */
const raftTiming: RaftTiming = { tickMs: 250, heartbeatTicks: 1, electionTicks: 5 };
const gossipTiming = { ...gossipTimings.lan, pingIntervalMs: 1_000, silenceMs: 2_000 };

export function drawSwarm(random: Random): Swarm {
  const one = <Value>(values: readonly [Value, ...Value[]]) =>
    values[randomBelow(random, values.length)] ?? values[0];
  const chance = (rate: number) => random.next() < rate;
  const mood = drawMood(random);
  const mayHappen = faults.filter((fault) => mood === "rough" || fault.startsWith("container_"));
  const hasFences = chance(0.2);
  const hasPriorities = chance(0.25);
  const drawnActs = acts.filter(
    (act) => chance(0.6) || (mood !== "rough" && act.endsWith("update")),
  );
  return {
    nodes: drawNodes(random),
    services: 1 + randomBelow(random, 3),
    hasJobs: chance(0.5),
    hasFences,
    hasPriorities,
    timing: {
      raft: raftTiming,
      gossip: { ...gossipTiming, syncIntervalMs: one([5_000, 10_000, 30_000]) },
      snapshots: {
        everyEntries: one([25, 1_000]),
        everyBytes: 2 ** 20,
        retainedEntries: one([5, 50]),
      },
    },
    weather: {
      lossRate: 0,
      duplicateRate: chance(0.3) ? 0.1 : 0,
      maxDelayMs: one([2, 10, 60]),
      hasGate: true,
    },
    faults:
      mood === "still"
        ? []
        : mayHappen.filter((fault) => chance(0.4) || (hasFences && fencedFrom.has(fault))),
    acts: drawnActs.length === 0 ? ["up", "update", "scale"] : drawnActs,
    faultGapMs: hasFences ? one([4_000, 8_000]) : one([700, 2_000, 8_000]),
    actGapMs: one([1_000, 3_000, 8_000]),
    faultsMs: hasFences ? one([80_000, 110_000]) : one([15_000, 25_000, 45_000]),
    maxDownMs: hasFences ? one([20_000, 60_000]) : one([1_000, 8_000, 20_000]),
    maxPauseMs: one([1_000, 8_000]),
    maxCutMs: hasFences ? one([80_000, 120_000]) : one([2_000, 10_000, 20_000]),
    maxTroubleMs: one([1_000, 5_000, 15_000]),
    goneRate: one([0, 0, 0.7]),
    clockSkew: one([0, 0.01]),
    busyRate: one([0, 0.3]),
    cpuMillis: one(hasPriorities ? [1_000, 1_000, 2_000] : [1_000, 2_000, 4_000]),
  };
}

/**
 * Much may be excused by what happens to machines, so in some runs nothing does: there updates
 * are looked at most closely.
 */
function drawMood(random: Random): "still" | "harmed" | "rough" {
  const at = random.next();
  if (at < 0.15) return "still";
  return at < 0.3 ? "harmed" : "rough";
}

function drawNodes(random: Random): number {
  const between = (least: number, most: number) => least + randomBelow(random, most - least + 1);
  const at = random.next();
  if (at < 0.55) return 3;
  if (at < 0.97) return between(4, 7);
  return between(8, 15);
}
