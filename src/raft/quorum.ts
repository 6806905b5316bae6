import type { NodeId } from "../kernel/index.ts";

/** The sets of voters of which each must agree: one, or two while a configuration is joint. */
export type DecidingSets = readonly (readonly NodeId[])[];

/**
 * The highest value that a majority of every set has reached: the commit index of match
 * indexes (paper §5.3), the confirmed round of read contexts. 0 without voters.
 */
export function quorumValue(sets: DecidingSets, heldBy: (node: NodeId) => number): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const voters of sets) {
    const values = voters.map(heldBy).sort((a, b) => b - a);
    lowest = Math.min(lowest, values[Math.floor(values.length / 2)] ?? 0);
  }
  return Number.isFinite(lowest) ? lowest : 0;
}

/** Whether `holds` is true of a majority of every set. */
export function hasQuorum(sets: DecidingSets, holds: (node: NodeId) => boolean): boolean {
  return quorumValue(sets, (node) => (holds(node) ? 1 : 0)) === 1;
}

/** How an election stands: lost as soon as no majority is possible any more. */
export function tally(
  sets: DecidingSets,
  votes: ReadonlyMap<NodeId, boolean>,
): "won" | "lost" | "pending" {
  if (hasQuorum(sets, (node) => votes.get(node) === true)) return "won";
  return hasQuorum(sets, (node) => votes.get(node) !== false) ? "pending" : "lost";
}
