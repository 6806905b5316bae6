import type { Task } from "../cluster/index.ts";
import { compareText } from "../cluster/index.ts";

/** A task that may be stopped for another one, and what that would free. */
export type Candidate = {
  readonly task: Task;
  readonly priority: number;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  /** It holds a host port that is needed: without it nothing fits. */
  readonly isNeeded: boolean;
};

/** What is short on a node; nothing is where both are zero or less. */
export type Shortfall = { readonly cpuMillis: number; readonly memoryBytes: number };

/**
 * The tasks to stop so that nothing is short any more: as few as possible, of those as low a
 * priority as possible, and none that is not needed. Where only CPU or only memory is short,
 * no smaller set would do; where both are, what helps most with both goes first. Undefined
 * when stopping all of them would not do.
 */
export function chooseVictims(
  candidates: readonly Candidate[],
  shortfall: Shortfall,
): readonly Candidate[] | undefined {
  const needed = candidates.filter(({ isNeeded }) => isNeeded);
  const others = candidates.filter(({ isNeeded }) => !isNeeded);
  const rest = without(shortfall, needed);
  let best: readonly Candidate[] | undefined;
  // Higher ones are only looked at if that makes them fewer.
  for (const highest of new Set(others.map(({ priority }) => priority).toSorted((a, b) => a - b))) {
    const chosen = cover(
      others.filter(({ priority }) => priority <= highest),
      rest,
    );
    if (chosen !== undefined && (best === undefined || chosen.length < best.length)) best = chosen;
  }
  if (isCovered(rest)) best = [];
  return best === undefined ? undefined : [...needed, ...best];
}

function cover(
  candidates: readonly Candidate[],
  shortfall: Shortfall,
): readonly Candidate[] | undefined {
  if (!isCovered(without(shortfall, candidates))) return undefined;
  const chosen: Candidate[] = [];
  let left = [...candidates];
  let rest = shortfall;
  while (!isCovered(rest)) {
    const missing = rest;
    const [next] = left.toSorted(
      (a, b) => helpOf(b, missing, shortfall) - helpOf(a, missing, shortfall) || compareCost(a, b),
    );
    if (next === undefined) return undefined;
    chosen.push(next);
    left = left.filter((each) => each !== next);
    rest = without(rest, [next]);
  }
  return withoutSpare(chosen, shortfall);
}

/** What helped at first may not be needed any more beside what was chosen after it. */
function withoutSpare(chosen: readonly Candidate[], shortfall: Shortfall): readonly Candidate[] {
  return chosen.reduce((kept, each) => {
    const others = kept.filter((other) => other !== each);
    return isCovered(without(shortfall, others)) ? others : kept;
  }, chosen);
}

/** Which part of what is short it covers; CPU and memory count alike. */
function helpOf(candidate: Candidate, missing: Shortfall, of: Shortfall): number {
  const part = (amount: number, short: number, whole: number) =>
    short <= 0 ? 0 : Math.min(amount, short) / whole;
  return (
    part(candidate.cpuMillis, missing.cpuMillis, of.cpuMillis) +
    part(candidate.memoryBytes, missing.memoryBytes, of.memoryBytes)
  );
}

/** The lower priority, then no run of a job, whose work would be lost, then the youngest. */
function compareCost(a: Candidate, b: Candidate): number {
  return (
    a.priority - b.priority ||
    Number(a.task.run !== undefined) - Number(b.task.run !== undefined) ||
    b.task.createdAtMs - a.task.createdAtMs ||
    compareText(a.task.id, b.task.id)
  );
}

function without({ cpuMillis, memoryBytes }: Shortfall, freed: readonly Candidate[]): Shortfall {
  return {
    cpuMillis: freed.reduce((left, each) => left - each.cpuMillis, cpuMillis),
    memoryBytes: freed.reduce((left, each) => left - each.memoryBytes, memoryBytes),
  };
}

function isCovered({ cpuMillis, memoryBytes }: Shortfall): boolean {
  return cpuMillis <= 0 && memoryBytes <= 0;
}
