import { type Random, randomBelow } from "../../src/kernel/index.ts";
import type { CommitAnnouncement } from "../../src/raft/raft-state.ts";
import type { RaftLimits, RaftTiming } from "../../src/raft/timing.ts";

/** What goes wrong in one run, and how the protocol is set: each seed draws its own mix. */
export type Swarm = {
  readonly nodes: number;
  readonly initialVoters: number;
  /** `random` asks for anything, `planned` for what the daemon's own choice of voters says. */
  readonly membership: "fixed" | "random" | "planned";
  readonly maxVoters: number;
  readonly store: "memory" | "file";
  readonly timing: RaftTiming;
  readonly limits: RaftLimits;
  readonly announcement: CommitAnnouncement;
  /** Entries between two snapshots, and entries kept behind one. */
  readonly snapshots: { readonly everyEntries: number; readonly retainedEntries: number };
  readonly segmentBytes: number;
  readonly dropRate: number;
  readonly duplicateRate: number;
  readonly maxDelay: number;
  /** How often a message arrives long after everybody has gone on. */
  readonly stragglerRate: number;
  /** Whether messages of one link may overtake each other. */
  readonly reorders: boolean;
  readonly maxDiskDelay: number;
  /** One machine whose disk takes so many times as long. */
  readonly slowDiskFactor: number;
  /** Events per tick of the whole cluster. */
  readonly crashRate: number;
  readonly partitionRate: number;
  readonly pauseRate: number;
  readonly configurationRate: number;
  readonly transferRate: number;
  readonly maxDown: number;
  readonly maxPause: number;
  readonly maxPartition: number;
  /** Of crashes that also lose what the disk had not made durable. */
  readonly powerLossRate: number;
  /** How far the machines' clocks run apart: 0.5 lets one tick take between a half and one and a half. */
  readonly clockSkew: number;
  /** How often a tick comes late. */
  readonly lateTickRate: number;
  /** How often somebody who just came to lead, or to change members, is struck at once. */
  readonly ambushRate: number;
  /** Of ambushes, those that crash it; others cut it off. */
  readonly ambushCrashRate: number;
  readonly aimsAtLeader: boolean;
  readonly isolatesLeader: boolean;
  readonly oneWayRate: number;
  /** One machine stays broken for good, and the others must do without. */
  readonly keepsOneBroken: boolean;
  readonly clients: number;
  /** Writes per tick that nobody waits for, to whoever believes to lead. */
  readonly noiseRate: number;
  /** How often a client knows who leads. */
  readonly asksLeaderRate: number;
  readonly keys: number;
  readonly maxThinking: number;
  readonly retryTicks: number;
  readonly patienceTicks: number;
};

/** Of the seeds, those that run on the log store of files; it costs several times as much. */
const fileStoreRate = 0.12;

export function drawSwarm(random: Random): Swarm {
  const one = <Value>(values: readonly [Value, ...Value[]]) =>
    values[randomBelow(random, values.length)] ?? values[0];
  const chance = (rate: number) => random.next() < rate;
  const squared = () => random.next() * random.next();
  /** Many runs are without one kind of fault at all, so that others come to bear. */
  const fault = (share: number, rate: number) => (chance(share) ? rate : 0);

  const membership = one<Swarm["membership"]>(["fixed", "random", "planned"]);
  const nodes = membership === "fixed" ? one([1, 3, 3, 3, 4, 5, 5, 7]) : one([3, 4, 5, 5, 6, 7]);
  const initialVoters =
    membership === "fixed" ? nodes : 1 + randomBelow(random, Math.min(nodes, 5));
  const electionTicks = one([6, 10, 10, 16]);
  const hasSnapshots = chance(0.6);
  return {
    nodes,
    initialVoters,
    membership,
    maxVoters: one([3, 5, 7]),
    store: chance(fileStoreRate) ? "file" : "memory",
    timing: { tickMs: 1, heartbeatTicks: one([1, 2, 2, 4]), electionTicks },
    limits: {
      messageBytes: one([1, 80, 4_096]),
      inFlight: { messages: one([1, 2, 16]), bytes: one([100, 100_000]) },
      uncommittedBytes: one([200, 4_000, 20_000]),
      applyBytes: one([1, 10_000]),
    },
    snapshots: {
      everyEntries: hasSnapshots ? one([1, 4, 15]) : Number.POSITIVE_INFINITY,
      retainedEntries: one([0, 2, 10]),
    },
    segmentBytes: one([1_024, 4_096, 16_384]),
    dropRate: fault(0.8, random.next() * 0.15),
    duplicateRate: fault(0.6, random.next() * 0.1),
    maxDelay: 1 + randomBelow(random, electionTicks),
    stragglerRate: fault(0.4, random.next() * 0.05),
    reorders: chance(0.7),
    maxDiskDelay: 1 + randomBelow(random, chance(0.6) ? electionTicks / 2 : 2 * electionTicks),
    slowDiskFactor: one([1, 1, 4]),
    crashRate: fault(0.85, squared() * 0.04),
    partitionRate: fault(0.8, squared() * 0.04),
    pauseRate: fault(0.4, squared() * 0.03),
    configurationRate: 0.005 + random.next() * 0.05,
    transferRate: fault(0.4, random.next() * 0.02),
    maxDown: one([4, 20, 120]),
    maxPause: one([10, 60]),
    maxPartition: one([30, 150]),
    powerLossRate: one([0.2, 0.8, 1]),
    clockSkew: one([0, 0.1, 0.5]),
    lateTickRate: one([0.02, 0.05, 0.5]),
    ambushRate: fault(0.5, one([0.3, 0.7, 1])),
    ambushCrashRate: one([0, 0.5, 1]),
    aimsAtLeader: chance(0.5),
    isolatesLeader: chance(0.4),
    oneWayRate: one([0, 0.3, 0.7]),
    keepsOneBroken: chance(0.2),
    clients: one([2, 4, 8]),
    noiseRate: one([0, 0.1, 0.3]),
    asksLeaderRate: one([0.1, 0.7]),
    keys: one([1, 2, 3]),
    maxThinking: one([3, 10, 30]),
    retryTicks: one([4, 15, 40]),
    patienceTicks: one([60, 200]),
    announcement: one<CommitAnnouncement>(["on_request", "on_request", "at_once"]),
  };
}
