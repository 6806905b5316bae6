import { type ClusterState, type Service, type Task, templateOf } from "../../src/cluster/index.ts";
import { encodeState } from "../../src/cluster/snapshot.ts";
import type { NodeId, ServiceKey } from "../../src/kernel/index.ts";
import { isUpToDate, priorityOf } from "../../src/scheduler/facts.ts";
import type { TaskTemplate } from "../../src/spec/index.ts";
import { isJobMode } from "../../src/spec/index.ts";
import { taskOf } from "./engine.ts";
import type { Host } from "./host.ts";
import type { Ring } from "./ring.ts";

/**
 * What is not as it should be once nothing goes wrong any more: everybody has agreed on the
 * same, what fits runs and is healthy, and nothing else does. Undefined when all is well.
 */
export function whatIsWrong(ring: Ring): string | undefined {
  return (
    (ring.isAsked ? "a user waits for an answer" : undefined) ??
    whoDiffers(ring) ??
    [...ring.agreed.services]
      .map(([key, service]) => wrongOf(new End(ring), key, service))
      .find((wrong) => wrong !== undefined) ??
    whatRunsBesides(ring)
  );
}

type Holder = { readonly cpuMillis: number; readonly priority: number };

/** The ring as it is at this moment. */
class End {
  readonly state: ClusterState;
  readonly hosts: ReadonlyMap<NodeId, Host>;
  readonly #free = new Map<NodeId, number>();
  /** What has the room that is not free, by node. */
  readonly #holders = new Map<NodeId, Holder[]>();

  constructor({ agreed, hosts }: Ring) {
    this.state = agreed;
    this.hosts = new Map(hosts.map((host) => [host.id, host]));
    for (const host of hosts) {
      const isThere = host.state === "running";
      if (isThere && agreed.nodes.get(host.id)?.eligibility === "active") {
        this.#free.set(host.id, host.engine.memory.info.cpuMillis);
      }
    }
    for (const task of agreed.tasks.values()) {
      if (task.desired !== "running" || task.result !== undefined) continue;
      // Their room is free again before long.
      const service = agreed.services.get(task.service);
      if (isJobMode(service?.spec.mode ?? { kind: "global" })) continue;
      const needs = templateOf(agreed, task)?.reservations.cpuMillis ?? 0;
      const free = this.#free.get(task.nodeId);
      if (free !== undefined) this.#free.set(task.nodeId, free - needs);
      const holder = { cpuMillis: needs, priority: priorityOf(service) };
      this.#holders.set(task.nodeId, [...(this.#holders.get(task.nodeId) ?? []), holder]);
    }
  }

  fits({ reservations }: TaskTemplate, only?: NodeId): boolean {
    return [...this.#free].some(
      ([node, free]) => (only ?? node) === node && free >= (reservations.cpuMillis ?? 0),
    );
  }

  /** Whether it would fit somewhere if those of a lower priority went. */
  fitsByRight(service: Service, only?: NodeId): boolean {
    const { cpuMillis = 0 } = service.spec.template.reservations;
    const priority = priorityOf(service);
    return [...this.#free].some(([node, free]) => {
      const lower = (this.#holders.get(node) ?? []).filter((each) => each.priority < priority);
      const freed = lower.reduce((sum, each) => sum + each.cpuMillis, free);
      return (only ?? node) === node && freed >= cpuMillis;
    });
  }

