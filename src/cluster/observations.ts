import type { NodeId, ServiceKey, TaskId } from "../kernel/index.ts";
import type { StateDigest } from "./state-digest.ts";
import type { TaskStatus } from "./task.ts";

/** What a node says of itself. Only that node writes it; `(epoch, version)` orders its versions. */
export type NodeReport = {
  readonly nodeId: NodeId;
  readonly skeinVersion: string;
  /** `docker`, `process` or `memory`, or what a newer daemon has. */
  readonly runtime: string;
  readonly runtimeVersion: string;
  readonly platform: { readonly os: string; readonly arch: string };
  /** What the machine has. */
  readonly capacity: { readonly cpuMillis: number; readonly memoryBytes: number };
  /** What of it is in use, by whomever; absent until measured, or where an older daemon reports. */
  readonly usage?: MachineUsage;
  readonly httpPort: number;
  /** State index whose routes this node's proxy has confirmed. */
  readonly routesIndex: number;
  /** Tasks of revisions that roll out which this node does not know to serve, as of `routesIndex`. */
  readonly awaited?: readonly TaskId[];
  readonly appliedIndex: number;
  /** How far this node has applied the log; absent where an older daemon reports. */
  readonly logIndex?: number;
  /** Nobody can open a connection to it: it is reached over those that it opened itself. */
  readonly isDialOutOnly?: boolean;
  /** Its container engine has not answered for long: it can start and stop nothing. */
  readonly isEngineSilent?: boolean;
  /** From whom this node gets the log while it does not vote. */
  readonly feeder?: NodeId;
  /** Of the agreed state as this node holds it; absent before the first. */
  readonly digest?: StateDigest;
  readonly tasks: readonly TaskStatus[];
  /** The number of the last event that this node saw: whoever follows them asks for those since. */
  readonly eventsHead?: number;
  /** Of the leader: why services are not as they should be, in sentences. The first ones only. */
  readonly pending?: readonly PendingService[];
};

/** Of the whole machine, as it was about when it was reported. */
export type MachineUsage = {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  /** The file system that holds the daemon's data. */
  readonly diskBytes: number;
  readonly diskCapacityBytes: number;
};

export type PendingService = {
  readonly service: ServiceKey;
  readonly reasons: readonly string[];
};

/** With as many as this, there may be more. */
export const maxAwaitedTasks = 100;

/** What a report holds of them at the most. */
export const maxPendingServices = 50;
export const maxPendingReasons = 3;
export const maxReasonLength = 500;

/** As in SWIM. `failed` is what starts the leader's replacement; `suspect` only stops traffic. */
export type MemberStatus = "alive" | "suspect" | "failed" | "left";

export type Member = {
  readonly status: MemberStatus;
  /** When this node learnt of the present status; this node's wall clock, ms. */
  readonly sinceMs: number;
  /** Of one that failed: its machine says that its daemon does not run. */
  readonly isGone?: boolean | undefined;
};

/** One node's own latest view of all others and of itself. */
export type Observations = {
  readonly members: ReadonlyMap<NodeId, Member>;
  readonly reports: ReadonlyMap<NodeId, NodeReport>;
};

export const noObservations: Observations = { members: new Map(), reports: new Map() };

/** The status of one task as its node last reported it. */
export function statusOf(
  observations: Observations,
  task: { readonly id: TaskId; readonly nodeId: NodeId },
): TaskStatus | undefined {
  return observations.reports.get(task.nodeId)?.tasks.find((each) => each.taskId === task.id);
}

export function memberStatus(observations: Observations, node: NodeId): MemberStatus {
  return observations.members.get(node)?.status ?? "failed";
}
