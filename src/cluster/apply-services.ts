import type { ServiceKey, TaskId } from "../kernel/index.ts";
import type { ServiceSpec } from "../spec/index.ts";
import { type Applied, accepted, type CommandOf, rejected, stopped, withEntry } from "./applied.ts";
import { dueAfterChange } from "./apply-jobs.ts";
import { withRevision } from "./apply-rollback.ts";
import { type ClusterState, keyOf, type Service } from "./cluster-state.ts";
import { unexpectedChange } from "./expected-versions.ts";
import { quotaRefusal } from "./quota.ts";
import { findRouteConflict } from "./route-conflict.ts";
import { sameValue } from "./same-value.ts";
import type { Task } from "./task.ts";
import { withTrafficHeld } from "./traffic.ts";

export function putServices(
  state: ClusterState,
  { specs, nowMs, expected, onlyNew = false }: CommandOf<"put_services">,
): Applied {
  const known = specs.map(keyOf).find((key) => state.services.has(key));
  if (onlyNew && known !== undefined) {
    const message = `There is a service ${known} already. Choose another name, or remove it: skein rm ${known}`;
    return rejected(state, "conflict", message);
  }
  const services = new Map<ServiceKey, Service>(state.services);
  for (const spec of specs) {
    const key = keyOf(spec);
    const before = services.get(key);
    const next = nextService(before, spec, { index: state.index, nowMs });
    const changed = next === before ? undefined : unexpectedChange(state, key, expected);
    if (changed !== undefined) return rejected(state, "conflict", changed);
    services.set(key, next);
  }
  const conflict = findRouteConflict(services, new Set(specs.map(keyOf)));
  if (conflict !== undefined) return rejected(state, "port_taken", conflict);
  const refusal = quotaRefusal(state, services);
  if (refusal !== undefined) return rejected(state, "quota_exceeded", refusal);
  return accepted({ ...state, services });
}

function nextService(
  before: Service | undefined,
  spec: ServiceSpec,
  { index, nowMs }: { readonly index: number; readonly nowMs: number },
): Service {
  if (before === undefined) {
    return {
      spec,
      revision: 1,
      version: index,
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
      rollout: "normal",
      templates: new Map([[1, spec.template]]),
      revisions: [{ revision: 1, index, atMs: nowMs, cause: "submitted" }],
      ...dueAfterChange(undefined, spec, nowMs),
    };
  }
  // Submitting the same file again must change nothing, not even the version.
  if (sameValue(before.spec, spec)) return before;
  const changed = {
    ...before,
    spec,
    version: index,
    updatedAtMs: nowMs,
    ...dueAfterChange(before, spec, nowMs),
  };
  if (sameValue(before.spec.template, spec.template)) return withTrafficHeld(before, changed);
  const record = { index, atMs: nowMs, cause: "submitted" } as const;
  return { ...withRevision(changed, spec.template, record), rollout: "normal" };
}

export function scaleService(state: ClusterState, command: CommandOf<"scale_service">): Applied {
  const service = state.services.get(command.service);
  if (service === undefined) return rejected(state, "not_found", `No service ${command.service}.`);
  if (service.spec.mode.kind !== "replicated") {
    return rejected(state, "invalid", command.service + whyNotScaled(service.spec.mode));
  }
  const { isStopped: _before, ...described } = service.spec;
  const spec: ServiceSpec = {
    ...described,
    mode: { kind: "replicated", replicas: command.replicas },
  };
  const next = nextService(service, spec, { index: state.index, nowMs: command.nowMs });
  const changed =
    next === service ? undefined : unexpectedChange(state, command.service, command.expected);
  if (changed !== undefined) return rejected(state, "conflict", changed);
  const services = withEntry(state.services, command.service, next);
  const refusal = quotaRefusal(state, services);
  if (refusal !== undefined) return rejected(state, "quota_exceeded", refusal);
  return accepted({ ...state, services });
}

function whyNotScaled({ kind }: ServiceSpec["mode"]): string {
  return kind === "replicated-job"
    ? " is a job; change its `deploy.replicas` in its file instead."
    : ` runs once on every node (mode ${kind}); it cannot be scaled.`;
}

export function removeServices(
  state: ClusterState,
  command: CommandOf<"remove_services">,
): Applied {
  const missing = command.services.find((key) => !state.services.has(key));
  // Whoever said what was expected may come late: what is gone is as it was asked for.
  if (missing !== undefined && command.expected === undefined) {
    return rejected(state, "not_found", `No service ${missing}.`);
  }
  for (const key of command.services) {
    const changed = state.services.has(key)
      ? unexpectedChange(state, key, command.expected)
      : undefined;
    if (changed !== undefined) return rejected(state, "conflict", changed);
  }
  return accepted(withoutServices(state, command.services));
}

/** The state without these services, and with their tasks stopped. */
export function withoutServices(state: ClusterState, keys: readonly ServiceKey[]): ClusterState {
  const services = new Map<ServiceKey, Service>(state.services);
  for (const key of keys) services.delete(key);
  const tasks = new Map<TaskId, Task>(state.tasks);
  for (const task of state.tasks.values()) {
    if (!services.has(task.service)) {
      tasks.set(task.id, stopped(task, state.index, "the service was removed"));
    }
  }
  return { ...state, services, tasks };
}
