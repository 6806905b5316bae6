import {
  apply,
  type ClusterState,
  type Command,
  type NodeReport,
  type Observations,
  type Task,
  type TaskStatus,
} from "../cluster/index.ts";
import { type NodeId, nodeId, type ServiceKey, taskId } from "../kernel/index.ts";
import type { Explanations } from "./explain.ts";
import type { SchedulerSettings } from "./facts.ts";
import { plan } from "./plan.ts";

/** What is to be supposed. */
export type Supposition = {
  /** Services to submit or to scale, as commands that nobody proposes. */
  readonly commands: readonly Command[];
  /** Nodes that fail for good. */
  readonly kill: readonly NodeId[];
  /** Machines that join, with nothing on them. */
  readonly addNodes: readonly { readonly cpuMillis: number; readonly memoryBytes: number }[];
};

export type WhatIf =
  | {
      readonly kind: "planned";
      /** What should run in the end. */
      readonly state: ClusterState;
      readonly explanations: Explanations;
      /** Whether the planner came to rest; else it was stopped after many rounds. */
      readonly isComplete: boolean;
    }
  | { readonly kind: "rejected"; readonly message: string };

export type WhatIfInput = {
  readonly state: ClusterState;
  readonly observations: Observations;
  /** Wall clock, ms. */
  readonly now: number;
  readonly settings?: SchedulerSettings;
};

const maxRounds = 500;
/** Long enough for every pause of a roll-out and every back-off to be over. */
const roundMs = 120_000;

/**
 * Lets the planner itself play through what would happen: it plans, the plan is applied, and
 * every task that it starts is supposed to run well, until there is nothing left to decide.
 */
export function whatIf(input: WhatIfInput, supposition: Supposition): WhatIf {
  let state = withoutTime(withNodes(input.state, supposition));
  for (const command of supposition.commands) {
    const applied = apply(state, state.index + 1, command);
    if (applied.outcome.kind === "rejected") {
      return { kind: "rejected", message: applied.outcome.message };
    }
    state = withoutTime(applied.state);
  }
  const gone = new Set(supposition.kill);
  const [like] = input.observations.reports.values();
  const reports = new Map([
    ...input.observations.reports,
    ...reportsOfNew(supposition.addNodes, like),
  ]);
  const known: Observations = { members: input.observations.members, reports };
  const settings = input.settings === undefined ? {} : { settings: input.settings };
  let created = 0;
  let now = input.now;
  let explanations: Explanations = new Map();
  for (let round = 0; round < maxRounds; round += 1) {
    const observations = supposed(known, state, { gone, now });
    const newTaskId = () => {
      created += 1;
      return taskId(`supposed-${created}`);
    };
    // Whoever was cut off has stopped by then.
    const stoppedForMs = new Map([...state.tasks.keys()].map((id) => [id, Infinity]));
    const step = plan({ state, observations, now, newTaskId, stoppedForMs, ...settings });
    explanations = step.explanations;
    now += roundMs;
    if (step.command !== undefined) {
      const applied = apply(state, state.index + 1, step.command);
      if (applied.outcome.kind === "rejected") break;
      state = applied.state;
    } else if (step.nextWakeMs === undefined || round > 0) {
      return { kind: "planned", state, explanations, isComplete: true };
    }
  }
  return { kind: "planned", state, explanations, isComplete: false };
}

function withNodes(state: ClusterState, { addNodes }: Supposition): ClusterState {
  const nodes = new Map(state.nodes);
  for (const i of addNodes.keys()) {
    const id = nodeId(`new-${i + 1}`);
    const fixed = { address: "", labels: {}, eligibility: "active", admittedAtMs: 0 } as const;
    nodes.set(id, { id, name: id, ...fixed });
  }
  return { ...state, nodes };
}

/**
 * Hours pass while the planner plays; no job is to become due by that. Nor is waited for a
 * job to complete: where tasks will be is what is asked, not when.
 */
function withoutTime(state: ClusterState): ClusterState {
  const services = new Map(state.services);
  for (const [key, service] of services) {
    const { schedule, dependsOn } = service.spec;
    if (dependsOn === undefined && (schedule === undefined || schedule.isSuspended)) continue;
    const { dependsOn: _dependsOn, ...rest } = service.spec;
    const suspended = schedule && { schedule: { ...schedule, isSuspended: true } };
    services.set(key, { ...service, spec: { ...rest, ...suspended } });
  }
  return { ...state, services };
}

