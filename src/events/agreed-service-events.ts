import {
  type ClusterState,
  type JobRun,
  type RevisionRecord,
  type Service,
  sameValue,
} from "../cluster/index.ts";
import { type ServiceKey, splitServiceKey } from "../kernel/index.ts";
import { describeDifference } from "../spec/index.ts";
import type { AgreedStep } from "./agreed-step.ts";
import { type EventDraft, type EventObject, serviceObject, taskObject } from "./event.ts";

/** What became of services, their roll-outs, runs and schedules. */
export function serviceEvents({ before, after }: AgreedStep): readonly EventDraft[] {
  if (before.services === after.services) return [];
  const drafts: EventDraft[] = [];
  for (const [key, service] of after.services) {
    const known = before.services.get(key);
    if (known === service) continue;
    const object = serviceObject(key);
    drafts.push(
      ...(known === undefined
        ? [created(object, service)]
        : changed(after, key, { object, known, service })),
      ...runEvents(object, known?.runs ?? [], service.runs ?? []),
    );
  }
  for (const key of before.services.keys()) {
    if (after.services.has(key)) continue;
    const message = `${key} was removed.`;
    drafts.push({ reason: "ServiceRemoved", object: serviceObject(key), message });
  }
  return drafts;
}

function created(object: EventObject, { spec, revision }: Service): EventDraft {
  const { mode, template } = spec;
  const replicas = "replicas" in mode ? `, ${counted(mode.replicas, "replica")}` : "";
  const message = `Revision ${revision}: image ${template.image}, mode ${mode.kind}${replicas}.`;
  return { reason: "ServiceCreated", object, revision, message };
}

type Change = {
  readonly object: EventObject;
  readonly known: Service;
  readonly service: Service;
};

function changed(state: ClusterState, key: ServiceKey, change: Change): EventDraft[] {
  const { object, known, service } = change;
  const { revision } = service;
  const drafts: EventDraft[] = [];
  if (revision !== known.revision) drafts.push(newRevision(state, key, change));
  const [old, now] = [known.spec.mode, service.spec.mode];
  const isScaled =
    old.kind === "replicated" && now.kind === "replicated" && old.replicas !== now.replicas;
  if (isScaled) {
    const message = `${old.replicas} -> ${counted(now.replicas, "replica")}.`;
    drafts.push({ reason: "ServiceScaled", object, revision, message });
  }
  if (known.spec.isStopped !== service.spec.isStopped) {
    drafts.push(
      service.spec.isStopped === true
        ? { reason: "ServiceStopped", object, message: `Start it again with: skein start ${key}` }
        : { reason: "ServiceStarted", object, message: "Its tasks are placed again." },
    );
  }
  drafts.push(...rolloutEvents(state, key, change));
  const wasSuspended = known.spec.schedule?.isSuspended ?? false;
  const isSuspended = service.spec.schedule?.isSuspended ?? false;
  if (service.spec.schedule !== undefined && wasSuspended !== isSuspended) {
    drafts.push(
      isSuspended
        ? { reason: "ScheduleSuspended", object, message: "Nothing is started for now." }
        : { reason: "ScheduleResumed", object, message: "What was due meanwhile is left out." },
    );
  }
  // What else is different in the spec, and did not show yet.
  if (drafts.length === 0 && known.spec !== service.spec) {
    const message = differenceOf(known, service);
    if (message !== "") drafts.push({ reason: "ServiceChanged", object, revision, message });
  }
  return drafts;
}

function rolloutEvents(
  state: ClusterState,
  key: ServiceKey,
  { object, known, service }: Change,
): EventDraft[] {
  const { revision, rollout, pauseCause, promotedRevision, traffic } = service;
  const about = { object, revision };
  const drafts: EventDraft[] = [];
  if (traffic !== undefined && !sameValue(traffic.revisions, known.traffic?.revisions)) {
    const list = traffic.revisions.map((each) => `revision ${each}`).join(" and ");
    const message = `All requests go to ${list}.`;
    if (known.traffic !== undefined) drafts.push({ reason: "TrafficMoved", ...about, message });
  }
  if (promotedRevision !== undefined && promotedRevision !== known.promotedRevision) {
    const message = `The canary of revision ${promotedRevision} is over; the rest follows.`;
    drafts.push({ reason: "CanaryProven", ...about, message });
  }
  if (rollout === known.rollout && pauseCause === known.pauseCause) return drafts;
  if (rollout === "normal" && known.rollout === "paused" && revision === known.revision) {
    drafts.push({ reason: "RolloutResumed", ...about, message: `Revision ${revision} goes on.` });
  }
  if (rollout === "paused") drafts.push({ ...about, ...pauseOf(state, key, service) });
  return drafts;
}

