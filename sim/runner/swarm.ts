import { type Random, randomBelow } from "../../src/kernel/index.ts";
import type { FeedLimits } from "../../src/raft/feed-server.ts";
import { electionMsOf, type RaftTiming, type SnapshotPolicy } from "../../src/raft/index.ts";
import type { Weather } from "../gossip/network.ts";
import type { Disorder } from "../links.ts";

/** Things that go wrong, or are asked of the leader; each run draws which of them happen. */
export const happenings = [
  "crash",
  "power_loss",
  "stop",
  "mass_restart",
  "pause",
  "cut",
  "one_way_cut",
  "partition",
  "slow_disk",
  "change_members",
  "transfer",
] as const;

const memberHappenings = ["change_members", "change_members", "partition", "crash"] as const;

export type Happening = (typeof happenings)[number];

/** What one run is made of: each seed draws its own mix. */
export type Swarm = {
  readonly nodes: number;
  readonly voters: number;
  /** How likely each other node is a learner; else it follows the log from outside. */
  readonly learnerRate: number;
  readonly timing: RaftTiming;
  readonly snapshots: SnapshotPolicy;
  /** Of every snapshot of the state machine. */
  readonly snapshotBytes: number;
  readonly feedLimits: FeedLimits | undefined;
  readonly proposalTimeoutMs: number | undefined;
  readonly store: "memory" | "file";
  readonly segmentBytes: number;
  readonly maxWriteMs: number;
  readonly slowWriteMs: number;
  /** Whether the disk of one machine is slow all the time. */
  readonly hasSlowDisk: boolean;
  readonly weather: Weather;
  readonly disorder: Disorder;
  /** Whether messages are encoded and decoded on their way. */
  readonly hasCodec: boolean;
  readonly clockSkew: number;
  readonly happenings: readonly Happening[];
  readonly gapMs: number;
  readonly faultsMs: number;
  readonly maxDownMs: number;
  readonly maxPauseMs: number;
  readonly maxCutMs: number;
  readonly maxSlowMs: number;
  /** How often the one that leads is struck. */
  readonly aimRate: number;
  readonly clients: number;
  readonly keys: number;
  readonly maxThinkMs: number;
  readonly retryMs: number;
  readonly patienceMs: number;
  /** Of attempts that are given up, those that the node is told of. */
  readonly abortRate: number;
  /** Between two writes that nobody repeats. */
  readonly noiseGapMs: number | undefined;
};

/** The least that tears a snapshot into several chunks. */
const severalChunks = 700 * 2 ** 10;

export function drawSwarm(random: Random): Swarm {
  const one = <Value>(values: readonly [Value, ...Value[]]) =>
    values[randomBelow(random, values.length)] ?? values[0];
  const chance = (rate: number) => random.next() < rate;
  const fault = (share: number, rate: number) => (chance(share) ? rate : 0);
  /** Nodes that become members while others feed them, with hardly an entry kept. */
  const isAboutMembers = chance(0.12);
  const nodes = isAboutMembers ? one([5, 6]) : one([3, 3, 3, 3, 4, 4, 5, 5, 6]);
  const timing: RaftTiming = {
    tickMs: one([20, 50]),
    heartbeatTicks: one([1, 1, 2]),
    electionTicks: one([5, 8]),
  };
  const electionMs = electionMsOf(timing);
  const isLarge = chance(0.08);
  const drawn = isAboutMembers ? memberHappenings : happenings.filter(() => chance(0.5));
  return {
    nodes,
    voters: Math.min(nodes, one([1, 3, 3, 3, 5])),
    learnerRate: one([0, 0.5, 1]),
    timing,
    snapshots: {
      everyEntries: isLarge ? 25 : one([4, isAboutMembers ? 6 : 10, 25]),
      everyBytes: chance(0.2) ? 400 : 2 ** 20,
      retainedEntries: isAboutMembers ? 0 : one([0, 2, 8]),
      maxPutOff: one([0, 0, 8]),
    },
    snapshotBytes: isLarge ? severalChunks : 16 * 2 ** 10,
    feedLimits: chance(0.3) ? { member: 1, relay: 1 } : undefined,
    proposalTimeoutMs: one([undefined, 3 * electionMs, 6 * electionMs]),
    store: chance(0.25) ? "file" : "memory",
    segmentBytes: one([1_024, 4_096, 16_384]),
    maxWriteMs: one([2, 6, Math.round(electionMs / 8)]),
    slowWriteMs: Math.round(electionMs * one([0.5, 1.5])),
    hasSlowDisk: chance(0.3),
    weather: {
      lossRate: fault(0.6, one([0.02, 0.1])),
      duplicateRate: 0,
      maxDelayMs: one([2, 8, Math.round(electionMs / 8)]),
      hasGate: false,
    },
    disorder: {
      duplicateRate: fault(0.5, 0.05),
      lateRate: fault(0.5, 0.05),
      maxLateMs: Math.round(electionMs * one([0.5, 4])),
    },
    hasCodec: chance(0.1),
    clockSkew: one([0, 0.02, 0.2]),
    happenings: drawn,
    gapMs: electionMs * one([0.7, isAboutMembers ? 1 : 2, isAboutMembers ? 1 : 5]),
    faultsMs: electionMs * one([10, 20]),
    maxDownMs: electionMs * one([0.5, 3, 10]),
    maxPauseMs: electionMs * one([1, 4]),
    maxCutMs: electionMs * one([2, 8]),
    maxSlowMs: electionMs * one([2, 8]),
    aimRate: one([0.2, 0.7]),
    clients: one([1, 2, 3]),
    keys: one([1, 2, 3]),
    maxThinkMs: electionMs * one([0.2, 1]),
    retryMs: electionMs * one([0.3, 1, 3]),
    patienceMs: electionMs * one([5, 15]),
    abortRate: one([0, 0.5, 1]),
    noiseGapMs: one([undefined, electionMs / 2, electionMs / 5]),
  };
}
