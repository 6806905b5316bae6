import { startAgent } from "../../src/agent/agent-loop.ts";
import type { ProbeResult } from "../../src/agent/health.ts";
import type { ClusterState, Task, TaskStatus } from "../../src/cluster/index.ts";
import { Cell, nodeId, silentLogger, type TaskId } from "../../src/kernel/index.ts";
import {
  type Container,
  MemoryMachine,
  type MemoryMachineOptions,
  MemoryRuntime,
} from "../../src/runtime/index.ts";
import type { TaskTemplate } from "../../src/spec/index.ts";
import { applyAll, clusterOf, serviceSpec, task, template } from "../builders.ts";
import { VirtualClock } from "./virtual-clock.ts";

const self = nodeId("n1");

type RigOptions = {
  readonly tasks?: readonly Task[];
  readonly template?: Partial<TaskTemplate>;
  readonly machine?: Partial<MemoryMachineOptions>;
  readonly isSettled?: boolean;
};

/** One node: a machine that outlives its agents, the state it is told, and virtual time. */
export class Rig implements AsyncDisposable {
  readonly clock = new VirtualClock();
  readonly machine: MemoryMachine;
  readonly state: Cell<ClusterState>;
  readonly isSettled: Cell<boolean>;
  readonly drained = new Cell<ReadonlySet<TaskId>>(new Set());
  readonly fencedOff = new Cell<ReadonlySet<TaskId>>(new Set());
  probeResult: ProbeResult = { kind: "passed" };
  readonly #open: AsyncDisposable[] = [];

  constructor({ tasks = [task()], template: part, machine, isSettled = true }: RigOptions = {}) {
    this.machine = new MemoryMachine({ clock: this.clock, ...machine });
    const spec = serviceSpec({ template: template(part) });
    const known = applyAll([{ kind: "put_services", specs: [spec], nowMs: 0 }], clusterOf("n1"));
    this.state = new Cell<ClusterState>({ ...known, tasks: asMap(tasks) });
    this.isSettled = new Cell(isSettled);
  }

  async start() {
    const runtime = new MemoryRuntime({ machine: this.machine, nodeId: self, clusterId: "c1" });
    const agent = await startAgent({
      self,
      clusterId: "c1",
      state: this.state,
      runtime,
      probes: { http: async () => this.probeResult, tcp: async () => this.probeResult },
      isSettled: this.isSettled,
      drained: ({ id }) => this.drained.get().has(id),
      drainChanged: this.drained,
      fencedOff: this.fencedOff,
      clock: this.clock,
      logger: silentLogger,
    });
    this.#open.push(runtime, agent);
    await this.clock.advance(0);
    return agent;
  }

  setTasks(...tasks: readonly Task[]): void {
    this.state.set({ ...this.state.get(), index: this.state.get().index + 1, tasks: asMap(tasks) });
  }

  get running(): readonly { readonly id: string; readonly labels: Container["labels"] }[] {
    return this.machine.containers
      .filter(({ state }) => state.kind === "running")
      .map(({ id, request }) => ({ id, labels: request.labels }));
  }

  /** Ends the one container that runs. */
  crash(exitCode = 1): void {
    const [container] = this.running;
    if (container === undefined) throw new Error("Nothing runs that could crash.");
    this.machine.crash(container.id, exitCode);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#open.reverse()) await each[Symbol.asyncDispose]();
  }
}

function asMap(tasks: readonly Task[]): ReadonlyMap<TaskId, Task> {
  return new Map(tasks.map((each) => [each.id, each]));
}

/** The one status that there should be. */
export function only(statuses: readonly TaskStatus[]): TaskStatus {
  const [status, ...others] = statuses;
  if (status === undefined || others.length > 0) throw new Error("One status was expected.");
  return status;
}
