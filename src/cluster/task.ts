import type { NodeId, ServiceKey, TaskId } from "../kernel/index.ts";
import type { TaskResult } from "./job-run.ts";

/**
 * One copy of one revision of a service on one node. Created once and never moved.
 * The agreed half: what should be. Its observed half is {@link TaskStatus}.
 */
export type Task = {
  readonly id: TaskId;
  readonly service: ServiceKey;
  /** 1..replicas of a replicated service; always 1 in a global one. Shown as `web.3`. */
  readonly slot: number;
  readonly revision: number;
  readonly nodeId: NodeId;
  readonly desired: "running" | "stopped";
  /** Log index at which `desired` became `stopped`; absent while it should run. */
  readonly stoppedAtIndex?: number;
  /** Why the scheduler created it, and why it stopped it: short sentences for people. */
  readonly reason: string;
  readonly stopReason?: string;
  /** Proposer's wall clock, ms. */
  readonly createdAtMs: number;
  /** Log index of its creation; absent in tasks from before it was kept. */
  readonly createdAtIndex?: number;
  /** Why on this node: the arithmetic of the choice, for people. */
  readonly placement?: string;
  /** The task of a lost node whose place it takes, and that may have it back. */
  readonly replaces?: TaskId;
  /** The run of the job that it belongs to; absent in services that run all the time. */
  readonly run?: number;
  /** How it ended; only of a job's tasks. Such a task is never started again. */
  readonly result?: TaskResult;
};

/** `preparing` covers pulling the image; `failed` is final: the leader replaces the task. */
export type TaskPhase = "preparing" | "starting" | "running" | "stopping" | "completed" | "failed";

/** `none`: the task has no health check, so running is all there is to know. */
export type TaskHealth = "none" | "starting" | "healthy" | "unhealthy";

/** Where one exposed container port of a task is reached from its own node. */
export type TaskEndpoint = {
  readonly target: number;
  readonly address: string;
  readonly port: number;
};

/** A port bound on the task's own node (`mode: host`). */
export type BoundHostPort = {
  readonly target: number;
  readonly hostPort: number;
  readonly protocol: "tcp" | "udp";
};

/** One container of a pod, as its node sees it. */
export type ContainerStatus = {
  readonly name: string;
  /** What it is there for: to run before the others, or as long as the pod does. */
  readonly role: "init" | "main" | "companion";
  readonly state: "waiting" | "running" | "succeeded" | "failed";
  readonly health: TaskHealth;
  readonly containerId?: string;
  readonly exitCode?: number;
};

/** The observed half of a task, reported by its node only. `(restarts, phase)` never goes back. */
export type TaskStatus = {
  readonly taskId: TaskId;
  readonly phase: TaskPhase;
  readonly health: TaskHealth;
  /** How often this node started the container again. */
  readonly restarts: number;
  readonly containerId?: string;
  readonly endpoints: readonly TaskEndpoint[];
  readonly hostPorts: readonly BoundHostPort[];
  readonly exitCode?: number;
  /** Of a pod, in the order in which they start; absent where the task has one container. */
  readonly containers?: readonly ContainerStatus[];
  /** What went wrong last, in a sentence; empty when nothing did. */
  readonly message: string;
  /** When the present phase began, by the node's own wall clock, ms. */
  readonly sinceMs: number;
  /** While it waits to be started again: when that will be, by the node's own wall clock, ms. */
  readonly retryAtMs?: number;
};

/** Phases in the order in which a container passes through them. */
export const phaseOrder: Readonly<Record<TaskPhase, number>> = {
  preparing: 0,
  starting: 1,
  running: 2,
  stopping: 3,
  completed: 4,
  failed: 4,
};

/** Whether traffic may go to it: running, and healthy where there is a check. */
export function isServing(status: TaskStatus): boolean {
  return status.phase === "running" && (status.health === "none" || status.health === "healthy");
}

/** Whether it has ended for good. */
export function isFinal(status: TaskStatus): boolean {
  return status.phase === "completed" || status.phase === "failed";
}
