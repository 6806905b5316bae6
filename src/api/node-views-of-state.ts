import {
  type ClusterState,
  compareText,
  isFinal,
  type LogStatus,
  type Observations,
  statusOf,
  type Task,
  templateOf,
} from "../cluster/index.ts";
import type { NodeId, ServiceKey } from "../kernel/index.ts";
import { reservationOf } from "../spec/index.ts";
import type { NodeDetail, NodeTask, NodeView } from "./node-views.ts";
import { timeText } from "./time-text.ts";
import { type Facts, isWanted, nodeName, taskView } from "./views-of-state.ts";

export function nodeViews(facts: Facts): NodeView[] {
  const { state } = facts;
  return [...state.nodes.values()]
    .sort((a, b) => compareText(a.name, b.name))
    .map((node) => nodeView(facts, node.id));
}

function nodeView({ self, state, observations, log }: Facts, id: NodeId): NodeView {
  const node = state.nodes.get(id);
  if (node === undefined) throw new Error(`no node ${id}`);
  const report = observations.reports.get(id);
  const status = observations.members.get(id)?.status;
  const tasks = [...state.tasks.values()].filter((task) => task.nodeId === id && isWanted(task));
  const reserved = reservedBy(state, tasks);
  const usage = report?.usage;
  return {
    id,
    name: node.name,
    status: status === undefined ? "unknown" : status === "alive" ? "ready" : status,
    eligibility: node.eligibility,
    role: roleOf(log, id),
    isSelf: id === self,
    tasks: tasks.length,
    cpu: {
      capacityMillis: report?.capacity.cpuMillis ?? 0,
      reservedMillis: reserved.cpuMillis,
      usedMillis: usage?.cpuMillis ?? null,
    },
    memory: {
      capacityBytes: report?.capacity.memoryBytes ?? 0,
      reservedBytes: reserved.memoryBytes,
      usedBytes: usage?.memoryBytes ?? null,
    },
    disk:
      usage === undefined
        ? null
        : { capacityBytes: usage.diskCapacityBytes, usedBytes: usage.diskBytes },
    address: node.address,
    labels: { ...node.labels },
    version: report?.skeinVersion ?? "",
    runtime: report === undefined ? "" : `${report.runtime} ${report.runtimeVersion}`.trim(),
    platform: report === undefined ? "" : `${report.platform.os}/${report.platform.arch}`,
    admittedAt: timeText(node.admittedAtMs),
  };
}

function reservedBy(
  state: ClusterState,
  tasks: readonly Task[],
): { readonly cpuMillis: number; readonly memoryBytes: number } {
  let cpuMillis = 0;
  let memoryBytes = 0;
  for (const task of tasks) {
    const template = templateOf(state, task);
    if (template === undefined) continue;
    const reserved = reservationOf(template);
    cpuMillis += reserved.cpuMillis ?? 0;
    memoryBytes += reserved.memoryBytes ?? 0;
  }
  return { cpuMillis, memoryBytes };
}

function roleOf({ leader, voters, learners }: LogStatus, id: NodeId): NodeView["role"] {
  if (leader === id) return "leader";
  if (voters.includes(id)) return "voter";
  return learners.includes(id) ? "learner" : "follower";
}

/** One node with all that is known of it. */
export function nodeDetail(facts: Facts, id: NodeId, nowMs: number): NodeDetail {
  const { self, state, observations, log } = facts;
  const view = nodeView(facts, id);
  const report = observations.reports.get(id);
  const member = observations.members.get(id);
  const feeder = id === self ? log.feeder : report?.feeder;
  const present = [...state.tasks.values()].filter(
    (task) => task.nodeId === id && isPresent(observations, task),
  );
  const lastSeenMs = member?.status === "alive" ? nowMs : member?.sinceMs;
  return {
    ...view,
    lastSeenAt: lastSeenMs === undefined ? null : timeText(lastSeenMs),
    feeder: feeder === undefined ? null : nodeName(state, feeder),
    isDialOutOnly: report?.isDialOutOnly ?? false,
    logIndex: report?.logIndex ?? null,
    digest:
      report?.digest === undefined
        ? null
        : { index: report.digest.index, value: report.digest.value.toString(16) },
    taskList: present
      .map((task) => nodeTask(facts, task))
      .sort((a, b) => compareText(a.namespace, b.namespace) || compareText(a.name, b.name)),
    pending: view.eligibility === "drain" ? reasonsOf(facts, present) : [],
  };
}

/** What should run, and what has been told to stop and has not ended yet. */
function isPresent(observations: Observations, task: Task): boolean {
  const status = statusOf(observations, task);
  if (task.desired === "running") return status === undefined || !isFinal(status);
  return status !== undefined && !isFinal(status);
}

function nodeTask(facts: Facts, task: Task): NodeTask {
  const view = taskView(facts, task);
  const { id, namespace, name, desired, status, health, restarts, exitCode, message } = view;
  return { id, namespace, name, desired, status, health, restarts, exitCode, message };
}

function reasonsOf({ pending }: Facts, tasks: readonly Task[]): string[] {
  const services = new Set<ServiceKey>(tasks.map(({ service }) => service));
  return [...services].sort(compareText).flatMap((service) => pending.get(service) ?? []);
}
