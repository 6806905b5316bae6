import {
  type ClusterState,
  compareText,
  getsTraffic,
  isServing,
  memberStatus,
  type Observations,
  statusOf,
  type Task,
} from "../cluster/index.ts";
import type { NodeId, ServiceKey, TaskId } from "../kernel/index.ts";
import type { Backend, Endpoint, HostRoute, PublishedPort, RoutePlan } from "./route-table.ts";

export type RoutingFacts = {
  readonly state: ClusterState;
  readonly observations: Observations;
  /** The node whose proxy the table is for. */
  readonly self: NodeId;
};

/** A serving replica with the standing of its node. */
type Candidate = {
  readonly endpoint: Endpoint;
  readonly isSuspect: boolean;
  /** Of a revision that gets no traffic now. */
  readonly isStandby: boolean;
};

/**
 * What one node's proxy should do, from what is agreed and what is observed. The same facts
 * give the same table: services are ordered by key and endpoints by task id.
 */
export function planRoutes(facts: RoutingFacts): RoutePlan {
  const candidates = candidatesByService(facts);
  const publishedPorts = new Map<number, PublishedPort>();
  const hostRoutes = new Map<string, HostRoute>();
  const services = [...facts.state.services].sort(([a], [b]) => compareText(a, b));
  for (const [service, { spec }] of services) {
    const backendOf = (target: number): Backend => ({
      service,
      endpoints: preferred(candidates.get(service) ?? [], target),
    });
    for (const { mode, protocol, published, target, appProtocol } of spec.ports) {
      if (mode !== "ingress" || protocol !== "tcp" || published === undefined) continue;
      // The cluster refuses a second claim; should one exist, all nodes obey the same one.
      if (publishedPorts.has(published)) continue;
      publishedPorts.set(published, { port: published, appProtocol, backend: backendOf(target) });
    }
    for (const { host, path, port } of spec.ingress) {
      const key = `${host}${path}`;
      if (!hostRoutes.has(key)) hostRoutes.set(key, { host, path, backend: backendOf(port) });
    }
  }
  return {
    stateIndex: facts.state.index,
    publishedPorts: [...publishedPorts.values()].sort((a, b) => a.port - b.port),
    hostRoutes: [...hostRoutes.values()].sort(
      (a, b) => compareText(a.host, b.host) || compareText(a.path, b.path),
    ),
    local: localEndpoints(facts),
    silentNodes: silentNodes(facts),
    ...(facts.state.removedNodes.size === 0
      ? {}
      : { removedNodes: [...facts.state.removedNodes].sort(compareText) }),
  };
}

function candidatesByService(facts: RoutingFacts): ReadonlyMap<ServiceKey, readonly Candidate[]> {
  const byService = new Map<ServiceKey, Candidate[]>();
  for (const task of tasksById(facts.state.tasks)) {
    const candidates = candidatesOf(task, facts);
    const others = byService.get(task.service);
    if (others === undefined) byService.set(task.service, [...candidates]);
    else others.push(...candidates);
  }
  return byService;
}

function candidatesOf(
  task: Task,
  { state, observations, self }: RoutingFacts,
): readonly Candidate[] {
  if (task.desired !== "running") return [];
  const service = state.services.get(task.service);
  const isStandby = service !== undefined && !getsTraffic(service, task.revision);
  const status = statusOf(observations, task);
  if (status === undefined || !isServing(status)) return [];
  if (task.nodeId === self) {
    // A node that the others cannot see still serves its own replicas.
    return status.endpoints.map(({ target, address, port }) => ({
      endpoint: { taskId: task.id, target, via: { kind: "local", address, port } },
      isSuspect: false,
      isStandby,
    }));
  }
  const member = memberStatus(observations, task.nodeId);
  if (member === "failed" || member === "left") return [];
  const address = splitAddress(state.nodes.get(task.nodeId)?.address ?? "");
  if (address === undefined) return [];
  const isDetour = observations.reports.get(task.nodeId)?.isDialOutOnly === true;
  const via = {
    kind: "node",
    nodeId: task.nodeId,
    ...address,
    ...(isDetour ? { isDetour } : {}),
  } as const;
  return status.endpoints.map(({ target }) => ({
    endpoint: { taskId: task.id, target, via },
    isSuspect: member === "suspect",
    isStandby,
  }));
}

function preferred(candidates: readonly Candidate[], target: number): readonly Endpoint[] {
  const all = candidates.filter(({ endpoint }) => endpoint.target === target);
  // A node that knows none of those who get the traffic sends it to what it knows, not nowhere.
  const chosen = all.filter(({ isStandby }) => !isStandby);
  const fitting = chosen.length > 0 ? chosen : all;
  const trusted = fitting.filter(({ isSuspect }) => !isSuspect);
  return (trusted.length > 0 ? trusted : fitting).map(({ endpoint }) => endpoint);
}

function localEndpoints({ state, observations, self }: RoutingFacts): RoutePlan["local"] {
  const local: RoutePlan["local"][number][] = [];
  for (const task of tasksById(state.tasks)) {
    if (task.nodeId !== self) continue;
    const status = statusOf(observations, task);
    if (status?.phase !== "running" && status?.phase !== "stopping") continue;
    for (const { target, address, port } of status.endpoints) {
      local.push({ taskId: task.id, target, address, port });
    }
  }
  return local;
}

function silentNodes({ state, observations, self }: RoutingFacts): RoutePlan["silentNodes"] {
  const silent: RoutePlan["silentNodes"][number][] = [];
  for (const nodeId of [...state.nodes.keys()].sort(compareText)) {
    if (nodeId === self) continue;
    // A node that was never heard of is not silent: a daemon that has just started knows
    // nobody yet, and must not make its proxy hang up on everybody.
    const status = observations.members.get(nodeId)?.status ?? "alive";
    if (status !== "alive") silent.push({ nodeId, isLost: status !== "suspect" });
  }
  return silent;
}

function tasksById(tasks: ReadonlyMap<TaskId, Task>): readonly Task[] {
  return [...tasks.values()].sort((a, b) => compareText(a.id, b.id));
}

/** `host:port`, an IPv6 host in brackets; undefined when it is neither. */
export function splitAddress(
  address: string,
): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || !(port >= 1 && port <= 65_535) ? undefined : { host, port };
}
