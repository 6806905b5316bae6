import { isJobMode, type ServiceSpec } from "../spec/index.ts";
import { type Applied, accepted, type CommandOf, rejected, withEntry } from "./applied.ts";
import { withRevision } from "./apply-rollback.ts";
import type { ClusterState, Service } from "./cluster-state.ts";
import { unexpectedChange } from "./expected-versions.ts";

/** Restarts, stops and starts a service, whose description stays as it is. */
export function steerService(
  state: ClusterState,
  { service: key, action, nowMs, expected }: CommandOf<"steer_service">,
): Applied {
  const service = state.services.get(key);
  if (service === undefined) return rejected(state, "not_found", `No service ${key}.`);
  if (isJobMode(service.spec.mode)) {
    const message = `${key} is a job. Run it with: skein job run; stop its schedule with: skein cron suspend.`;
    return rejected(state, "invalid", message);
  }
  const changed = unexpectedChange(state, key, expected);
  if (changed !== undefined) return rejected(state, "conflict", changed);
  const isStopped = service.spec.isStopped === true;
  if (action === "restart" && isStopped) {
    return rejected(state, "conflict", `${key} is stopped. Start it with: skein start ${key}`);
  }
  if (isStopped === (action === "stop") && action !== "restart") return accepted(state);
  const next = steered(service, action, { index: state.index, nowMs });
  return accepted({ ...state, services: withEntry(state.services, key, next) });
}

function steered(
  service: Service,
  action: CommandOf<"steer_service">["action"],
  { index, nowMs }: { readonly index: number; readonly nowMs: number },
): Service {
  if (action === "restart") {
    const record = { index, atMs: nowMs, cause: "restart" } as const;
    const next = withRevision(service, service.spec.template, record);
    return { ...next, updatedAtMs: nowMs, rollout: "normal" };
  }
  const { isStopped: _before, ...rest } = service.spec;
  const spec: ServiceSpec = action === "stop" ? { ...rest, isStopped: true } : rest;
  return { ...service, spec, version: index, updatedAtMs: nowMs };
}
