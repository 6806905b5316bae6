/** The facts: what the cluster agreed on, how commands change it, and what nodes report. */

export { isAlike } from "./alike.ts";
export { apply } from "./apply.ts";
export { servicesIn } from "./apply-namespaces.ts";
export { refusalOf } from "./apply-nodes.ts";
export {
  type ClusterNode,
  type ClusterState,
  compareText,
  defaultMaxVoters,
  effectiveLabels,
  emptyClusterState,
  keyOf,
  type PauseCause,
  type Quota,
  type RevisionRecord,
  type RolloutState,
  rolloutOf,
  type Service,
  type Token,
  type Traffic,
  tasksOf,
  templateOf,
} from "./cluster-state.ts";
export { type AppliedEntry, ClusterStore, type StoreWitness } from "./cluster-store.ts";
export type {
  Command,
  ExpectedVersions,
  Outcome,
  RejectionCode,
  RolloutChange,
  TrafficMove,
} from "./command.ts";
export { decodeCommand, encodeCommand } from "./command-codec.ts";
export type { JobRun, JobRunState, RunChange, TaskResult } from "./job-run.ts";
export {
  type MachineUsage,
  type Member,
  type MemberStatus,
  maxAwaitedTasks,
  maxPendingReasons,
  maxPendingServices,
  maxReasonLength,
  memberStatus,
  type NodeReport,
  noObservations,
  type Observations,
  type PendingService,
  statusOf,
} from "./observations.ts";
export type { CommandLog, LogStatus, LogStatusCell, StateMachine, SubmitOptions } from "./ports.ts";
export { type NamespaceUsage, usageOf } from "./quota.ts";
export { decodeReport, encodeReport } from "./report-codec.ts";
export { sameValue } from "./same-value.ts";
export type { StateDigest } from "./state-digest.ts";
export {
  type BoundHostPort,
  type ContainerStatus,
  isFinal,
  isServing,
  phaseOrder,
  type Task,
  type TaskEndpoint,
  type TaskHealth,
  type TaskPhase,
  type TaskStatus,
} from "./task.ts";
export { getsTraffic, hadTraffic, hasMoved } from "./traffic.ts";
export { boundVolumes, type VolumeHomes } from "./volume-homes.ts";
export { voterCounts } from "./voter-counts.ts";
