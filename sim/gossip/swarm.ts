import { type GossipTiming, gossipTimings } from "../../src/gossip/index.ts";
import { type Random, randomBelow } from "../../src/kernel/index.ts";
import type { Weather } from "./network.ts";

/** Things that happen to a cluster; each run draws which of them do. */
export const happenings = [
  "crash",
  "power_loss",
  "mass_restart",
  "pause",
  "cut",
  "one_way_cut",
  "partition",
  "wall_clock_jump",
  "join",
  "leave",
  "remove",
  "readmit",
  "lose_disk",
  "publish",
  "two_cuts",
  "forge",
] as const;

export type Happening = (typeof happenings)[number];

/**
 * - `calm`: nodes may end and begin, and clocks that people read may jump, but the network is
 *   good, nobody stands still for long, and everybody learns soon who is a member. Nobody who runs
 *   may be called failed, not for a moment, and whoever ended is known to have in time.
 * - `one_link`: as calm, but at any time one pair of nodes may not hear each other, or two pairs
 *   with one node in common. As others can hear it, nobody who runs may even be suspected.
 * - `stormy`: anything.
 */
export type Mood = "calm" | "one_link" | "stormy";

/** What goes wrong in one run, and how the protocol is set: each seed draws its own mix. */
export type Swarm = {
  readonly mood: Mood;
  readonly nodes: number;
  readonly timing: GossipTiming;
  readonly weather: Weather;
  readonly happenings: readonly Happening[];
  /** Between two happenings, on average. */
  readonly gapMs: number;
  readonly faultsMs: number;
  readonly maxDownMs: number;
  readonly maxPauseMs: number;
  readonly maxCutMs: number;
  /** How late a node learns what was agreed. */
  readonly maxLagMs: number;
  /** Of restarts, those that never come. */
  readonly goneRate: number;
  /** How far the machines' clocks run apart. */
  readonly clockSkew: number;
};

const calmHappenings: readonly Happening[] = [
  "crash",
  "mass_restart",
  "pause",
  "wall_clock_jump",
  "join",
  "leave",
  "remove",
  "readmit",
  "publish",
  "forge",
];

export function drawSwarm(random: Random): Swarm {
  const one = <Value>(values: readonly [Value, ...Value[]]) =>
    values[randomBelow(random, values.length)] ?? values[0];
  const chance = (rate: number) => random.next() < rate;
  /** Many runs are without one kind of fault at all, so that others come to bear. */
  const fault = (share: number, rate: number) => (chance(share) ? rate : 0);

  const mood = one<Mood>(["calm", "one_link", "stormy", "stormy", "stormy"]);
  const isStormy = mood === "stormy";
  const possible: readonly Happening[] = isStormy
    ? happenings
    : mood === "one_link"
      ? ["cut", "two_cuts", "wall_clock_jump", "publish", "forge"]
      : calmHappenings;
  const drawn = possible.filter(() => chance(0.6));
  const timing = drawTiming(random, mood);
  return {
    mood,
    nodes: drawNodes(random),
    timing,
    weather: {
      lossRate: isStormy ? fault(0.6, random.next() * 0.2) : 0,
      duplicateRate: fault(0.5, random.next() * 0.2),
      maxDelayMs: one([5, 20, 100]),
      hasGate: chance(0.5),
    },
    happenings: drawn.length > 0 ? drawn : possible.slice(0, 1),
    gapMs: one([300, 1_000, 3_000]),
    faultsMs: one([8_000, 15_000, 25_000]),
    maxDownMs: one([500, 5_000, 20_000]),
    maxPauseMs: isStormy ? one([1_000, 5_000, 20_000]) : forgivenPauseMs(timing),
    maxCutMs: one([2_000, 10_000, 25_000]),
    // Who learns so late who is a member does not listen to it meanwhile, nor object to it.
    maxLagMs: isStormy ? one([50, 1_000, 8_000]) : one([50, 1_000]),
    goneRate: one([0, 0.3]),
    clockSkew: one([0, 0.02, 0.05]),
  };
}

/** A pause that is no fault may lead to a suspicion, but leaves the time to object to it. */
function forgivenPauseMs(timing: GossipTiming): number {
  const objectionMs = timing.pingIntervalMs + timing.pingTimeoutMs;
  return timing.silenceMs + timing.suspicionMinMs - objectionMs;
}

function drawNodes(random: Random): number {
  const between = (least: number, most: number) => least + randomBelow(random, most - least + 1);
  const at = random.next();
  if (at < 0.75) return between(3, 7);
  if (at < 0.96) return between(8, 20);
  if (at < 0.998) return between(21, 50);
  return between(100, 200);
}

/** The presets themselves, or one that is faster in some respects. */
function drawTiming(random: Random, mood: Mood): GossipTiming {
  const one = <Value>(values: readonly [Value, ...Value[]]) =>
    values[randomBelow(random, values.length)] ?? values[0];
  const preset = one<GossipTiming>([gossipTimings.lan, gossipTimings.local]);
  // Where nothing is lost nobody has to wait for an exchange that comes by itself.
  if (mood !== "stormy") return preset;
  return { ...preset, syncIntervalMs: one([3_000, 5_000, 10_000]) };
}
