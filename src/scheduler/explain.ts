import type { NodeId, ServiceKey } from "../kernel/index.ts";

export type RefusalCode =
  | "not_alive"
  | "draining"
  | "constraint"
  | "no_report"
  | "engine_silent"
  | "max_replicas_per_node"
  | "insufficient_cpu"
  | "insufficient_memory"
  | "host_port_in_use"
  | "volume_elsewhere";

/** Why one node cannot take a task: the first predicate that failed, with its numbers. */
export type Refusal = {
  readonly nodeId: NodeId;
  readonly nodeName: string;
  readonly code: RefusalCode;
  readonly message: string;
  /** How much more of it would have to be free, where that is what is short. */
  readonly missing?: { readonly cpuMillis?: number; readonly memoryBytes?: number };
};

/** Why one replica is not where it should be yet. */
export type Pending = {
  readonly service: ServiceKey;
  readonly slot: number;
  /**
   * - `unplaceable`: no node can take it now; `nodes` says why, node by node.
   * - `backing_off`: it failed lately and is tried again at `retryAtMs`.
   * - `waiting_for_stop`: the task that it replaces has to end first.
   * - `waiting_for_dependency`: a service that comes first is not as far as it has to be.
   */
  readonly cause: "unplaceable" | "backing_off" | "waiting_for_stop" | "waiting_for_dependency";
  /** A sentence with names and numbers. */
  readonly message: string;
  readonly nodes: readonly Refusal[];
  /** Wall clock, ms. */
  readonly retryAtMs?: number;
};

/** Of each service that is not as it should be; others are absent. */
export type Explanations = ReadonlyMap<ServiceKey, readonly Pending[]>;

type Replica = { readonly service: ServiceKey; readonly slot: number };

export function explainUnplaceable(
  { service, slot }: Replica,
  refusals: readonly Refusal[],
  /** Why its last task was stopped, where that was to make room for another one. */
  preempted?: string,
): Pending {
  const nodes = refusals.map(({ nodeName, message }) => `${nodeName}: ${message}`).join("; ");
  const before = preempted === undefined ? "" : ` ${preempted}`;
  const message =
    refusals.length === 0
      ? `${service}.${slot} is pending: the cluster has no node for it.${before}`
      : `${service}.${slot} is pending: ${nodes}.${before}`;
  return { service, slot, cause: "unplaceable", message, nodes: refusals };
}

export function explainBackOff(
  { service, slot }: Replica,
  {
    failures,
    retryAtMs,
    now,
  }: { readonly failures: number; readonly retryAtMs: number; readonly now: number },
): Pending {
  const times = failures === 1 ? "once" : `${failures} times in a row`;
  const seconds = Math.max(1, Math.ceil((retryAtMs - now) / 1_000));
  const message = `${service}.${slot} failed ${times}; it is tried again in ${seconds} s.`;
  return { service, slot, cause: "backing_off", message, nodes: [], retryAtMs };
}

/** It has a higher priority than what is stopping there now, or was told to stop for it. */
export function explainMakingRoom(
  { service, slot }: Replica,
  { nodeName, victims }: { readonly nodeName: string; readonly victims: readonly string[] },
): Pending {
  const whom = victims.length === 0 ? "what stops there now" : victims.join(", ");
  const message = `${service}.${slot} waits for room on ${nodeName}: until ${whom} has stopped.`;
  return { service, slot, cause: "waiting_for_stop", message, nodes: [] };
}

export function explainWaitingForStop({ service, slot }: Replica, before: string): Pending {
  const message = `${service}.${slot} waits until its predecessor ${before} has stopped.`;
  return { service, slot, cause: "waiting_for_stop", message, nodes: [] };
}

export function explainDependency({ service, slot }: Replica, what: string): Pending {
  const message = `${service}.${slot} waits for ${what}.`;
  return { service, slot, cause: "waiting_for_dependency", message, nodes: [] };
}

/** What could be done for a replica that fits nowhere, with the smallest amounts. */
export function whatWouldHelp(refusals: readonly Refusal[]): string {
  const short = refusals
    .filter(({ missing }) => missing !== undefined)
    .sort((a, b) => shortfall(a) - shortfall(b));
  const [least] = short;
  const others = "adding a node that fits";
  if (least === undefined) return others;
  const { cpuMillis, memoryBytes } = least.missing ?? {};
  const amount = cpuMillis === undefined ? memory(memoryBytes ?? 0) : `${cpus(cpuMillis)} CPUs`;
  return `freeing ${amount} on ${least.nodeName}, or ${others}`;
}

/** CPUs and memory are not comparable; a core counts as much as 4 GiB here. */
function shortfall({ missing }: Refusal): number {
  return (missing?.cpuMillis ?? 0) / 1_000 + (missing?.memoryBytes ?? 0) / (4 * 2 ** 30);
}

/** `1500` -> `1.5`. */
export function cpus(cpuMillis: number): string {
  return String(cpuMillis / 1_000);
}

/** In the largest binary unit that keeps it above one, with at most one decimal. */
export function memory(memoryBytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let amount = memoryBytes;
  let unit = 0;
  while (Math.abs(amount) >= 1_024 && unit < units.length - 1) {
    amount /= 1_024;
    unit += 1;
  }
  return `${Math.round(amount * 10) / 10} ${units[unit]}`;
}
