import type { ServiceKey } from "../kernel/index.ts";
import { servicesIn } from "./apply-namespaces.ts";
import { type ClusterState, keyOf, type Service } from "./cluster-state.ts";
import type { Command, Outcome } from "./command.ts";
import { sameValue } from "./same-value.ts";

/**
 * What came of a command whose entry was never applied here, because a snapshot overtook it,
 * as far as the state that came tells: its trace is there, or all is as it asked for.
 * `undefined` where neither can be seen.
 */
export function laterOutcome(
  state: ClusterState,
  { command, index }: { readonly command: Command; readonly index: number },
): Outcome | undefined {
  const keys = servicesOf(state, command);
  if (keys === undefined) return undefined;
  const services = keys.map((key) => state.services.get(key));
  const hasTrace = services.some((service) => service !== undefined && isMadeAt(service, index));
  return hasTrace || isAsAsked(command, services) ? { kind: "accepted", index } : undefined;
}

function servicesOf(state: ClusterState, command: Command): readonly ServiceKey[] | undefined {
  switch (command.kind) {
    case "put_services":
      return command.specs.map(keyOf);
    case "remove_services":
      return command.services;
    case "remove_namespace":
      return servicesIn(state, command.namespace);
    case "scale_service":
    case "roll_back_service":
    case "steer_service":
      return [command.service];
    default:
      return undefined;
  }
}

function isMadeAt({ version, revisions = [] }: Service, index: number): boolean {
  return version === index || revisions.some((record) => record.index === index);
}

function isAsAsked(command: Command, services: readonly (Service | undefined)[]): boolean {
  switch (command.kind) {
    case "put_services":
      return command.specs.every((spec, i) => sameValue(services[i]?.spec, spec));
    case "remove_services":
    case "remove_namespace":
      return services.every((service) => service === undefined);
    case "scale_service":
      return services.every((service) => hasReplicas(service, command.replicas));
    default:
      return false;
  }
}

function hasReplicas(service: Service | undefined, replicas: number): boolean {
  if (service?.spec.mode.kind !== "replicated" || service.spec.isStopped) return false;
  return service.spec.mode.replicas === replicas;
}
