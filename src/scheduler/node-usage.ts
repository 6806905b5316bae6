import { type Task, templateOf } from "../cluster/index.ts";
import type { NodeId, TaskId } from "../kernel/index.ts";
import { reservationOf, type TaskTemplate } from "../spec/index.ts";
import type { Facts } from "./facts.ts";

/** What is taken of one node by tasks that run there, will run there, or are still stopping. */
export type NodeUsage = {
  readonly tasks: number;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  /** Which task holds a static host port; the key is from {@link hostPortKey}. */
  readonly hostPorts: ReadonlyMap<string, Task>;
};

const noUsage: NodeUsage = { tasks: 0, cpuMillis: 0, memoryBytes: 0, hostPorts: new Map() };

/** `8080/tcp`: what two tasks on one node cannot both have. */
export function hostPortKey(port: {
  readonly published: number;
  readonly protocol: string;
}): string {
  return `${port.published}/${port.protocol}`;
}

/** The host ports that a template fixes; those left to chance never clash. */
export function staticHostPorts(template: TaskTemplate): readonly string[] {
  const keys: string[] = [];
  for (const { published, protocol } of template.hostPorts) {
    if (published !== undefined) keys.push(hostPortKey({ published, protocol }));
  }
  return keys;
}

export class NodeUsages {
  readonly #usages = new Map<NodeId, NodeUsage>();
  readonly #counted = new Set<TaskId>();

  constructor(facts: Facts) {
    for (const task of facts.state.tasks.values()) {
      const template = templateOf(facts.state, task);
      if (occupies(task, facts)) this.add(task, template);
    }
  }

  of(nodeId: NodeId): NodeUsage {
    return this.#usages.get(nodeId) ?? noUsage;
  }

  add(task: Task, template: TaskTemplate | undefined): void {
    if (this.#counted.has(task.id)) return;
    this.#counted.add(task.id);
    const before = this.of(task.nodeId);
    const ports = template === undefined ? [] : staticHostPorts(template);
    const reserved = template === undefined ? {} : reservationOf(template);
    const held = ports.map((key): [string, Task] => [key, task]);
    const hostPorts =
      held.length === 0 ? before.hostPorts : new Map([...before.hostPorts, ...held]);
    this.#usages.set(task.nodeId, {
      tasks: before.tasks + 1,
      cpuMillis: before.cpuMillis + (reserved.cpuMillis ?? 0),
      memoryBytes: before.memoryBytes + (reserved.memoryBytes ?? 0),
      hostPorts,
    });
  }
}

/** A stopped task holds what it has until its container is gone; an ended one holds nothing. */
export function occupies(task: Task, facts: Facts): boolean {
  if (task.result !== undefined) return false;
  if (task.desired === "stopped") return facts.mayStillRun(task);
  const phase = facts.status(task)?.phase;
  return phase !== "failed" && phase !== "completed";
}
