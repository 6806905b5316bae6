import type { ServiceKey } from "../kernel/index.ts";
import { type Applied, accepted, type CommandOf, rejected } from "./applied.ts";
import { withoutServices } from "./apply-services.ts";
import type { ClusterState } from "./cluster-state.ts";
import { unexpectedChange } from "./expected-versions.ts";

/** Everything in it and its quota. The data of volumes stays where it is. */
export function removeNamespace(
  state: ClusterState,
  { namespace, expected }: CommandOf<"remove_namespace">,
): Applied {
  const keys = servicesIn(state, namespace);
  if (keys.length === 0 && !state.quotas.has(namespace) && expected === undefined) {
    return rejected(state, "not_found", `There is nothing in namespace ${namespace}.`);
  }
  for (const key of keys) {
    const changed = unexpectedChange(state, key, expected);
    if (changed !== undefined) return rejected(state, "conflict", changed);
  }
  const quotas = new Map(state.quotas);
  quotas.delete(namespace);
  return accepted({ ...withoutServices(state, keys), quotas });
}

export function servicesIn({ services }: ClusterState, namespace: string): readonly ServiceKey[] {
  return [...services].flatMap(([key, { spec }]) => (spec.namespace === namespace ? [key] : []));
}