function pauseOf(
  state: ClusterState,
  key: ServiceKey,
  { revision, pauseCause }: Service,
): Pick<EventDraft, "reason" | "message"> {
  const goOn = `Let it go on with: skein rollout resume ${splitServiceKey(key).name}`;
  switch (pauseCause) {
    case "canary":
      return { reason: "CanaryWaits", message: `Revision ${revision} waits. ${goOn}` };
    case "asked":
      return { reason: "RolloutHalted", message: `Revision ${revision} goes no further. ${goOn}` };
    default: {
      const why = failuresOf(state, key, revision);
      return { reason: "RolloutPaused", message: `Revision ${revision} goes no further: ${why}` };
    }
  }
}

function newRevision(state: ClusterState, key: ServiceKey, change: Change): EventDraft {
  const { object, known, service } = change;
  const { revision } = service;
  const record = service.revisions?.findLast((each) => each.revision === revision);
  const about = { object, revision };
  switch (record?.cause) {
    case "failed": {
      const why = failuresOf(state, key, known.revision);
      const message = `Revision ${known.revision} failed: ${why} ${broughtBack(record)}`;
      return { reason: "RolledBack", ...about, message };
    }
    case "restart": {
      const message = `Revision ${revision} is as the one before, in new containers.`;
      return { reason: "ServiceRestarted", ...about, message };
    }
    case "rollback":
      return { reason: "RollbackRequested", ...about, message: broughtBack(record) };
    default: {
      const message = `Revision ${revision}: ${differenceOf(known, service)}`;
      return { reason: "ServiceUpdated", ...about, message };
    }
  }
}

function broughtBack({ revision, source }: RevisionRecord): string {
  return `Revision ${revision} is revision ${source ?? revision - 1} again.`;
}

function differenceOf(known: Service, service: Service): string {
  return describeDifference(known.spec, service.spec).join(", ");
}

/** Why tasks of a revision were given up, the newest words first, each once. */
function failuresOf(state: ClusterState, key: ServiceKey, revision: number): string {
  const reasons = new Map<string, string>();
  for (const task of state.tasks.values()) {
    if (task.service !== key || task.revision !== revision) continue;
    const { stopReason = "" } = task;
    if (stopReason !== "") reasons.set(stopReason, taskObject(state, task).name);
  }
  const [latest] = [...reasons].toReversed();
  return latest === undefined ? "its new tasks failed." : `${latest[1]}: ${latest[0]}`;
}

/** Runs that began or ended. */
function runEvents(
  object: EventObject,
  before: readonly JobRun[],
  after: readonly JobRun[],
): readonly EventDraft[] {
  if (before === after) return [];
  const known = new Map(before.map((run) => [run.number, run]));
  return after.flatMap((run): EventDraft[] => {
    const was = known.get(run.number);
    if (was?.state === run.state) return [];
    const about = { object, revision: run.revision };
    const began = `Run ${run.number} began (${triggers[run.trigger]}).`;
    const ended = `Run ${run.number}: ${run.message || endTexts[run.state]}`;
    const hasBegun = was === undefined && run.state !== "skipped";
    const reason = endReasons[run.state];
    return [
      ...(hasBegun ? [{ reason: "RunStarted", ...about, message: began } as const] : []),
      ...(reason === undefined ? [] : [{ reason, ...about, message: ended }]),
    ];
  });
}

const endReasons: Readonly<Record<JobRun["state"], EventDraft["reason"] | undefined>> = {
  active: undefined,
  succeeded: "RunSucceeded",
  failed: "RunFailed",
  skipped: "RunSkipped",
  replaced: "RunReplaced",
};

const triggers: Readonly<Record<JobRun["trigger"], string>> = {
  deploy: "the service was submitted",
  schedule: "it was due",
  manual: "somebody asked for it",
};

const endTexts: Readonly<Record<JobRun["state"], string>> = {
  active: "goes on.",
  succeeded: "all is done.",
  failed: "failed.",
  skipped: "the run before still went on.",
  replaced: "a newer run took its place.",
};

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
