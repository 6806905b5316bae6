import {
  type ClusterState,
  compareText,
  defaultMaxVoters,
  getsTraffic,
  isAlike,
  isServing,
  type LogStatus,
  memberStatus,
  type Observations,
  type Service,
  statusOf,
  type Task,
  type TaskStatus,
  type Token,
  tasksOf,
  templateOf,
} from "../cluster/index.ts";
import { type NodeId, type ServiceKey, splitServiceKey } from "../kernel/index.ts";
import { containersOf, isJobMode, runsPerNode, type TaskTemplate } from "../spec/index.ts";
import { jobView } from "./job-view.ts";
import { timeText } from "./time-text.ts";
import type { ServiceView, StatusView, TaskView, TokenView } from "./views.ts";

/** Everything that a view is made from, at one moment. */
export type Facts = {
  readonly self: NodeId;
  readonly version: string;
  readonly state: ClusterState;
  readonly observations: Observations;
  readonly log: LogStatus;
  /** Sentences of the scheduler about what it could not place; empty on other nodes than the leader. */
  readonly pending: ReadonlyMap<ServiceKey, readonly string[]>;
  /** Sentences about what a person has to look at. */
  readonly warnings?: readonly string[];
  /** Wall clock, ms; tells when a schedule is due next. */
  readonly nowMs?: number;
  /** Wall clock, ms: when the own certificate ends. */
  readonly certificateExpiresAtMs?: number;
};

export function tokenView(token: Token, nowMs: number): TokenView {
  const { id, role, expiresAtMs, usesLeft } = token;
  const status = expiresAtMs <= nowMs ? "expired" : (usesLeft ?? 1) <= 0 ? "used_up" : "valid";
  return { id, role, expiresAt: timeText(expiresAtMs), usesLeft: usesLeft ?? null, status };
}
/** A disk that is fuller than this is told of. */
const fullDiskShare = 0.9;

export function statusView(facts: Facts): StatusView {
  const { state, observations, log, self } = facts;
  const nodes = [...state.nodes.keys()];
  const statusOfNode = (node: NodeId) => memberStatus(observations, node);
  const isAlive = (node: NodeId) => statusOfNode(node) === "alive";
  const wanted = [...state.tasks.values()].filter(isWanted);
  return {
    version: facts.version,
    clusterId: state.clusterId,
    node: { id: self, name: nodeName(state, self) },
    leader: log.leader === undefined ? null : nodeName(state, log.leader),
    feeder: log.feeder === undefined ? null : nodeName(state, log.feeder),
    term: log.term,
    commitIndex: log.commitIndex,
    appliedIndex: log.appliedIndex,
    quorum: {
      hasQuorum: log.hasQuorum,
      votersAlive: log.voters.filter(isAlive).length,
      voters: log.voters.length,
      maxVoters: state.maxVoters ?? defaultMaxVoters,
    },
    nodes: {
      total: nodes.length,
      alive: nodes.filter(isAlive).length,
      suspect: nodes.filter((node) => statusOfNode(node) === "suspect").length,
      // One that was never heard of counts as failed here as everywhere.
      failed: nodes.filter((node) => statusOfNode(node) === "failed").length,
      left: nodes.filter((node) => statusOfNode(node) === "left").length,
      draining: [...state.nodes.values()]
        .filter(({ eligibility }) => eligibility === "drain")
        .map(({ name }) => name)
        .sort(compareText),
    },
    warnings: [...(facts.warnings ?? []), ...silentEngines(facts), ...fullDisks(facts)],
    unsettled: unsettledServices(facts),
    certificateExpiresAt:
      facts.certificateExpiresAtMs === undefined ? null : timeText(facts.certificateExpiresAtMs),
    services: state.services.size,
    tasks: {
      desired: wanted.length,
      running: wanted.filter((task) => isServingNow(observations, task)).length,
    },
  };
}

function unsettledServices(facts: Facts): StatusView["unsettled"] {
  return serviceViews(facts)
    .filter(
      ({ running, desired, rollout, pending }) =>
        running < desired || rollout !== "normal" || pending.length > 0,
    )
    .map(({ namespace, name, running, desired, rollout, pauseCause, pending }) => {
      const halted = pauseCause === null ? [] : [pauseText[pauseCause]];
      const back =
        rollout === "rolled_back" ? ["the update was rolled back: new tasks failed"] : [];
      const reasons = [...halted, ...back, ...pending];
      return { service: `${namespace}/${name}`, running, desired, reasons };
    });
}

