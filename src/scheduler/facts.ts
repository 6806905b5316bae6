import {
  type ClusterNode,
  type ClusterState,
  compareText,
  isAlike,
  isServing,
  type Member,
  type MemberStatus,
  maxAwaitedTasks,
  type NodeReport,
  type Observations,
  type Service,
  type Task,
  type TaskStatus,
} from "../cluster/index.ts";
import type { NodeId, ServiceKey, TaskId } from "../kernel/index.ts";
import { fenceNoticeMs } from "../spec/index.ts";

export type SchedulerSettings = {
  /** How long a node must have been failed before its tasks are replaced. */
  readonly replaceAfterMs: number;
  /** Or, if that is sooner: how long a failed node must have been silent, suspected or failed. */
  readonly replaceSilentAfterMs: number;
  /** Of one whose daemon ended or said goodbye: its containers go on, and it mostly comes back. */
  readonly replaceEndedAfterMs: number;
  /** The same for a node that this leader has never heard of: gossip may still be converging. */
  readonly replaceUnknownAfterMs: number;
};

export const defaultSchedulerSettings: SchedulerSettings = {
  replaceAfterMs: 5_000,
  replaceSilentAfterMs: 6_000,
  replaceEndedAfterMs: 10_000,
  replaceUnknownAfterMs: 15_000,
};

export type FactsInput = {
  readonly state: ClusterState;
  readonly observations: Observations;
  /** Wall clock, ms. */
  readonly now: number;
  readonly settings: SchedulerSettings;
  /** Since when this leader has been looking; a node it never heard of is missed since then. */
  readonly leaderSinceMs: number;
  /** Of nodes that are suspect or failed: for how long this leader has seen that. */
  readonly silentForMs?: ReadonlyMap<NodeId, number>;
  /** Of stopped tasks: for how long this leader has seen that; absent: just now. */
  readonly stoppedForMs?: ReadonlyMap<TaskId, number>;
};

/** One node as both truths describe it. */
export type NodeFacts = {
  readonly node: ClusterNode;
  readonly status: MemberStatus;
  readonly report: NodeReport | undefined;
  /** When its tasks count as lost, wall clock, ms; undefined while it is alive or suspect. */
  readonly lostAtMs: number | undefined;
  /** When this leader learnt of the status, wall clock, ms. */
  readonly sinceMs?: number;
};

/** The agreed and the observed truth, indexed for one pass of the planner. */
export class Facts {
  readonly state: ClusterState;
  readonly now: number;
  readonly nodes: ReadonlyMap<NodeId, NodeFacts>;
  /** By id, so that equal candidates are always met in the same order. */
  readonly nodesInOrder: readonly NodeFacts[];
  /** Which service publishes a port on every node, where no task can have it as host port. */
  readonly publishedPorts: ReadonlyMap<string, ServiceKey>;
  /** Of all services; nobody has to make room where all are equal. */
  readonly lowestPriority: number;
  readonly #statuses: ReadonlyMap<TaskId, TaskStatus>;
  readonly #leaderSinceMs: number;
  readonly #stoppedForMs: ReadonlyMap<TaskId, number>;

  constructor(input: FactsInput) {
    this.#leaderSinceMs = input.leaderSinceMs;
    this.#stoppedForMs = input.stoppedForMs ?? new Map();
    this.state = input.state;
    this.now = input.now;
    this.nodes = new Map(
      [...input.state.nodes.values()].map((node) => [node.id, nodeFactsOf(node, input)]),
    );
    this.nodesInOrder = [...this.nodes.values()].sort((a, b) => compareText(a.node.id, b.node.id));
    this.publishedPorts = publishedPortsOf(input.state);
    this.lowestPriority = lowestPriorityOf(input.state);
    this.#statuses = indexStatuses(input);
  }

  /** As the task's own node reported it last. */
  status(task: Task): TaskStatus | undefined {
    return this.#statuses.get(task.id);
  }

  isAlive(nodeId: NodeId): boolean {
    return this.nodes.get(nodeId)?.status === "alive";
  }

  /** Whether its node has been gone for so long that its tasks are to run elsewhere. */
  isLost(task: Task): boolean {
    const lostAtMs = this.lostAtMs(task);
    return lostAtMs !== undefined && lostAtMs <= this.now;
  }

