import {
  apply,
  type ClusterState,
  type Command,
  isServing,
  type Member,
  type NodeReport,
  type Observations,
  type Task,
  type TaskStatus,
  tasksOf,
} from "../../src/cluster/index.ts";
import {
  type NodeId,
  nodeId,
  type Random,
  randomBelow,
  type ServiceKey,
  seededRandom,
  serviceKey,
  type TaskId,
  taskId,
} from "../../src/kernel/index.ts";
import { type Plan, plan } from "../../src/scheduler/plan.ts";
import { SilenceWatch } from "../../src/scheduler/silence-watch.ts";
import { StopWatch } from "../../src/scheduler/stop-watch.ts";
import type { ServiceSpec } from "../../src/spec/index.ts";
import { clusterNode, clusterOf, serviceSpec } from "../builders.ts";

export const web = serviceKey("shop", "web");
const GiB = 2 ** 30;

export type WorldOptions = {
  readonly seed?: number;
  /** How a task of this image behaves; by default it starts and serves. */
  readonly behaviourOf?: (
    image: string,
    task: Task,
  ) => "serves" | "fails" | "crashes" | "hangs" | "completes";
  /** How long a task works that completes; default 1 s. */
  readonly workMs?: number;
  readonly startMs?: { readonly min: number; readonly max: number };
  readonly capacity?: { readonly cpuMillis: number; readonly memoryBytes: number };
};

type Body = { readonly startsAtMs: number; endsAtMs: number | undefined; status: TaskStatus };

/** A model of a cluster: applies what is planned, and lets its nodes do as they are told. */
export class World {
  state: ClusterState;
  now = 1_000_000;
  lastPlan: Plan = { command: undefined, explanations: new Map() };
  readonly commands: Extract<Command, { kind: "update_tasks" }>[] = [];
  readonly #members = new Map<NodeId, Member>();
  readonly #capacities = new Map<NodeId, NodeReport["capacity"]>();
  readonly #platforms = new Map<NodeId, NodeReport["platform"]>();
  readonly #applied = new Map<NodeId, number>();
  readonly #silentEngines = new Set<NodeId>();
  readonly #awaiting = new Map<NodeId, (task: Task) => boolean>();
  readonly #bodies = new Map<TaskId, Body>();
  readonly #random: Random;
  readonly #options: WorldOptions;
  readonly #silences = new SilenceWatch();
  readonly #stops = new StopWatch();
  #ids = 0;

  constructor(nodes: readonly string[], options: WorldOptions = {}) {
    this.state = clusterOf(...nodes);
    this.#options = options;
    this.#random = seededRandom(options.seed ?? 1);
    for (const name of nodes) this.#members.set(nodeId(name), { status: "alive", sinceMs: 0 });
  }

