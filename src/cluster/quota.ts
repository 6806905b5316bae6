import type { ServiceKey } from "../kernel/index.ts";
import { reservationOf, type TaskTemplate } from "../spec/index.ts";
import { type Applied, accepted, type CommandOf, rejected } from "./applied.ts";
import type { ClusterState, Quota, Service } from "./cluster-state.ts";

/** What the services of a namespace ask for together, as a quota counts it. */
export type NamespaceUsage = Required<Quota>;

/** More namespaces than this have no quota of their own. */
const maxQuotas = 10_000;

const amounts = ["services", "tasks", "cpuMillis", "memoryBytes"] as const;
type Amount = (typeof amounts)[number];

export function setQuota(
  state: ClusterState,
  { namespace, quota }: CommandOf<"set_quota">,
): Applied {
  const quotas = new Map(state.quotas);
  quotas.delete(namespace);
  if (Object.keys(quota).length > 0) quotas.set(namespace, quota);
  if (quotas.size > maxQuotas) {
    return rejected(state, "invalid", `${maxQuotas} namespaces have a quota; no more can.`);
  }
  return accepted({ ...state, quotas });
}

/**
 * Counts a task with what it reserves, else with its limit. A service that runs on every node
 * counts once per member; what an update has in addition for a while is not counted.
 */
export function usageOf(
  services: ReadonlyMap<ServiceKey, Service>,
  namespace: string,
  nodes: number,
): NamespaceUsage {
  const usage = { services: 0, tasks: 0, cpuMillis: 0, memoryBytes: 0 };
  for (const { spec } of services.values()) {
    if (spec.namespace !== namespace) continue;
    const tasks = tasksOf(spec.mode, nodes);
    usage.services += 1;
    usage.tasks += tasks;
    usage.cpuMillis += tasks * (countedOf(spec.template, "cpuMillis") ?? 0);
    usage.memoryBytes += tasks * (countedOf(spec.template, "memoryBytes") ?? 0);
  }
  return usage;
}

/** Why a namespace may not have these services instead of those of `state`; undefined where it may. */
export function quotaRefusal(
  state: ClusterState,
  next: ReadonlyMap<ServiceKey, Service>,
): string | undefined {
  if (state.quotas.size === 0) return undefined;
  const changed = new Set<string>();
  for (const [key, service] of next) {
    if (state.services.get(key) !== service) changed.add(service.spec.namespace);
  }
  for (const namespace of changed) {
    const quota = state.quotas.get(namespace);
    if (quota === undefined) continue;
    const refusal = unmeasured(state, next, namespace) ?? excess(state, next, namespace, quota);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** What is over the quota already may stay and shrink, not grow. */
function excess(
  { services, nodes }: ClusterState,
  next: ReadonlyMap<ServiceKey, Service>,
  namespace: string,
  quota: Quota,
): string | undefined {
  const before = usageOf(services, namespace, nodes.size);
  const after = usageOf(next, namespace, nodes.size);
  for (const amount of amounts) {
    const most = quota[amount];
    if (most === undefined || after[amount] <= most || after[amount] <= before[amount]) continue;
    const shown = (count: number) => amountText(amount, count);
    return `The quota of namespace ${namespace} is ${shown(most)}; it has ${shown(before[amount])}, and would have ${shown(after[amount])}. See: skein ns ls`;
  }
  return undefined;
}

/** Where CPU or memory is limited, every new or changed service has to say how much it needs. */
function unmeasured(
  { services, quotas }: ClusterState,
  next: ReadonlyMap<ServiceKey, Service>,
  namespace: string,
): string | undefined {
  const quota = quotas.get(namespace);
  for (const [key, service] of next) {
    const { spec } = service;
    if (spec.namespace !== namespace || services.get(key) === service) continue;
    for (const amount of ["cpuMillis", "memoryBytes"] as const) {
      if (quota?.[amount] === undefined || countedOf(spec.template, amount) !== undefined) continue;
      const word = amount === "cpuMillis" ? "cpus" : "memory";
      return `Namespace ${namespace} has a quota of ${amountText(amount, quota[amount])}, so ${key} has to say how much it needs: add \`deploy.resources.reservations.${word}\`.`;
    }
  }
  return undefined;
}

function countedOf(
  template: TaskTemplate,
  amount: "cpuMillis" | "memoryBytes",
): number | undefined {
  return reservationOf(template)[amount] ?? template.limits[amount];
}

function tasksOf(mode: Service["spec"]["mode"], nodes: number): number {
  switch (mode.kind) {
    case "replicated":
      return mode.replicas;
    case "replicated-job":
      return mode.parallelism;
    default:
      return nodes;
  }
}

function amountText(amount: Amount, count: number): string {
  if (amount === "cpuMillis") return `${count / 1_000} CPUs`;
  if (amount === "memoryBytes") return `${Math.round(count / 2 ** 20)} MiB of memory`;
  return `${count} ${amount}`;
}
