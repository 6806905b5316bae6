import {
  apply,
  type ClusterNode,
  type ClusterState,
  type Command,
  emptyClusterState,
  type Member,
  type NodeReport,
  type Observations,
} from "../../src/cluster/index.ts";
import { type NodeId, nodeId, taskId } from "../../src/kernel/index.ts";
import { type Plan, plan } from "../../src/scheduler/plan.ts";
import { parseManifest } from "../../src/spec/index.ts";

/** A cluster of a thousand nodes that is asked to run ten thousand tasks, all in memory. */
export class PlanLoad {
  state: ClusterState;
  readonly #members: ReadonlyMap<NodeId, Member>;
  #created = 0;

  constructor({ nodes, tasks, services }: { nodes: number; tasks: number; services: number }) {
    const ids = Array.from({ length: nodes }, (_, i) => nodeId(`n${String(i).padStart(4, "0")}`));
    const node = (id: NodeId, i: number): ClusterNode => ({
      id,
      name: id,
      address: "",
      labels: { zone: `z${i % 3}` },
      eligibility: "active",
      admittedAtMs: 0,
    });
    this.state = { ...emptyClusterState, nodes: new Map(ids.map((id, i) => [id, node(id, i)])) };
    this.#members = new Map(ids.map((id) => [id, { status: "alive", sinceMs: 0 }]));
    this.#submit({ kind: "put_services", specs: specsOf(services, tasks / services), nowMs: 0 });
  }

  /** One pass; its plan is applied, and what it started runs. */
  pass(): { readonly plan: Plan; readonly ms: number } {
    const observations = this.#observations();
    const { state } = this;
    const newTaskId = () => {
      this.#created += 1;
      return taskId(`t${this.#created}`);
    };
    const started = performance.now();
    const result = plan({ state, observations, now: 1_000_000, newTaskId });
    const ms = performance.now() - started;
    if (result.command !== undefined) this.#submit(result.command);
    return { plan: result, ms };
  }

  #submit(command: Command): void {
    const { state, outcome } = apply(this.state, this.state.index + 1, command);
    if (outcome.kind === "rejected") throw new Error(outcome.message);
    this.state = state;
  }

  #observations(): Observations {
    const byNode = Map.groupBy(this.state.tasks.values(), (task) => task.nodeId);
    const reports = [...this.#members.keys()].map((id): [NodeId, NodeReport] => [
      id,
      {
        nodeId: id,
        skeinVersion: "0",
        runtime: "memory",
        runtimeVersion: "1",
        platform: { os: "linux", arch: "amd64" },
        capacity: { cpuMillis: 16_000, memoryBytes: 64 * 2 ** 30 },
        httpPort: 80,
        routesIndex: this.state.index,
        appliedIndex: this.state.index,
        tasks: (byNode.get(id) ?? []).map((task) => ({
          taskId: task.id,
          phase: "running",
          health: "none",
          restarts: 0,
          endpoints: [],
          hostPorts: [],
          message: "",
          sinceMs: 0,
        })),
      },
    ]);
    return { members: this.#members, reports: new Map(reports) };
  }
}

function specsOf(services: number, replicas: number) {
  const service = {
    image: "web:1",
    deploy: { replicas, resources: { reservations: { cpus: "0.1", memory: "64M" } } },
  };
  const names = Array.from({ length: services }, (_, i) => [`s${i}`, service]);
  const text = JSON.stringify({ name: "load", services: Object.fromEntries(names) });
  const parsed = parseManifest({ files: [{ name: "load", text }], environment: {} });
  if (parsed.kind === "invalid") throw new Error(JSON.stringify(parsed.problems));
  return parsed.manifest.services;
}
