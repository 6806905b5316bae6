import { type Applied, accepted, type CommandOf, rejected, withEntry } from "./applied.ts";
import { withRevision } from "./apply-rollback.ts";
import { type ClusterState, rolloutOf, type Service } from "./cluster-state.ts";
import type { RolloutChange } from "./command.ts";

/** What the planner decided about a roll-out: halted, undone, or going on. */
export function withRollout(service: Service, change: RolloutChange, index: number): Service {
  if (change.state === "rolled_back") return rolledBack(service, index);
  const { pauseCause: _before, ...before } = service;
  const rest =
    change.promoted === undefined ? before : { ...before, promotedRevision: change.promoted };
  if (change.state === "normal") return { ...rest, rollout: "normal" };
  return { ...rest, rollout: "paused", pauseCause: change.cause ?? "failed" };
}

/** The revision before, brought back as a new one: history only goes forward. */
function rolledBack(service: Service, index: number): Service {
  const previous = [...service.templates.keys()].filter((each) => each < service.revision);
  const template = service.templates.get(Math.max(...previous));
  if (template === undefined) return { ...service, rollout: "paused", pauseCause: "failed" };
  const source = Math.max(...previous);
  const next = withRevision(service, template, { index, cause: "failed", source });
  return { ...next, rollout: "rolled_back" };
}

/** A person halts a roll-out, or lets a halted one go on: its failures so far are forgiven. */
export function steerRollout(
  state: ClusterState,
  { service: key, action, nowMs }: CommandOf<"steer_rollout">,
): Applied {
  const service = state.services.get(key);
  if (service === undefined) return rejected(state, "not_found", `No service ${key}.`);
  const isPaused = service.rollout === "paused";
  if (action === "pause" && isPaused) {
    return rejected(state, "conflict", `The roll-out of ${key} is paused already.`);
  }
  const isHeld = service.pauseCause === "canary" || (!isPaused && hasCanary(service));
  if (action === "resume" && !isPaused && !isHeld) {
    return rejected(state, "conflict", `The roll-out of ${key} is not paused.`);
  }
  const { pauseCause: _cause, ...rest } = service;
  const changed = { ...rest, version: state.index, updatedAtMs: nowMs };
  const next: Service =
    action === "pause"
      ? { ...changed, rollout: "paused", pauseCause: "asked" }
      : {
          ...changed,
          rollout: "normal",
          resumedAtIndex: state.index,
          ...(isHeld ? { promotedRevision: service.revision } : {}),
        };
  return accepted({ ...state, services: withEntry(state.services, key, next) });
}

function hasCanary(service: Service): boolean {
  return (
    rolloutOf(service).strategy?.kind === "canary" && service.promotedRevision !== service.revision
  );
}