  /** Nodes that should run global services. */
  get nodes(): readonly NodeId[] {
    return [...this.#free.keys()];
  }

  tasksOf(key: ServiceKey): readonly Task[] {
    return [...this.state.tasks.values()].filter(
      (task) => task.service === key && task.desired === "running" && task.result === undefined,
    );
  }

  isServing(task: Task): boolean {
    const host = this.hosts.get(task.nodeId);
    const template = templateOf(this.state, task);
    const containers = host?.engine.running().filter((each) => taskOf(each) === task.id) ?? [];
    const [only, ...others] = containers;
    if (only === undefined || others.length > 0 || host?.state !== "running") return false;
    if (host.engine.stopping.has(only.id)) return false;
    return (
      template?.healthCheck === undefined || host.engine.isHealthy(host.engine.nameOf(only.id))
    );
  }
}

/**
 * The logs are compared, and the states without their index: a leader's first entry changes nothing,
 * but a node that took over a snapshot with it holds its state at that index.
 */
function whoDiffers({ hosts, agreed, leader }: Ring): string | undefined {
  if (leader === undefined) return "nobody leads";
  const daemons = hosts.filter(({ state }) => state === "running").map(({ daemon }) => daemon);
  const applied = daemons.map((daemon) => daemon?.raft.status.get().appliedIndex ?? 0);
  const newest = Math.max(agreed.index, ...applied);
  const known = Buffer.from(encodeState({ ...agreed, index: 0 }));
  for (const { id, state, daemon } of hosts) {
    if (state !== "running") continue;
    const index = daemon?.raft.status.get().appliedIndex ?? 0;
    if (index !== newest) return `${id} has applied ${index} of ${newest}`;
    if (daemon?.isSettled.get() !== true) return `${id} has not settled`;
    const held = daemon.store.state.get();
    if (held !== agreed && !known.equals(encodeState({ ...held, index: 0 })))
      return `${id} holds another state at ${index} than the one that is agreed`;
  }
  return undefined;
}

function wrongOf(end: End, key: ServiceKey, service: Service): string | undefined {
  const { mode, template } = service.spec;
  if (isJobMode(mode)) return wrongOfJob(end, key, service);
  const tasks = end.tasksOf(key);
  const wanted = mode.kind === "global" ? end.nodes : undefined;
  const there = tasks.filter(({ nodeId }) => mode.kind !== "global" || wanted?.includes(nodeId));
  const places = new Set(there.map(({ slot, nodeId }) => (wanted === undefined ? slot : nodeId)));
  if (places.size !== there.length) return `${key} has two tasks in one place`;
  const count = mode.kind === "replicated" ? mode.replicas : end.nodes.length;
  if (there.length > count) return `${key} has ${there.length} tasks instead of ${count}`;
  if (mode.kind === "replicated" && there.length < count && end.fitsByRight(service)) {
    return `${key} has ${there.length} tasks instead of ${count}, and there is room`;
  }
  const lacking = wanted?.find((node) => !there.some(({ nodeId }) => nodeId === node));
  if (lacking !== undefined && end.fitsByRight(service, lacking))
    return `${key} lacks one on ${lacking}`;
  for (const task of there) {
    const isGone = end.hosts.get(task.nodeId)?.state !== "running";
    if (isGone && !end.fitsByRight(service)) continue;
    if (!end.isServing(task)) return `${task.id} of ${key} does not serve on ${task.nodeId}`;
    const only = mode.kind === "global" ? task.nodeId : undefined;
    const isOutdated = !isUpToDate(service, task.revision) && service.rollout !== "paused";
    const isDrained = end.state.nodes.get(task.nodeId)?.eligibility === "drain";
    // One that stops first has the room of the one before, unless too many have lost theirs.
    const { order, parallelism } = service.spec.update;
    const mayStop = parallelism === 0 || count - there.length < parallelism;
    const isDue = isDrained || (isOutdated && (order !== "stop-first" || mayStop));
    const hasOwnRoom = order === "stop-first" && !isDrained;
    // An update waits for room; what has to leave its node takes it from those below.
    const hasRoom = isDrained ? end.fitsByRight(service, only) : end.fits(template, only);
    if (isDue && (hasOwnRoom || hasRoom)) {
      return `${task.id} of ${key} is ${isOutdated ? "outdated" : "on a drained node"}`;
    }
  }
  return undefined;
}

function wrongOfJob(end: End, key: ServiceKey, service: Service): string | undefined {
  const { spec, runs = [] } = service;
  // The next due time may be now.
  if (spec.schedule !== undefined) return undefined;
  const active = runs.find(({ state }) => state === "active");
  if (active === undefined) return runs.length === 0 ? `${key} was never run` : undefined;
  // One that runs on every node needs the room of each; where it is at work, it has room.
  const hasRoom =
    spec.mode.kind === "global-job"
      ? end.nodes.every((node) => end.fitsByRight(service, node))
      : end.fitsByRight(service);
  return hasRoom ? `run ${active.number} of ${key} does not end` : undefined;
}

/** Containers of tasks that should not run. */
function whatRunsBesides({ hosts, agreed }: Ring): string | undefined {
  for (const host of hosts) {
    for (const container of host.engine.running()) {
      const task = agreed.tasks.get(taskOf(container));
      const isRight =
        task?.nodeId === host.id && task.desired === "running" && task.result === undefined;
      // A run of a schedule may end at any time.
      const isScheduled = agreed.services.get(task?.service ?? ("" as ServiceKey))?.spec.schedule;
      if (!isRight && !isScheduled)
        return `${host.engine.nameOf(container.id)} still runs on ${host.id}`;
    }
  }
  return undefined;
}
