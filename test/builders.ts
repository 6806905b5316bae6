import type { ClusterNode, ClusterState, Task } from "../src/cluster/index.ts";
import { apply, type Command, emptyClusterState } from "../src/cluster/index.ts";
import { nodeId, serviceKey, taskId } from "../src/kernel/index.ts";
import type { ServiceSpec, TaskTemplate } from "../src/spec/index.ts";

/** Test data with good defaults: a case shows only what it is about. */

export function template(overrides: Partial<TaskTemplate> = {}): TaskTemplate {
  return {
    image: "web:1",
    environment: {},
    labels: {},
    exposedPorts: [80],
    hostPorts: [],
    mounts: [],
    init: false,
    readOnlyRoot: false,
    capAdd: [],
    capDrop: [],
    limits: {},
    reservations: {},
    restart: { condition: "any", delayMs: 0, windowMs: 0 },
    stopGracePeriodMs: 10_000,
    ...overrides,
  };
}

export function serviceSpec(overrides: Partial<ServiceSpec> = {}): ServiceSpec {
  return {
    namespace: "shop",
    name: "web",
    labels: {},
    mode: { kind: "replicated", replicas: 3 },
    template: template(),
    ports: [],
    ingress: [],
    update: {
      parallelism: 1,
      delayMs: 0,
      order: "start-first",
      monitorMs: 5_000,
      failureAction: "pause",
      maxFailureRatio: 0,
    },
    placement: { constraints: [] },
    ...overrides,
  };
}

export function clusterNode(name: string, overrides: Partial<ClusterNode> = {}): ClusterNode {
  return {
    id: nodeId(name),
    name,
    address: `${name}:7946`,
    labels: {},
    eligibility: "active",
    admittedAtMs: 0,
    ...overrides,
  };
}

export function task(overrides: Partial<Task> = {}): Task {
  return {
    id: taskId("t1"),
    service: serviceKey("shop", "web"),
    slot: 1,
    revision: 1,
    nodeId: nodeId("n1"),
    desired: "running",
    reason: "test",
    createdAtMs: 0,
    ...overrides,
  };
}

/** Applies commands one after the other, from index `from.index + 1` on. */
export function applyAll(
  commands: readonly Command[],
  from: ClusterState = emptyClusterState,
): ClusterState {
  return commands.reduce((state, command) => apply(state, state.index + 1, command).state, from);
}

/** A cluster of these nodes, as after a bootstrap and joins. */
export function clusterOf(...names: readonly string[]): ClusterState {
  const nodes = new Map(names.map((name) => [nodeId(name), clusterNode(name)]));
  return { ...emptyClusterState, index: 1, clusterId: "c1", nodes };
}