const pauseText = {
  failed: "the update was paused: new tasks failed",
  canary: "the update waits after its canary; look at it, then: skein rollout resume",
  asked: "the update was paused by hand; it goes on with: skein rollout resume",
} as const;

function silentEngines({ state, observations }: Facts): string[] {
  return [...state.nodes.values()]
    .filter(({ id }) => observations.reports.get(id)?.isEngineSilent === true)
    .sort((a, b) => compareText(a.name, b.name))
    .map(
      ({ name }) =>
        `The container engine of ${name} does not answer: nothing new is placed there, and what has ended there stays down. Start it, for example: systemctl start docker`,
    );
}

function fullDisks({ state, observations }: Facts): string[] {
  return [...state.nodes.values()]
    .sort((a, b) => compareText(a.name, b.name))
    .flatMap(({ id, name }) => {
      const usage = observations.reports.get(id)?.usage;
      if (usage === undefined || usage.diskCapacityBytes === 0) return [];
      const share = usage.diskBytes / usage.diskCapacityBytes;
      if (share < fullDiskShare) return [];
      return [
        `The disk of ${name} is ${Math.floor(share * 100)} % full. Free space there: a daemon whose log cannot be written ends.`,
      ];
    });
}

export function serviceViews(facts: Facts, namespace?: string): ServiceView[] {
  return [...facts.state.services]
    .filter(([, { spec }]) => namespace === undefined || spec.namespace === namespace)
    .sort(([a], [b]) => compareText(a, b))
    .map(([key, service]) => serviceView(facts, key, service));
}

export function serviceView(facts: Facts, key: ServiceKey, service: Service): ServiceView {
  const { state, observations } = facts;
  const { spec } = service;
  const tasks = tasksOf(state, key);
  const wanted = tasks.filter(isWanted);
  const able = wanted.filter((task) => isServingNow(observations, task));
  const serving = able.filter((task) => getsTraffic(service, task.revision));
  return {
    namespace: spec.namespace,
    name: spec.name,
    mode: spec.mode.kind,
    desired: isJobMode(spec.mode) ? wanted.length : desiredCount(facts, service),
    running: serving.length,
    // By what it is made of: after a roll-back the old tasks are up to date again.
    updated: serving.filter((task) => isAlike(service, task.revision, service.revision)).length,
    standby: able.length - serving.length,
    stopping: tasks.filter((task) => task.desired === "stopped" && hasContainer(observations, task))
      .length,
    revision: service.revision,
    version: service.version,
    rollout: service.rollout,
    pauseCause: service.rollout === "paused" ? (service.pauseCause ?? "failed") : null,
    image: spec.template.image,
    endpoints: endpointsOf(service),
    pending: [...(facts.pending.get(key) ?? [])],
    createdAt: timeText(service.createdAtMs),
    updatedAt: timeText(service.updatedAtMs),
    job: jobView(service, tasks, facts.nowMs ?? 0),
    spec,
  };
}

function desiredCount({ state, observations }: Facts, { spec }: Service): number {
  if (spec.isStopped === true) return 0;
  if (spec.mode.kind === "replicated") return spec.mode.replicas;
  const isHost = (id: NodeId) =>
    memberStatus(observations, id) !== "failed" && state.nodes.get(id)?.eligibility === "active";
  return [...state.nodes.keys()].filter(isHost).length;
}

function endpointsOf({ spec }: Service): string[] {
  const ports = spec.ports.map(
    ({ published, target, protocol }) => `:${published ?? "?"}->${target}/${protocol}`,
  );
  const hosts = spec.ingress.map(({ host, path }) => `http://${host}${path === "/" ? "" : path}`);
  return [...ports, ...hosts];
}

export function taskViews(
  facts: Facts,
  filter: { readonly namespace?: string | undefined; readonly service?: string | undefined },
): TaskView[] {
  const views: TaskView[] = [];
  for (const task of facts.state.tasks.values()) {
    const { namespace, name } = splitServiceKey(task.service);
    if (filter.namespace !== undefined && filter.namespace !== namespace) continue;
    if (filter.service !== undefined && filter.service !== name) continue;
    views.push(taskView(facts, task));
  }
  return views.sort(
    (a, b) =>
      compareText(a.namespace, b.namespace) ||
      compareText(a.service, b.service) ||
      a.slot - b.slot ||
      compareText(a.createdAt, b.createdAt) ||
      compareText(a.id, b.id),
  );
}

