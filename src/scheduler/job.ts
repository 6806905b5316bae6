import type { JobRun, Service, Task } from "../cluster/index.ts";
import type { NodeId, ServiceKey } from "../kernel/index.ts";
import type { ServiceSpec, TaskTemplate } from "../spec/index.ts";
import { countByNode, type Draft } from "./draft.ts";
import { explainBackOff, explainUnplaceable } from "./explain.ts";
import { failuresByNode } from "./failures.ts";
import { startDueRuns } from "./job-schedule.ts";
import { unmetConstraint } from "./node-attributes.ts";
import { place } from "./placement.ts";
import { makeRoom } from "./preemption.ts";

type JobMode = Extract<ServiceSpec["mode"], { readonly kind: "replicated-job" | "global-job" }>;

/** One thing that a run has to get done: a slot, or a node of a job that runs on every one. */
type Place = { readonly slot: number; readonly only: NodeId | undefined };

/** The output of the tasks of so many ended runs is kept. */
const keptRuns = 5;
/** How long a job that is removed at its end is kept after it. */
const keptAfterEndMs = 10_000;
const backOffFirstMs = 1_000;
const backOffMaxMs = 60_000;

/**
 * Brings the runs of a job forward: starts what is due, notes what has ended, tries again
 * what failed, and ends a run when all its places succeeded or one failed too often.
 */
export function planJob(draft: Draft, key: ServiceKey, service: Service, mode: JobMode): void {
  noteResults(draft, key);
  const runs = startDueRuns(draft, key, service);
  for (const run of runs) {
    if (draft.isFull) return;
    if (run.state === "active") advance(draft, { key, service, mode, run });
  }
  dropOldRuns(draft, key, runs);
  if (service.spec.removedAtEnd) removeEnded(draft, key, runs);
}

/** Not at once, so that there is a moment to see how it ended. */
function removeEnded(draft: Draft, key: ServiceKey, runs: readonly JobRun[]): void {
  const last = runs.at(-1);
  if (last === undefined || runs.some(({ state }) => state === "active")) return;
  const removeAtMs = (last.endedAtMs ?? last.startedAtMs) + keptAfterEndMs;
  if (removeAtMs > draft.facts.now) draft.wakeAt(removeAtMs);
  else draft.remove(key);
}

/** Agrees on what nodes report of tasks that ended, and stops those whose node is lost or drains. */
function noteResults(draft: Draft, key: ServiceKey): void {
  const { facts } = draft;
  for (const task of draft.activeOf(key)) {
    const node = facts.nodes.get(task.nodeId);
    const status = facts.status(task);
    if (task.run === undefined) {
      draft.stop(task, "The service became a job.");
    } else if (status?.phase === "completed" || status?.phase === "failed") {
      const outcome = status.phase === "completed" ? "succeeded" : "failed";
      const { exitCode, message, sinceMs: atMs } = status;
      const code = exitCode === undefined ? {} : { exitCode };
      draft.finish(task, { outcome, ...code, message, atMs });
    } else if (node === undefined) {
      draft.forget(task);
    } else if (facts.isLost(task)) {
      draft.stop(task, "Its node was lost.");
    } else if (node.node.eligibility === "drain") {
      draft.stop(task, "Its node is draining.");
    } else {
      const lostAtMs = facts.lostAtMs(task);
      if (lostAtMs !== undefined) draft.wakeAt(lostAtMs);
    }
  }
}

type RunInput = {
  readonly key: ServiceKey;
  readonly service: Service;
  readonly mode: JobMode;
  readonly run: JobRun;
};

function advance(draft: Draft, input: RunInput): void {
  const { key, service, mode, run } = input;
  const template = service.templates.get(run.revision);
  if (template === undefined) {
    end(draft, input, "failed", `Revision ${run.revision} is not known any more.`);
    return;
  }
  // Stopped ones do not count: of a service that was removed and made anew, runs have old numbers.
  const tasks = Map.groupBy(
    draft.runningOf(key).filter((task) => task.run === run.number),
    (task) => (mode.kind === "global-job" ? task.nodeId : task.slot),
  );
  const places = placesOf(draft, input);
  const open: { readonly place: Place; readonly failures: readonly Task[] }[] = [];
  let busy = 0;
  for (const place of places) {
    const known = tasks.get(place.only ?? place.slot) ?? [];
    if (known.some(({ result }) => result?.outcome === "succeeded")) continue;
    const failures = known.filter(({ result }) => result?.outcome === "failed");
    if (known.some((task) => isActive(task))) busy += 1;
    else if (failures.length > mode.retries) {
      end(draft, input, "failed", whyFailed(place, failures));
      return;
    } else open.push({ place, failures });
  }
  if (open.length === 0 && busy === 0 && places.length > 0) {
    end(draft, input, "succeeded", "");
    return;
  }
  const limit = mode.kind === "global-job" ? places.length : mode.parallelism;
  let started = 0;
  for (const { place, failures } of open) {
    if (busy + started >= limit || draft.isFull) return;
    if (startAttempt(draft, input, template, { place, failures })) started += 1;
  }
}

