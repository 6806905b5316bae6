import { type NodeId, type ServiceKey, serviceKey, type TaskId } from "../kernel/index.ts";
import {
  type RolloutSpec,
  type ServiceSpec,
  type TaskTemplate,
  usualRollback,
} from "../spec/index.ts";
import type { JobRun } from "./job-run.ts";
import type { Task } from "./task.ts";
import type { VolumeHomes } from "./volume-homes.ts";

/** A machine that was admitted. Its liveness and capacity are observed, not here. */
export type ClusterNode = {
  readonly id: NodeId;
  /** Unique in the cluster; the host name by default. */
  readonly name: string;
  /** Where other nodes and clients reach its one port: `host:port`. */
  readonly address: string;
  /** What placement reads: the labels that its daemon was started with, changed by those assigned. */
  readonly labels: Readonly<Record<string, string>>;
  /** Given by command, and kept when the daemon starts anew; null takes a label of the daemon away. */
  readonly assignedLabels?: Readonly<Record<string, string | null>>;
  readonly eligibility: "active" | "drain";
  readonly admittedAtMs: number;
};

/** How far the roll-out of the newest revision has come, when it was stopped by failures. */
export type RolloutState = "normal" | "paused" | "rolled_back";

/** How a revision of a service came about. */
export type RevisionRecord = {
  readonly revision: number;
  /** Of the log. */
  readonly index: number;
  /** Proposer's wall clock, ms; absent where the scheduler went back by itself. */
  readonly atMs?: number;
  readonly cause: "submitted" | "restart" | "rollback" | "failed";
  /** The revision that was brought back. */
  readonly source?: number;
};

/** Who paused a roll-out: its failures, its canary that is to be looked at, or a person. */
export type PauseCause = "failed" | "canary" | "asked";

/**
 * Who gets the traffic of a service whose revisions do not mix. Agreed, so that it moves on
 * every node at the same index of the log.
 */
export type Traffic = {
  /** Tasks made of what one of these revisions says get it; others stand by. */
  readonly revisions: readonly number[];
  /** The same before it was moved. */
  readonly before: readonly number[];
  /** Proposer's wall clock, ms. */
  readonly sinceMs: number;
};

export type Service = {
  readonly spec: ServiceSpec;
  /** Counts up when the template changes; scaling keeps it. */
  readonly revision: number;
  /** Log index of the last change to this service: what `expectedVersion` compares. */
  readonly version: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly rollout: RolloutState;
  /** While it is paused; absent in states from before it was kept: failures. */
  readonly pauseCause?: PauseCause;
  /** Log index at which somebody last let the roll-out go on: failures before count no more. */
  readonly resumedAtIndex?: number;
  /** The newest revision that its canary has proven, or that a person let go on. */
  readonly promotedRevision?: number;
  /** Tasks of revisions before it are out of date whatever they are made of: it is a restart. */
  readonly restartedAtRevision?: number;
  /** Absent where all tasks that serve get traffic. */
  readonly traffic?: Traffic;
  /** Templates by revision, kept while a task of that revision exists, and the one before. */
  readonly templates: ReadonlyMap<number, TaskTemplate>;
  /** The newest revisions in order; absent in services from before they were noted. */
  readonly revisions?: readonly RevisionRecord[];
  /** Of a job: the runs that go on and the last ones that ended, by number. */
  readonly runs?: readonly JobRun[];
  /** Of a schedule: due times up to this one were dealt with, wall clock, ms. */
  readonly dueAfterMs?: number;
};

/** A secret that admits machines, or lets a client use the API. Only its hash is stored. */
export type Token = {
  readonly id: string;
  readonly role: "node" | "admin";
  /** SHA-256 of the secret, hex. */
  readonly secretHash: string;
  readonly expiresAtMs: number;
  /** Machines it may still admit; absent means without limit. */
  readonly usesLeft?: number;
  readonly createdAtMs: number;
};

/** What a namespace may have at the most; what is absent is not limited. */
export type Quota = {
  readonly cpuMillis?: number;
  readonly memoryBytes?: number;
  readonly tasks?: number;
  readonly services?: number;
};

/** Everything that the cluster agreed on. The same on every node at the same log index. */
export type ClusterState = {
  /** Index of the last applied log entry. */
  readonly index: number;
  /** Random name given at bootstrap; empty before the first entry. */
  readonly clusterId: string;
  readonly nodes: ReadonlyMap<NodeId, ClusterNode>;
  readonly services: ReadonlyMap<ServiceKey, Service>;
  readonly tasks: ReadonlyMap<TaskId, Task>;
  readonly tokens: ReadonlyMap<string, Token>;
  /** Were members and are none any more: their certificates count for nothing. The newest ones. */
  readonly removedNodes: ReadonlySet<NodeId>;
  /** How many nodes vote at most; absent until somebody said so. */
  readonly maxVoters?: number;
  /** Where the data of named volumes lies. */
  readonly volumeHomes: VolumeHomes;
  /** What namespaces may have at the most, by name. */
  readonly quotas: ReadonlyMap<string, Quota>;
};

export const defaultMaxVoters = 5;

export const emptyClusterState: ClusterState = {
  index: 0,
  clusterId: "",
  nodes: new Map(),
  services: new Map(),
  tasks: new Map(),
  tokens: new Map(),
  removedNodes: new Set(),
  volumeHomes: new Map(),
  quotas: new Map(),
};

/** More removed nodes than this are forgotten, the oldest first. */
export const maxRemovedNodes = 1_000;

export const maxTokens = 1_000;
/** How long a token that has expired is kept, so that its holder is told so. */
export const tokenMemoryMs = 7 * 86_400_000;
/** A node with more labels than this is a mistake. */
export const maxNodeLabels = 128;

/** A node's labels: its daemon's own ones, changed by those that were assigned to it. */
export function effectiveLabels(
  own: Readonly<Record<string, string>>,
  assigned: ClusterNode["assignedLabels"] = {},
): Readonly<Record<string, string>> {
  const labels: Record<string, string> = { ...own };
  for (const [name, value] of Object.entries(assigned)) {
    if (value === null) delete labels[name];
    else labels[name] = value;
  }
  return labels;
}

/** How the newest revision comes to be everywhere: as an update, or as the way back from one. */
export function rolloutOf({ spec, rollout, revisions }: Service): RolloutSpec {
  const cause = revisions?.at(-1)?.cause ?? (rollout === "rolled_back" ? "failed" : "submitted");
  if (cause === "submitted" || cause === "restart") return spec.update;
  const back = spec.rollback ?? usualRollback(spec.update);
  const { strategy } = spec.update;
  // What moves in one step comes back in one step; what was there before needs no canary.
  return strategy?.kind === "blue-green" ? { ...back, strategy } : back;
}

export function keyOf(spec: ServiceSpec): ServiceKey {
  return serviceKey(spec.namespace, spec.name);
}

/** The tasks of one service, ordered by slot, then id. */
export function tasksOf(state: ClusterState, service: ServiceKey): readonly Task[] {
  const tasks: Task[] = [];
  for (const task of state.tasks.values()) if (task.service === service) tasks.push(task);
  return tasks.sort((a, b) => a.slot - b.slot || compareText(a.id, b.id));
}

/** The template that a task was created from. */
export function templateOf(state: ClusterState, task: Task): TaskTemplate | undefined {
  return state.services.get(task.service)?.templates.get(task.revision);
}

/** Orders by code unit, the same on every machine (unlike `localeCompare`). */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