function supposed(
  { members, reports }: Observations,
  state: ClusterState,
  { gone, now }: { readonly gone: ReadonlySet<NodeId>; readonly now: number },
): Observations {
  const byNode = Map.groupBy(state.tasks.values(), (task) => task.nodeId);
  const nextMembers = new Map(members);
  const nextReports = new Map<NodeId, NodeReport>();
  for (const id of state.nodes.keys()) {
    if (gone.has(id)) {
      nextMembers.set(id, { status: "failed", sinceMs: 0 });
      continue;
    }
    const status = members.get(id)?.status ?? "alive";
    // Whoever is away stays away; that it is only suspect for a moment is taken for nothing.
    const isAway = status === "failed" || status === "left";
    nextMembers.set(id, isAway ? { status, sinceMs: 0 } : { status: "alive", sinceMs: 0 });
    const report = reports.get(id);
    if (report === undefined) continue;
    const statuses = new Map(report.tasks.map((each) => [each.taskId, each]));
    const tasks = (byNode.get(id) ?? [])
      .filter(({ desired }) => desired === "running")
      .map((task) => statusOf(task, statuses.get(task.id), now));
    nextReports.set(id, { ...report, appliedIndex: state.index, tasks });
  }
  return { members: nextMembers, reports: nextReports };
}

/** A task does what it was started for; one that has ended already stays so. */
function statusOf(task: Task, known: TaskStatus | undefined, now: number): TaskStatus {
  if (known?.phase === "completed" || known?.phase === "failed") return known;
  return {
    taskId: task.id,
    phase: "running",
    health: "none",
    restarts: 0,
    endpoints: [],
    hostPorts: [],
    message: "",
    sinceMs: Math.min(known?.sinceMs ?? task.createdAtMs, now),
  };
}

/** The reports that added machines would send. */
function reportsOfNew(
  addNodes: Supposition["addNodes"],
  like: NodeReport | undefined,
): readonly (readonly [NodeId, NodeReport])[] {
  return addNodes.map((capacity, i) => {
    const id = nodeId(`new-${i + 1}`);
    const report: NodeReport = {
      nodeId: id,
      skeinVersion: like?.skeinVersion ?? "",
      runtime: like?.runtime ?? "docker",
      runtimeVersion: like?.runtimeVersion ?? "",
      platform: like?.platform ?? { os: "linux", arch: "amd64" },
      capacity,
      httpPort: like?.httpPort ?? 80,
      routesIndex: 0,
      appliedIndex: 0,
      tasks: [],
    };
    return [id, report];
  });
}

/** What differs for one service between what should run before and after. */
export type ServiceOutcome = {
  readonly service: ServiceKey;
  /** Tasks that should run. */
  readonly before: number;
  readonly after: number;
  readonly moves: readonly {
    readonly slot: number;
    /** Undefined for a place that was free. */
    readonly from: NodeId | undefined;
    /** Undefined for a place that is given up. */
    readonly to: NodeId | undefined;
  }[];
};

/** The differences, service by service; only of those where there is one. */
export function compareOutcome(before: ClusterState, after: ClusterState): ServiceOutcome[] {
  const keys = new Set([...before.services.keys(), ...after.services.keys()]);
  return [...keys].sort().flatMap((service) => {
    const old = placesOf(before, service);
    const next = placesOf(after, service);
    const moves = [...new Set([...old.keys(), ...next.keys()])].flatMap((place) => {
      const [from, to] = [old.get(place), next.get(place)];
      if (from?.id === to?.id) return [];
      return [{ slot: to?.slot ?? from?.slot ?? 0, from: from?.nodeId, to: to?.nodeId }];
    });
    if (moves.length === 0) return [];
    return [{ service, before: old.size, after: next.size, moves }];
  });
}

function placesOf(state: ClusterState, service: ServiceKey): ReadonlyMap<string, Task> {
  const kind = state.services.get(service)?.spec.mode.kind;
  const perNode = kind === "global" || kind === "global-job";
  const places = new Map<string, Task>();
  for (const task of state.tasks.values()) {
    if (task.service !== service || task.desired !== "running" || task.result !== undefined) {
      continue;
    }
    places.set(perNode ? task.nodeId : String(task.slot), task);
  }
  return places;
}