/** A suspicion ends sooner. One that lasts is that of a node that itself hears nobody. */
const unknownAfterMs = 15_000;

/** Whether what a node said last is still worth telling. */
function isWithinReach({ observations, nowMs }: Facts, id: NodeId): boolean {
  const member = observations.members.get(id);
  if (member?.status === "suspect") return (nowMs ?? 0) - member.sinceMs <= unknownAfterMs;
  return member?.status === "alive";
}

export function taskView(facts: Facts, task: Task): TaskView {
  const { state, observations } = facts;
  const { namespace, name } = splitServiceKey(task.service);
  const status = statusOf(observations, task);
  const isReachable = isWithinReach(facts, task.nodeId);
  const service = state.services.get(task.service);
  const isGlobal = service !== undefined && runsPerNode(service.spec.mode);
  const node = nodeName(state, task.nodeId);
  return {
    id: task.id,
    name: isGlobal ? `${name}.${node}` : `${name}.${task.slot}`,
    namespace,
    service: name,
    slot: task.slot,
    revision: task.revision,
    desired: task.desired,
    status: statusText(task, isReachable, status),
    phase: phaseText(task, isReachable, status),
    run: task.run ?? null,
    placement: task.placement ?? "",
    createdAtIndex: task.createdAtIndex ?? null,
    health: status?.health ?? "none",
    restarts: status?.restarts ?? 0,
    node,
    nodeId: task.nodeId,
    image: templateOf(state, task)?.image ?? "",
    containerId: status?.containerId ?? null,
    containers: containerViews(templateOf(state, task), status),
    ports: (status?.hostPorts ?? []).map(
      ({ hostPort, target, protocol }) => `${hostPort}->${target}/${protocol}`,
    ),
    exitCode: task.result?.exitCode ?? status?.exitCode ?? null,
    message: status?.message || task.stopReason || task.result?.message || "",
    reason: task.reason,
    createdAt: timeText(task.createdAtMs),
  };
}

/** The containers of a pod as its node reports them, or those that there will be. */
function containerViews(
  template: TaskTemplate | undefined,
  status: TaskStatus | undefined,
): TaskView["containers"] {
  if (template?.pod === undefined) return [];
  const known = new Map((status?.containers ?? []).map((each) => [each.name, each]));
  return containersOf(template).map(({ name, role, template: { image } }) => {
    const { state = "waiting", health = "none", containerId, exitCode } = known.get(name) ?? {};
    return {
      name,
      role,
      status: state,
      health,
      image,
      containerId: containerId ?? null,
      exitCode: exitCode ?? null,
    };
  });
}

/** What has ended has ended, whether its node can be reached or not. */
function statusText(
  { result }: Task,
  isReachable: boolean,
  status: TaskStatus | undefined,
): TaskView["status"] {
  if (result !== undefined) return result.outcome === "succeeded" ? "completed" : "failed";
  return isReachable ? (status?.phase ?? "pending") : "unknown";
}

/** In the five words that orchestrators have for it. */
function phaseText(
  task: Task,
  isReachable: boolean,
  status: TaskStatus | undefined,
): TaskView["phase"] {
  switch (statusText(task, isReachable, status)) {
    case "running":
    case "stopping":
      return "Running";
    case "completed":
      return "Succeeded";
    case "failed":
      return "Failed";
    case "unknown":
      return "Unknown";
    default:
      return "Pending";
  }
}

/** Whether it should be running now; a job's task that has ended should not. */
export function isWanted({ desired, result }: Task): boolean {
  return desired === "running" && result === undefined;
}

export function nodeName(state: ClusterState, id: NodeId): string {
  return state.nodes.get(id)?.name ?? id;
}

function isServingNow(observations: Observations, task: Task): boolean {
  const status = statusOf(observations, task);
  const member = memberStatus(observations, task.nodeId);
  return status !== undefined && isServing(status) && member !== "failed" && member !== "left";
}

function hasContainer(observations: Observations, task: Task): boolean {
  const status = statusOf(observations, task);
  return (
    status !== undefined &&
    status.phase !== "completed" &&
    status.phase !== "failed" &&
    memberStatus(observations, task.nodeId) !== "failed"
  );
}
