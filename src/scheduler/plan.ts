import {
  type ClusterState,
  compareText,
  type Observations,
  rolloutOf,
  type Service,
} from "../cluster/index.ts";
import type { NodeId, ServiceKey, TaskId } from "../kernel/index.ts";
import { isJobMode } from "../spec/index.ts";
import { planBlueGreen } from "./blue-green.ts";
import { judgeCanary } from "./canary.ts";
import { Draft, type UpdateTasks } from "./draft.ts";
import type { Explanations } from "./explain.ts";
import { defaultSchedulerSettings, Facts, priorityOf, type SchedulerSettings } from "./facts.ts";
import { stopFailedTasks } from "./failures.ts";
import { forgetEnded } from "./forget.ts";
import { planJob } from "./job.ts";
import { globalPositions, occupiedSlots, type Position } from "./positions.ts";
import { stopExcessReplicas, stopMisplacedGlobals, vacantSlots } from "./replicas.ts";
import { judgeRollout, settlePositions } from "./rollout.ts";

export type PlanInput = {
  readonly state: ClusterState;
  readonly observations: Observations;
  /** Wall clock, ms. */
  readonly now: number;
  /** A new id at every call; the only thing about a plan that may differ between leaders. */
  readonly newTaskId: () => TaskId;
  readonly settings?: SchedulerSettings;
  /** Since when this leader has been looking, wall clock, ms; absent: for ever. */
  readonly leaderSinceMs?: number;
  /** Of nodes that are suspect or failed: for how long this leader has seen that, ms. */
  readonly silentForMs?: ReadonlyMap<NodeId, number>;
  /** Of stopped tasks: for how long this leader has seen that, by its monotonic clock, ms. */
  readonly stoppedForMs?: ReadonlyMap<TaskId, number>;
};

export type Plan = {
  /** What to submit; absent when all is as it should be, as far as that is possible now. */
  readonly command: UpdateTasks | undefined;
  readonly explanations: Explanations;
  /** When to plan again though nothing has changed, wall clock, ms. */
  readonly nextWakeMs?: number;
};

/**
 * Decides which tasks should run where. Pure and without memory: progress is visible in the
 * tasks, so that the next leader goes on by planning again. One plan need not reach the
 * goal; it is called again after every change.
 */
export function plan(input: PlanInput): Plan {
  const settings = input.settings ?? defaultSchedulerSettings;
  const leaderSinceMs = input.leaderSinceMs ?? Number.NEGATIVE_INFINITY;
  const facts = new Facts({ ...input, settings, leaderSinceMs });
  const draft = new Draft(facts, input.newTaskId);
  // The higher ones choose first, so that nobody is given a place only to lose it again.
  const services = [...input.state.services].sort(
    ([a, left], [b, right]) => priorityOf(right) - priorityOf(left) || compareText(a, b),
  );
  for (const [key, service] of services) {
    if (draft.isFull) break;
    planService(draft, key, service);
  }
  for (const key of draft.serviceKeys()) {
    const service = input.state.services.get(key);
    if (service === undefined) stopOrphans(draft, key);
    forgetEnded(draft, key, service);
  }
  return draft.outcome();
}

function planService(draft: Draft, key: ServiceKey, service: Service): void {
  const { mode } = service.spec;
  if (isJobMode(mode)) {
    planJob(draft, key, service, mode);
    return;
  }
  stopRuns(draft, key);
  if (service.spec.isStopped === true) {
    for (const task of draft.runningOf(key)) draft.stop(task, "The service was stopped.");
    return;
  }
  stopFailedTasks(draft, key);
  if (judgeRollout(draft, key, service)) return;
  judgeCanary(draft, key, service);
  const settle = (wanted: Service) =>
    settlePositions(draft, wanted, positionsOf(draft, key, wanted));
  const { strategy } = rolloutOf(service);
  if (strategy?.kind !== "blue-green") settle(service);
  else planBlueGreen(draft, key, { service, keepMs: strategy.keepMs }, settle);
}

function positionsOf(draft: Draft, key: ServiceKey, service: Service): readonly Position[] {
  if (service.spec.mode.kind === "global") {
    const positions = globalPositions(draft, key, service);
    stopMisplacedGlobals(draft, key, positions);
    return positions;
  }
  stopExcessReplicas(draft, key, service);
  const occupied = occupiedSlots(draft, key, service);
  return [...occupied, ...vacantSlots(draft, key, service, occupied)];
}

/** What is left of a job that was changed into a service that runs all the time. */
function stopRuns(draft: Draft, key: ServiceKey): void {
  for (const task of draft.runningOf(key)) {
    if (task.run !== undefined) draft.stop(task, "The service is no job any more.");
  }
}

/** Tasks of a service that does not exist: removing it stops them, so this only makes sure. */
function stopOrphans(draft: Draft, key: ServiceKey): void {
  for (const task of draft.runningOf(key)) draft.stop(task, "The service was removed.");
}