  /** When it counts as lost by its service's own clock, wall clock, ms; undefined: not at all. */
  lostAtMs(task: Task): number | undefined {
    const node = this.nodes.get(task.nodeId);
    if (node?.lostAtMs === undefined) return undefined;
    const failover = this.state.services.get(task.service)?.spec.failover;
    if (failover?.afterMs === undefined) return node.lostAtMs;
    const afterMs = failover.isFenced === true ? fenceNoticeMs : failover.afterMs;
    // Nobody has seen an unknown node go: gossip may still be converging.
    return node.sinceMs === undefined
      ? Math.max(node.lostAtMs, this.#leaderSinceMs + afterMs)
      : node.sinceMs + afterMs;
  }

  /** For how long this leader has seen that a task is to stop, by its monotonic clock. */
  stoppedForMs(task: Task): number {
    return this.#stoppedForMs.get(task.id) ?? 0;
  }

  /** Whether it does its work: it serves on a live node, or it has completed. */
  isSettled(task: Task): boolean {
    const status = this.status(task);
    if (status === undefined || !this.isAlive(task.nodeId)) return false;
    return isServing(status) || status.phase === "completed";
  }

  /** When a settled task began to be so, at most `now`: the node's clock may be ahead of ours. */
  settledSinceMs(task: Task): number | undefined {
    const status = this.status(task);
    if (status === undefined || !this.isSettled(task)) return undefined;
    return Math.min(this.now, Math.max(status.sinceMs, task.createdAtMs));
  }

  /** Whether every node that is alive knows that it serves, and so may send it requests. */
  isKnownEverywhere(task: Task): boolean {
    const createdAtIndex = task.createdAtIndex ?? 0;
    for (const { status, report } of this.nodes.values()) {
      if (status !== "alive" || report === undefined) continue;
      if (report.routesIndex < createdAtIndex) return false;
      const awaited = report.awaited ?? [];
      if (awaited.length >= maxAwaitedTasks || awaited.includes(task.id)) return false;
    }
    return true;
  }

  /** Of a stopped task: whether its node has said, knowing that, that it runs no more. */
  hasEnded(task: Task): boolean {
    const node = this.nodes.get(task.nodeId);
    if (node === undefined) return true;
    // A report from before the stop may not know of the task at all.
    if (node.report === undefined || task.stoppedAtIndex === undefined) return false;
    if (node.report.appliedIndex < task.stoppedAtIndex) return false;
    const status = this.status(task);
    return status === undefined || status.phase === "completed" || status.phase === "failed";
  }

  /** Whether its container may still exist: it was reported, and has not ended. */
  mayStillRun(task: Task): boolean {
    const status = this.status(task);
    if (status === undefined || !this.isAlive(task.nodeId)) return false;
    return status.phase !== "completed" && status.phase !== "failed";
  }
}

/**
 * Whether tasks of `revision` are what the service asks for now. Going back makes a new
 * revision of an old template: tasks that have this template already need not be replaced. A
 * restart makes one that they do not do for.
 */
export function isUpToDate(service: Service, revision: number): boolean {
  if (revision === service.revision) return true;
  const known = upToDate.get(service) ?? new Map<number, boolean>();
  upToDate.set(service, known);
  const before = known.get(revision);
  if (before !== undefined) return before;
  const isSame = isAlike(service, revision, service.revision);
  known.set(revision, isSame);
  return isSame;
}

/** Templates are compared once per version of a service, however many tasks it has. */
const upToDate = new WeakMap<Service, Map<number, boolean>>();

function nodeFactsOf(node: ClusterNode, input: FactsInput): NodeFacts {
  const member = input.observations.members.get(node.id);
  const report = input.observations.reports.get(node.id);
  if (member === undefined) {
    const lostAtMs = input.leaderSinceMs + input.settings.replaceUnknownAfterMs;
    return { node, status: "failed", report, lostAtMs };
  }
  const lostAtMs = lostAtMsOf(node, member, input);
  return { node, status: member.status, report, lostAtMs, sinceMs: member.sinceMs };
}

/**
 * The failure detector takes its time over a node that is only silent, and that time counts. Where
 * only the daemon has ended, its containers serve on through its proxy: it has the time to be
 * started again, on a busy machine too.
 */
function lostAtMsOf(
  { id }: ClusterNode,
  { status, sinceMs, isGone = false }: Member,
  { settings, silentForMs, now }: FactsInput,
): number | undefined {
  if (status !== "failed" && status !== "left") return undefined;
  if (status === "left" || isGone) return sinceMs + settings.replaceEndedAfterMs;
  const givenUpMs = sinceMs + settings.replaceAfterMs;
  const forMs = silentForMs?.get(id);
  if (forMs === undefined) return givenUpMs;
  return Math.min(givenUpMs, now - forMs + settings.replaceSilentAfterMs);
}

function indexStatuses({ state, observations }: FactsInput): ReadonlyMap<TaskId, TaskStatus> {
  const statuses = new Map<TaskId, TaskStatus>();
  for (const [reporter, report] of observations.reports) {
    for (const status of report.tasks) {
      // A node speaks for its own tasks only, whatever its report says.
      if (state.tasks.get(status.taskId)?.nodeId === reporter) {
        statuses.set(status.taskId, status);
      }
    }
  }
  return statuses;
}

export function priorityOf(service: Service | undefined): number {
  return service?.spec.placement.priority ?? 0;
}

function lowestPriorityOf({ services }: ClusterState): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const service of services.values()) lowest = Math.min(lowest, priorityOf(service));
  return lowest;
}

function publishedPortsOf(state: ClusterState): ReadonlyMap<string, ServiceKey> {
  const ports = new Map<string, ServiceKey>();
  for (const [key, { spec }] of state.services) {
    for (const { published, protocol } of spec.ports) {
      if (published !== undefined) ports.set(`${published}/${protocol}`, key);
    }
  }
  return ports;
}