  get observations(): Observations {
    const reports = new Map<NodeId, NodeReport>();
    for (const id of this.#members.keys()) reports.set(id, this.#reportOf(id));
    return { members: new Map(this.#members), reports };
  }

  submit(command: Command): void {
    const { state, outcome } = apply(this.state, this.state.index + 1, command);
    if (outcome.kind === "rejected") throw new Error(`${command.kind}: ${outcome.message}`);
    this.state = state;
  }

  put(overrides: Partial<ServiceSpec> = {}): void {
    this.submit({ kind: "put_services", specs: [serviceSpec(overrides)], nowMs: this.now });
  }

  scale(replicas: number): void {
    this.submit({ kind: "scale_service", service: web, replicas, nowMs: this.now });
  }

  join(name: string, labels: Readonly<Record<string, string>> = {}): void {
    const node = clusterNode(name, { labels });
    this.state = { ...this.state, nodes: new Map(this.state.nodes).set(node.id, node) };
    this.setMember(name, "alive");
  }

  setMember(name: string, status: Member["status"], more: Pick<Member, "isGone"> = {}): void {
    this.#members.set(nodeId(name), { status, sinceMs: this.now, ...more });
  }

  setPlatform(name: string, platform: NodeReport["platform"]): void {
    this.#platforms.set(nodeId(name), platform);
  }

  /** Its engine does not answer, or does again. */
  silenceEngine(name: string, isSilent = true): void {
    if (isSilent) this.#silentEngines.add(nodeId(name));
    else this.#silentEngines.delete(nodeId(name));
  }

  drain(name: string): void {
    this.submit({ kind: "set_eligibility", nodeId: nodeId(name), eligibility: "drain" });
  }

  setCapacity(name: string, capacity: NodeReport["capacity"]): void {
    this.#capacities.set(nodeId(name), capacity);
  }

  /** From now on this node does not say that it knows these tasks to serve. */
  setAwaiting(name: string, isAwaited: (task: Task) => boolean): void {
    this.#awaiting.set(nodeId(name), isAwaited);
  }

  /** The task is given up by its node. */
  fail(id: TaskId, message = "exited with code 1"): void {
    const body = this.#bodies.get(id);
    if (body !== undefined) {
      body.status = { ...body.status, phase: "failed", message, sinceMs: this.now };
    }
  }

  setStatus(id: TaskId, change: Partial<TaskStatus>): void {
    const body = this.#bodies.get(id);
    if (body !== undefined) body.status = { ...body.status, ...change };
  }

  /** Another leader: it knows what is agreed, and nothing of what the one before had seen. */
  changeLeader(): void {
    this.#silences.forget();
    this.#stops.forget();
  }

  /** One pass of the scheduler; returns whether it decided anything. */
  plan(): boolean {
    this.lastPlan = plan({
      state: this.state,
      observations: this.observations,
      now: this.now,
      silentForMs: this.#silences.ages(this.observations, this.now),
      stoppedForMs: this.#stops.ages(this.state, this.now),
      newTaskId: () => {
        this.#ids += 1;
        return taskId(`t${String(this.#ids).padStart(4, "0")}`);
      },
    });
    const { command } = this.lastPlan;
    if (command === undefined) return false;
    this.commands.push(command);
    this.submit(command);
    return true;
  }

  /** Time passes and the nodes act; nobody plans. */
  pass(ms: number): void {
    this.now += ms;
    for (const id of this.state.nodes.keys()) {
      if (this.#members.get(id)?.status === "alive") this.#act(id);
    }
  }

  /** Plans and lets the nodes act, step by step, for `ms`; calls `check` at every step. */
  run(ms: number, check: () => void = () => undefined, stepMs = 250): void {
    for (let passed = 0; passed < ms; passed += stepMs) {
      for (let round = 0; this.plan(); round += 1) {
        if (round > 50) throw new Error("The planner does not come to rest.");
        check();
      }
      this.pass(stepMs);
      check();
    }
  }

  tasks(key: ServiceKey = web): readonly Task[] {
    return tasksOf(this.state, key);
  }

  running(key: ServiceKey = web): readonly Task[] {
    return this.tasks(key).filter((task) => task.desired === "running");
  }

  /** Tasks that serve on nodes that are not dead, wanted or not. */
  serving(key: ServiceKey = web): readonly Task[] {
    return this.tasks(key).filter((task) => {
      const body = this.#bodies.get(task.id);
      const isUp = this.#members.get(task.nodeId)?.status === "alive";
      return body !== undefined && isUp && isServing(body.status);
    });
  }

  perNode(key: ServiceKey = web): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { nodeId: id } of this.running(key)) counts[id] = (counts[id] ?? 0) + 1;
    return counts;
  }

  #act(id: NodeId): void {
    const own = [...this.state.tasks.values()].filter((task) => task.nodeId === id);
    const known = new Set(own.map((task) => task.id));
    for (const task of own) this.#advance(task);
    for (const [task, body] of this.#bodies) {
      const isHere = body.status.containerId === id;
      if (isHere && !known.has(task)) this.#bodies.delete(task);
    }
    this.#applied.set(id, this.state.index);
  }

  #advance(task: Task): void {
    const body = this.#bodies.get(task.id);
    if (task.desired === "stopped") {
      if (body === undefined || body.status.phase === "failed") return;
      body.endsAtMs ??= this.now + 200 + randomBelow(this.#random, 1_500);
      if (body.endsAtMs <= this.now) this.#bodies.delete(task.id);
    } else if (body === undefined) {
      const { min, max } = this.#options.startMs ?? { min: 200, max: 2_000 };
      const startsAtMs = this.now + min + randomBelow(this.#random, Math.max(1, max - min));
      const status = this.#statusAtStart(task);
      this.#bodies.set(task.id, { startsAtMs, endsAtMs: undefined, status });
    } else if (body.status.phase === "running" && this.#behaviourOf(task) === "completes") {
      const endsAtMs = body.status.sinceMs + (this.#options.workMs ?? 1_000);
      if (endsAtMs > this.now) return;
      body.status = { ...body.status, phase: "completed", exitCode: 0, sinceMs: this.now };
    } else if (body.status.phase === "preparing" && body.startsAtMs <= this.now) {
      body.status = { ...body.status, ...this.#statusOnceUp(task), sinceMs: this.now };
    }
  }

  #statusAtStart(task: Task): TaskStatus {
    return {
      taskId: task.id,
      phase: "preparing",
      health: "none",
      restarts: 0,
      containerId: task.nodeId,
      endpoints: [],
      hostPorts: [],
      message: "",
      sinceMs: this.now,
    };
  }

  #statusOnceUp(task: Task): Partial<TaskStatus> {
    switch (this.#behaviourOf(task)) {
      case "serves":
      case "completes":
        return { phase: "running" };
      case "fails":
        return { phase: "failed", exitCode: 1, message: "exited with code 1" };
      case "crashes":
        return { phase: "preparing", restarts: 3, message: "exited with code 1" };
      case "hangs":
        return { phase: "running", health: "starting" };
    }
  }

  #behaviourOf(task: Task) {
    const image = this.state.services.get(task.service)?.templates.get(task.revision)?.image ?? "";
    return this.#options.behaviourOf?.(image, task) ?? "serves";
  }

  #reportOf(id: NodeId): NodeReport {
    const tasks = [...this.state.tasks.values()]
      .filter((task) => task.nodeId === id)
      .flatMap((task) => this.#bodies.get(task.id)?.status ?? []);
    const capacity = this.#options.capacity ?? { cpuMillis: 4_000, memoryBytes: 8 * GiB };
    return {
      nodeId: id,
      skeinVersion: "0.1.0",
      runtime: "memory",
      runtimeVersion: "1",
      platform: this.#platforms.get(id) ?? { os: "linux", arch: "amd64" },
      capacity: this.#capacities.get(id) ?? capacity,
      httpPort: 80,
      routesIndex: this.state.index,
      appliedIndex: this.#applied.get(id) ?? 0,
      awaited: [...this.state.tasks.values()]
        .filter((task) => this.#awaiting.get(id)?.(task) ?? false)
        .map((task) => task.id),
      ...(this.#silentEngines.has(id) ? { isEngineSilent: true } : {}),
      tasks,
    };
  }
}
