import type { NodeId } from "../kernel/index.ts";
import { cpus, memory, type Refusal } from "./explain.ts";
import type { Facts, NodeFacts } from "./facts.ts";
import { attributeOf } from "./node-attributes.ts";
import type { NodeUsages } from "./node-usage.ts";
import type { PlacementRequest } from "./placement-request.ts";
import { needsOf, refusalOf } from "./refusal.ts";

export type Placement =
  | {
      readonly kind: "placed";
      readonly nodeId: NodeId;
      /** The arithmetic of the choice, in one sentence. */
      readonly why: string;
    }
  | { readonly kind: "unplaceable"; readonly refusals: readonly Refusal[] };

/** One node's numbers; the lower one wins, number by number. */
type Ranked = { readonly node: NodeFacts; readonly rank: readonly number[] };

/**
 * Chooses the node for one more replica: not where it failed lately, then by the service's
 * preferences, then where the fewest siblings are, so that losing a node costs the fewest
 * replicas, then the fewest tasks, then the most free memory. With `pack` it is the fullest
 * node instead. Equal candidates are ordered by node id, so every leader decides alike.
 */
export function place(facts: Facts, usages: NodeUsages, request: PlacementRequest): Placement {
  const refusals: Refusal[] = [];
  const rankOf = ranking(facts, usages, request);
  const needs = needsOf(facts, request);
  let best: Ranked | undefined;
  let second: Ranked | undefined;
  let fitting = 0;
  for (const node of candidatesOf(facts, request.only)) {
    const refusal = refusalOf(facts, usages, request, node, needs);
    if (refusal !== undefined) {
      refusals.push(refusal);
      continue;
    }
    fitting += 1;
    const ranked = { node, rank: rankOf(node) };
    if (best === undefined || compareRanks(ranked.rank, best.rank) < 0) {
      second = best;
      best = ranked;
    } else if (second === undefined || compareRanks(ranked.rank, second.rank) < 0) {
      second = ranked;
    }
  }
  if (best === undefined) return { kind: "unplaceable", refusals };
  const why = whyChosen(usages, request, { best, second, fitting, refused: refusals.length });
  return { kind: "placed", nodeId: best.node.node.id, why };
}

/** What a node has that decides between it and others, for people. */
export function describeLoad(
  usages: NodeUsages,
  siblings: ReadonlyMap<NodeId, number>,
  { node, report }: NodeFacts,
): string {
  const usage = usages.of(node.id);
  const freeCpu = (report?.capacity.cpuMillis ?? 0) - usage.cpuMillis;
  const freeMemory = (report?.capacity.memoryBytes ?? 0) - usage.memoryBytes;
  const own = siblings.get(node.id) ?? 0;
  return `${own} of this service, ${usage.tasks} tasks, ${cpus(freeCpu)} CPUs and ${memory(freeMemory)} free`;
}

function whyChosen(
  usages: NodeUsages,
  { siblings, only }: PlacementRequest,
  found: {
    readonly best: Ranked;
    readonly second: Ranked | undefined;
    readonly fitting: number;
    readonly refused: number;
  },
): string {
  if (only !== undefined) return "Every node that meets the constraints runs one.";
  const { best, second, fitting, refused } = found;
  const load = ({ node }: Ranked) =>
    `${node.node.name} has ${describeLoad(usages, siblings, node)}`;
  const others = refused === 0 ? "" : `; ${refused} refused`;
  const next = second === undefined ? "the only one that fits" : `next: ${load(second)}`;
  return `${load(best)}; ${next} (${fitting} fit${others}).`;
}

function candidatesOf(facts: Facts, only: NodeId | undefined): readonly NodeFacts[] {
  if (only === undefined) return facts.nodesInOrder;
  const node = facts.nodes.get(only);
  return node === undefined ? [] : [node];
}

const noCapacity = { cpuMillis: 0, memoryBytes: 0 };

function ranking(
  facts: Facts,
  usages: NodeUsages,
  { service, siblings, failures }: PlacementRequest,
): (node: NodeFacts) => readonly number[] {
  const { preferences = [], strategy } = service.spec.placement;
  const crowds = preferences.map(({ spread }) => crowdsBy(facts, siblings, spread));
  const isPlain = preferences.length === 0 && strategy === undefined;
  return (candidate) => {
    const { id } = candidate.node;
    const usage = usages.of(id);
    const capacity = candidate.report?.capacity ?? noCapacity;
    const failed = failures.get(id) ?? 0;
    if (isPlain) {
      // Most services; half a million such lists are made for one large plan.
      const free = usage.memoryBytes - capacity.memoryBytes;
      return [failed, siblings.get(id) ?? 0, usage.tasks, free];
    }
    const preferred = preferences.map(
      ({ spread }, i) => crowds[i]?.get(attributeOf(candidate, spread)) ?? 0,
    );
    const load =
      strategy === "pack"
        ? [-shareOf(usage, capacity), -usage.tasks]
        : [siblings.get(id) ?? 0, usage.tasks, usage.memoryBytes - capacity.memoryBytes];
    return [failed, ...preferred, ...load];
  };
}

/** How many siblings the nodes with each value of an attribute have together. */
function crowdsBy(
  facts: Facts,
  siblings: ReadonlyMap<NodeId, number>,
  key: string,
): ReadonlyMap<string | undefined, number> {
  const crowds = new Map<string | undefined, number>();
  for (const [id, count] of siblings) {
    const node = facts.nodes.get(id);
    if (node === undefined) continue;
    const value = attributeOf(node, key);
    crowds.set(value, (crowds.get(value) ?? 0) + count);
  }
  return crowds;
}

/** How full a node is by what is scarcest on it, from 0 to 1. */
function shareOf(
  used: { readonly cpuMillis: number; readonly memoryBytes: number },
  capacity: { readonly cpuMillis: number; readonly memoryBytes: number },
): number {
  return Math.max(
    used.cpuMillis / Math.max(1, capacity.cpuMillis),
    used.memoryBytes / Math.max(1, capacity.memoryBytes),
  );
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  // By index: it is asked for every node at every placement, and an iterator costs as much again.
  for (let i = 0; i < a.length; i += 1) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