function placesOf(draft: Draft, { key, service, mode, run }: RunInput): readonly Place[] {
  if (mode.kind === "replicated-job") {
    return Array.from({ length: mode.completions }, (_, i) => ({ slot: i + 1, only: undefined }));
  }
  // A node that is missed for a moment may still be at work; one that is lost is not.
  const atWork = new Set(
    draft.activeOf(key).flatMap((task) => (task.run === run.number ? task.nodeId : [])),
  );
  return draft.facts.nodesInOrder
    .filter(({ node, status }) => status === "alive" || atWork.has(node.id))
    .filter(({ node }) => node.eligibility === "active")
    .filter((node) => unmetConstraint(service.spec, node) === undefined)
    .map(({ node }) => ({ slot: 1, only: node.id }));
}

function startAttempt(
  draft: Draft,
  { key, service, run }: RunInput,
  template: TaskTemplate,
  { place: where, failures }: { readonly place: Place; readonly failures: readonly Task[] },
): boolean {
  const { now } = draft.facts;
  const replica = { service: key, slot: where.slot };
  const last = failures.at(-1);
  if (last !== undefined) {
    const retryAtMs = retryAt(template, failures, now);
    if (retryAtMs > now) {
      draft.explain(explainBackOff(replica, { failures: failures.length, retryAtMs, now }));
      draft.wakeAt(retryAtMs);
      return false;
    }
  }
  const request = {
    service,
    template,
    ...where,
    siblings: countByNode(draft.activeOf(key)),
    failures: failuresByNode(failures),
    leaving: new Set<never>(),
  };
  const placement = place(draft.facts, draft.usages, request);
  if (placement.kind === "unplaceable") {
    if (makeRoom(draft, request, placement.refusals)) return true;
    draft.explain(explainUnplaceable(replica, placement.refusals));
    return false;
  }
  const reason =
    last === undefined
      ? `Run ${run.number} of the job.`
      : `Tries again in run ${run.number}: ${last.id} failed (${failures.length}).`;
  const { nodeId, why } = placement;
  const { number, revision } = run;
  draft.create({ ...replica, revision, nodeId, reason, placement: why, run: number }, template);
  return true;
}

/** 1 s, 2 s, 4 s … after the last failure, and never sooner than the manifest says. */
function retryAt(template: TaskTemplate, failures: readonly Task[], now: number): number {
  const pauseMs = Math.min(backOffFirstMs * 2 ** (failures.length - 1), backOffMaxMs);
  // A node whose clock is ahead must not make us wait longer.
  const failedAtMs = Math.min(now, Math.max(...failures.map(({ result }) => result?.atMs ?? 0)));
  return failedAtMs + Math.max(pauseMs, template.restart.delayMs);
}

function end(
  draft: Draft,
  { key, run }: RunInput,
  state: "succeeded" | "failed",
  message: string,
): void {
  draft.changeRun(key, { kind: "end", number: run.number, state, atMs: draft.facts.now, message });
  for (const task of draft.activeOf(key)) {
    if (task.run === run.number) draft.stop(task, `Run ${run.number} of the job has ${state}.`);
  }
}

function whyFailed({ slot, only }: Place, failures: readonly Task[]): string {
  const last = failures.at(-1)?.result;
  const where = only === undefined ? `task ${slot}` : "the task of one node";
  const times = failures.length === 1 ? "once" : `${failures.length} times`;
  return `${where} failed ${times}: ${last?.message || `exit code ${last?.exitCode ?? "unknown"}`}`;
}

/** Stops what belongs to no run that goes on, and forgets the output of old ones. */
function dropOldRuns(draft: Draft, key: ServiceKey, runs: readonly JobRun[]): void {
  const withTasks = runs.filter(({ state }) => state !== "active" && state !== "skipped");
  const kept = new Set(withTasks.slice(-keptRuns).map(({ number }) => number));
  const active = new Set(runs.flatMap(({ state, number }) => (state === "active" ? number : [])));
  for (const task of draft.runningOf(key)) {
    if (draft.isFull) return;
    if (task.run === undefined || active.has(task.run)) continue;
    if (isActive(task)) draft.stop(task, `Run ${task.run} of the job is over.`);
    else if (!kept.has(task.run)) draft.stop(task, `The last ${keptRuns} runs are kept.`);
  }
}

function isActive({ desired, result }: Task): boolean {
  return desired === "running" && result === undefined;
}
