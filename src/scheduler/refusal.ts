import { boundVolumes } from "../cluster/index.ts";
import type { NodeId } from "../kernel/index.ts";
import { reservationOf } from "../spec/index.ts";
import { cpus, memory, type Refusal, type RefusalCode } from "./explain.ts";
import type { Facts, NodeFacts } from "./facts.ts";
import { describeUnmet, unmetConstraint } from "./node-attributes.ts";
import { type NodeUsages, staticHostPorts } from "./node-usage.ts";
import type { PlacementRequest } from "./placement-request.ts";

type Shortage = Required<Pick<Refusal, "code" | "message" | "missing">>;

/** Why a node cannot take one more task: the first predicate that fails, with its numbers. */
export function refusalOf(
  facts: Facts,
  usages: NodeUsages,
  request: PlacementRequest,
  candidate: NodeFacts,
  needs: Needs = needsOf(facts, request),
): Refusal | undefined {
  const { node, status, report } = candidate;
  const refuse = (code: RefusalCode, message: string): Refusal => ({
    nodeId: node.id,
    nodeName: node.name,
    code,
    message,
  });
  // First of all: that the data is elsewhere explains more than that there is no room here.
  const elsewhere = volumeElsewhere(facts, needs, node.id);
  if (elsewhere !== undefined) return refuse("volume_elsewhere", elsewhere);
  if (status !== "alive") return refuse("not_alive", notAliveMessage(facts, candidate));
  if (node.eligibility !== "active") return refuse("draining", "the node is draining");
  const unmet = unmetConstraint(request.service.spec, candidate);
  if (unmet !== undefined) return refuse("constraint", describeUnmet(unmet, candidate));
  if (report === undefined)
    return refuse("no_report", "the node has not reported its capacity yet");
  if (report.isEngineSilent === true)
    return refuse("engine_silent", "its container engine does not answer");

  const siblings = request.siblings.get(node.id) ?? 0;
  const most = request.service.spec.placement.maxReplicasPerNode;
  if (most !== undefined && siblings >= most) {
    return refuse("max_replicas_per_node", `it has ${siblings} replicas, ${most} are allowed`);
  }
  const shortage = shortageOf(usages, request, candidate);
  if (shortage !== undefined) {
    return { ...refuse(shortage.code, shortage.message), missing: shortage.missing };
  }
  if (needs.ports.length === 0) return undefined;
  const port = takenPort(facts, usages, { ...needs, leaving: request.leaving }, node.id);
  return port === undefined ? undefined : refuse("host_port_in_use", port);
}

/** What is the same for every node that is asked, so that it is worked out once. */
export type Needs = {
  readonly homes: readonly { readonly volume: string; readonly home: NodeId }[];
  readonly ports: readonly string[];
};

export function needsOf({ state }: Facts, request: PlacementRequest): Needs {
  const { service, template, slot } = request;
  const homes = boundVolumes(service.spec.mode, template, slot).flatMap(({ volume, key }) => {
    const home = state.volumeHomes.get(key);
    return home === undefined ? [] : [{ volume, home }];
  });
  return { homes, ports: staticHostPorts(template) };
}

/** With how long it has been so, and when its tasks are given to others. */
function notAliveMessage({ now }: Facts, { status, lostAtMs, sinceMs }: NodeFacts): string {
  const since = sinceMs === undefined ? "" : ` since ${seconds(now - sinceMs)} s`;
  const wait = lostAtMs === undefined ? 0 : lostAtMs - now;
  return `the node is ${status}${since}${wait > 0 ? `, replaced in ${seconds(wait)} s` : ""}`;
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1_000));
}

/** A task follows the data of its named volumes, wherever else there may be room. */
function volumeElsewhere({ nodes }: Facts, { homes }: Needs, nodeId: NodeId): string | undefined {
  for (const { volume, home } of homes) {
    if (home === nodeId) continue;
    const there = nodes.get(home);
    const down = there !== undefined && there.status !== "alive" ? ` (${there.status})` : "";
    return `the data of volume ${volume} is on ${there?.node.name ?? home}${down}`;
  }
  return undefined;
}

function shortageOf(
  usages: NodeUsages,
  { template }: PlacementRequest,
  { node, report }: NodeFacts,
): Shortage | undefined {
  if (report === undefined) return undefined;
  const usage = usages.of(node.id);
  const needs = reservationOf(template);
  const freeCpu = report.capacity.cpuMillis - usage.cpuMillis;
  if (needs.cpuMillis !== undefined && needs.cpuMillis > freeCpu) {
    const numbers = `${cpus(needs.cpuMillis)} CPUs needed, ${cpus(freeCpu)} of ${cpus(report.capacity.cpuMillis)} free`;
    const missing = { cpuMillis: needs.cpuMillis - freeCpu };
    return { code: "insufficient_cpu", message: numbers, missing };
  }
  const freeMemory = report.capacity.memoryBytes - usage.memoryBytes;
  if (needs.memoryBytes !== undefined && needs.memoryBytes > freeMemory) {
    const numbers = `${memory(needs.memoryBytes)} of memory needed, ${memory(freeMemory)} of ${memory(report.capacity.memoryBytes)} free`;
    const missing = { memoryBytes: needs.memoryBytes - freeMemory };
    return { code: "insufficient_memory", message: numbers, missing };
  }
  return undefined;
}

function takenPort(
  facts: Facts,
  usages: NodeUsages,
  { ports, leaving }: Pick<Needs, "ports"> & Pick<PlacementRequest, "leaving">,
  nodeId: NodeId,
): string | undefined {
  for (const key of ports) {
    const holder = usages.of(nodeId).hostPorts.get(key);
    if (holder !== undefined && !leaving.has(holder.id)) {
      return `host port ${key} is in use by ${holder.service}.${holder.slot}`;
    }
    const publisher = facts.publishedPorts.get(key);
    if (publisher !== undefined) return `port ${key} is published on every node by ${publisher}`;
  }
  return undefined;
}
