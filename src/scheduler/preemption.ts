import { keyOf, templateOf } from "../cluster/index.ts";
import { type NodeId, taskId } from "../kernel/index.ts";
import { reservationOf } from "../spec/index.ts";
import type { Draft } from "./draft.ts";
import { explainMakingRoom, type Refusal } from "./explain.ts";
import { type NodeFacts, priorityOf } from "./facts.ts";
import { occupies, staticHostPorts } from "./node-usage.ts";
import type { PlacementRequest } from "./placement-request.ts";
import { preemptedReason } from "./reasons.ts";
import { type Candidate, chooseVictims } from "./victims.ts";

type Room = { readonly node: NodeFacts; readonly victims: readonly Candidate[] };

/**
 * Finds a node where a task that fits nowhere would fit if some of a lower priority were not
 * there, and stops those: the fewest, of the lowest priority. They are on their way out for a
 * moment, and the place that they leave is spoken for until it is free, in this plan and in
 * every later one. Returns whether there is such a node.
 */
export function makeRoom(
  draft: Draft,
  request: PlacementRequest,
  refusals: readonly Refusal[],
): boolean {
  const { service, template, slot } = request;
  const priority = priorityOf(service);
  if (priority <= draft.facts.lowestPriority) return false;
  let best: Room | undefined;
  for (const { nodeId, code } of refusals) {
    if (!isShortOfRoom(code)) continue;
    const room = roomOn(draft, request, nodeId);
    if (room !== undefined && (best === undefined || costsLess(room, best))) best = room;
    if (best?.victims.length === 0) break;
  }
  if (best === undefined) return false;
  const place = { service: keyOf(service.spec), slot };
  for (const { task, priority: lower } of best.victims) {
    draft.stop(task, preemptedReason(place, { higher: priority, lower }));
  }
  const { id, name: nodeName } = best.node.node;
  // Of no task that exists, but with the numbers of the one that comes.
  draft.usages.add(
    {
      ...place,
      id: taskId(`place-of-${place.service}.${slot}`),
      revision: service.revision,
      nodeId: id,
      desired: "running",
      reason: "",
      createdAtMs: draft.facts.now,
    },
    template,
  );
  const victims = best.victims.map(
    ({ task, priority: lower }) => `${task.service}.${task.slot} (priority ${lower})`,
  );
  draft.explain(explainMakingRoom(place, { nodeName, victims }));
  return true;
}

function isShortOfRoom(code: Refusal["code"]): boolean {
  return (
    code === "insufficient_cpu" || code === "insufficient_memory" || code === "host_port_in_use"
  );
}

/** Whom it would take on one node; nobody where what stops there now leaves enough. */
function roomOn(draft: Draft, request: PlacementRequest, nodeId: NodeId): Room | undefined {
  const { facts, usages } = draft;
  const node = facts.nodes.get(nodeId);
  if (node?.report === undefined) return undefined;
  const { capacity } = node.report;
  const ports = staticHostPorts(request.template);
  if (ports.some((port) => facts.publishedPorts.has(port))) return undefined;
  const usage = usages.of(nodeId);
  const holders = new Set<string>();
  for (const port of ports) {
    const holder = usage.hostPorts.get(port);
    if (holder !== undefined) holders.add(holder.id);
  }
  const candidates: Candidate[] = [];
  let stoppingCpu = 0;
  let stoppingMemory = 0;
  const priority = priorityOf(request.service);
  for (const task of draft.onNode(nodeId)) {
    if (!occupies(task, facts)) continue;
    const itsTemplate = templateOf(facts.state, task);
    const { cpuMillis = 0, memoryBytes = 0 } =
      itsTemplate === undefined ? {} : reservationOf(itsTemplate);
    const isNeeded = holders.has(task.id);
    const itsPriority = priorityOf(facts.state.services.get(task.service));
    if (task.desired === "stopped") {
      stoppingCpu += cpuMillis;
      stoppingMemory += memoryBytes;
      holders.delete(task.id);
    } else if (itsPriority < priority) {
      candidates.push({ task, priority: itsPriority, cpuMillis, memoryBytes, isNeeded });
      holders.delete(task.id);
    }
  }
  // Somebody whom it may not ask to go holds a port.
  if (holders.size > 0) return undefined;
  const needs = reservationOf(request.template);
  const victims = chooseVictims(candidates, {
    cpuMillis: shortOf(needs.cpuMillis, capacity.cpuMillis - usage.cpuMillis + stoppingCpu),
    memoryBytes: shortOf(
      needs.memoryBytes,
      capacity.memoryBytes - usage.memoryBytes + stoppingMemory,
    ),
  });
  return victims === undefined ? undefined : { node, victims };
}

/** What asks for nothing fits also where too much was promised already. */
function shortOf(needed: number | undefined, free: number): number {
  return needed === undefined ? 0 : needed - free;
}

/** Fewer victims, then lower ones. */
function costsLess(a: Room, b: Room): boolean {
  const highest = ({ victims }: Room) => Math.max(...victims.map(({ priority }) => priority));
  if (a.victims.length !== b.victims.length) return a.victims.length < b.victims.length;
  return highest(a) < highest(b);
}
