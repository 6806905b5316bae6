import { compareText, type Service } from "../cluster/index.ts";
import type { NodeId, TaskId } from "../kernel/index.ts";
import type { ServiceSpec, TaskTemplate } from "../spec/index.ts";
import { cpus, memory, type Refusal, type RefusalCode } from "./explain.ts";
import type { Facts, NodeFacts } from "./facts.ts";
import { type NodeUsages, staticHostPorts } from "./node-usage.ts";

export type Placement =
  | { readonly kind: "placed"; readonly nodeId: NodeId }
  | { readonly kind: "unplaceable"; readonly refusals: readonly Refusal[] };

export type PlacementRequest = {
  readonly service: Service;
  readonly template: TaskTemplate;
  /** How many tasks of the service each node has that will stay. */
  readonly siblings: ReadonlyMap<NodeId, number>;
  /** How often this replica failed on each node lately. */
  readonly failures: ReadonlyMap<NodeId, number>;
  /** The only node in question: a task of a global service. */
  readonly only: NodeId | undefined;
  /** Tasks whose host ports will be free by then. */
  readonly leaving: ReadonlySet<TaskId>;
};

/**
 * Chooses the node for one more replica: not where it failed lately, then where the fewest
 * siblings are, so that losing a node costs the fewest replicas, then the fewest tasks, then
 * the most free memory. Equal candidates are ordered by node id, so every leader decides alike.
 */
export function place(facts: Facts, usages: NodeUsages, request: PlacementRequest): Placement {
  const refusals: Refusal[] = [];
  let best: { readonly nodeId: NodeId; readonly rank: readonly number[] } | undefined;
  for (const node of candidatesOf(facts, request.only)) {
    const refusal = refusalOf(facts, usages, request, node);
    if (refusal !== undefined) {
      refusals.push(refusal);
      continue;
    }
    const nodeId = node.node.id;
    const rank = rankOf(usages, request, node);
    if (best === undefined || compareRanks(rank, best.rank) < 0) best = { nodeId, rank };
  }
  return best === undefined
    ? { kind: "unplaceable", refusals }
    : { kind: "placed", nodeId: best.nodeId };
}

/**
 * The first placement constraint that a node does not meet, as written; undefined when it
 * meets all, or when what it says of itself is not known yet.
 */
export function unmetConstraint(spec: ServiceSpec, node: NodeFacts): string | undefined {
  const unmet = spec.placement.constraints.find(({ key, operator, value }) => {
    if (key.startsWith("node.platform.") && node.report === undefined) return false;
    const actual = attributeOf(node, key);
    if (operator === "in") return !value.split(",").some((each) => each === actual);
    return (actual === value) !== (operator === "==");
  });
  return unmet === undefined ? undefined : `${unmet.key} ${unmet.operator} ${unmet.value}`;
}

function candidatesOf(facts: Facts, only: NodeId | undefined): readonly NodeFacts[] {
  if (only !== undefined) {
    const node = facts.nodes.get(only);
    return node === undefined ? [] : [node];
  }
  return [...facts.nodes.values()].sort((a, b) => compareText(a.node.id, b.node.id));
}

function refusalOf(
  facts: Facts,
  usages: NodeUsages,
  request: PlacementRequest,
  candidate: NodeFacts,
): Refusal | undefined {
  const { node, status, report } = candidate;
  const refuse = (code: RefusalCode, message: string): Refusal => ({
    nodeId: node.id,
    nodeName: node.name,
    code,
    message,
  });
  if (status !== "alive") return refuse("not_alive", `the node is ${status}`);
  if (node.eligibility !== "active") return refuse("draining", "the node is draining");
  const constraint = unmetConstraint(request.service.spec, candidate);
  if (constraint !== undefined) return refuse("constraint", `constraint ${constraint} is not met`);
  if (report === undefined)
    return refuse("no_report", "the node has not reported its capacity yet");

  const siblings = request.siblings.get(node.id) ?? 0;
  const most = request.service.spec.placement.maxReplicasPerNode;
  if (most !== undefined && siblings >= most) {
    return refuse("max_replicas_per_node", `it has ${siblings} replicas, ${most} are allowed`);
  }
  const shortage = shortageOf(usages, request, candidate);
  if (shortage !== undefined) return refuse(shortage.code, shortage.message);
  const port = takenPort(facts, usages, request, node.id);
  return port === undefined ? undefined : refuse("host_port_in_use", port);
}

function shortageOf(
  usages: NodeUsages,
  { template }: PlacementRequest,
  { node, report }: NodeFacts,
): { readonly code: RefusalCode; readonly message: string } | undefined {
  if (report === undefined) return undefined;
  const usage = usages.of(node.id);
  const needs = template.reservations;
  const freeCpu = report.capacity.cpuMillis - usage.cpuMillis;
  if (needs.cpuMillis !== undefined && needs.cpuMillis > freeCpu) {
    const numbers = `${cpus(needs.cpuMillis)} CPUs needed, ${cpus(freeCpu)} of ${cpus(report.capacity.cpuMillis)} free`;
    return { code: "insufficient_cpu", message: numbers };
  }
  const freeMemory = report.capacity.memoryBytes - usage.memoryBytes;
  if (needs.memoryBytes !== undefined && needs.memoryBytes > freeMemory) {
    const numbers = `${memory(needs.memoryBytes)} of memory needed, ${memory(freeMemory)} of ${memory(report.capacity.memoryBytes)} free`;
    return { code: "insufficient_memory", message: numbers };
  }
  return undefined;
}

function takenPort(
  facts: Facts,
  usages: NodeUsages,
  { template, leaving }: PlacementRequest,
  nodeId: NodeId,
): string | undefined {
  for (const key of staticHostPorts(template)) {
    const holder = usages.of(nodeId).hostPorts.get(key);
    if (holder !== undefined && !leaving.has(holder.id)) {
      return `host port ${key} is in use by ${holder.service}.${holder.slot}`;
    }
    const publisher = facts.publishedPorts.get(key);
    if (publisher !== undefined) return `port ${key} is published on every node by ${publisher}`;
  }
  return undefined;
}

function rankOf(
  usages: NodeUsages,
  { siblings, failures }: PlacementRequest,
  { node, report }: NodeFacts,
): readonly number[] {
  const usage = usages.of(node.id);
  const freeMemory = (report?.capacity.memoryBytes ?? 0) - usage.memoryBytes;
  return [failures.get(node.id) ?? 0, siblings.get(node.id) ?? 0, usage.tasks, -freeMemory];
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (const [i, value] of a.entries()) {
    const difference = value - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function attributeOf({ node, report }: NodeFacts, key: string): string | undefined {
  if (key.startsWith("node.labels.")) return node.labels[key.slice("node.labels.".length)];
  switch (key) {
    case "node.id":
      return node.id;
    case "node.hostname":
      return node.name;
    case "node.platform.os":
      return report?.platform.os;
    case "node.platform.arch":
      return report?.platform.arch;
    default:
      return undefined;
  }
}
