import { type Random, randomBelow } from "../../src/kernel/index.ts";
import type { RaftLimits } from "../../src/raft/timing.ts";

/** What goes wrong in one run, and how the protocol is set: each seed draws its own mix. */
export type Swarm = {
  readonly nodes: number;
  readonly initialVoters: number;
  readonly dropRate: number;
  readonly duplicateRate: number;
  readonly maxDelay: number;
  readonly maxDiskDelay: number;
  /** Per unit of time. */
  readonly crashRate: number;
  readonly partitionRate: number;
  readonly pauseRate: number;
  readonly maxDown: number;
  /** How often each machine's clock may lose two ticks of three. */
  readonly maxClockLag: number;
  readonly maxPartition: number;
  readonly aimsAtLeader: boolean;
  readonly isolatesLeader: boolean;
  readonly configurationRate: number;
  readonly transferRate: number;
  readonly snapshotRate: number;
  readonly limits: RaftLimits;
};

export function drawSwarm(random: Random): Swarm {
  const one = (values: readonly number[]) => values[randomBelow(random, values.length)] ?? 0;
  const chance = (rate: number) => random.next() < rate;
  const squared = () => random.next() * random.next();
  const changesMembers = chance(0.5);
  return {
    nodes: changesMembers ? 5 : one([3, 3, 5]),
    initialVoters: changesMembers ? one([1, 2, 3, 3, 5]) : 5,
    dropRate: random.next() * 0.15,
    duplicateRate: random.next() * 0.1,
    maxDelay: 1 + randomBelow(random, 12),
    maxDiskDelay: 1 + randomBelow(random, chance(0.5) ? 6 : 25),
    crashRate: squared() * 0.04,
    partitionRate: squared() * 0.04,
    maxDown: chance(0.5) ? 4 : 120,
    pauseRate: chance(0.3) ? squared() * 0.03 : 0,
    maxClockLag: one([0.05, 0.05, 0.8]),
    maxPartition: one([30, 150]),
    aimsAtLeader: chance(0.5),
    isolatesLeader: chance(0.4),
    configurationRate: changesMembers ? random.next() * 0.05 : 0,
    transferRate: chance(0.3) ? random.next() * 0.02 : 0,
    snapshotRate: chance(0.4) ? random.next() * 0.02 : 0,
    limits: {
      messageBytes: one([1, 80, 4_096]),
      inFlight: { messages: one([1, 2, 16]), bytes: one([100, 100_000]) },
      uncommittedBytes: 100_000,
      applyBytes: one([1, 10_000]),
    },
  };
}
