import { type Applied, accepted, type CommandOf, rejected, withEntry } from "./applied.ts";
import type { ClusterState, RevisionRecord, Service } from "./cluster-state.ts";
import { unexpectedChange } from "./expected-versions.ts";
import { quotaRefusal } from "./quota.ts";
import { sameValue } from "./same-value.ts";
import { withTrafficHeld } from "./traffic.ts";

/** Templates of so many newest revisions are kept to go back to. */
export const keptRevisions = 5;
/** So many revisions are remembered by when and why they were made. */
const maxRevisionRecords = 20;

/** Brings an older revision back as a new one: history only goes forward. */
export function rollBackService(
  state: ClusterState,
  { service: key, revision, nowMs, expected }: CommandOf<"roll_back_service">,
): Applied {
  const service = state.services.get(key);
  if (service === undefined) return rejected(state, "not_found", `No service ${key}.`);
  const changed = unexpectedChange(state, key, expected);
  if (changed !== undefined) return rejected(state, "conflict", changed);
  const wanted = revision ?? previousRevision(service);
  const template = wanted === undefined ? undefined : service.templates.get(wanted);
  if (wanted === undefined || template === undefined) {
    const which = wanted === undefined ? "earlier revision" : `revision ${wanted}`;
    const message = `Service ${key} has no ${which} to go back to. See: skein history`;
    return rejected(state, "not_found", message);
  }
  if (sameValue(template, service.spec.template)) {
    return rejected(state, "conflict", `Revision ${wanted} is what ${key} runs already.`);
  }
  const record = { index: state.index, atMs: nowMs, cause: "rollback", source: wanted } as const;
  const next: Service = {
    ...withRevision(service, template, record),
    updatedAtMs: nowMs,
    rollout: "normal",
  };
  const services = withEntry(state.services, key, next);
  const refusal = quotaRefusal(state, services);
  if (refusal !== undefined) return rejected(state, "quota_exceeded", refusal);
  return accepted({ ...state, services });
}

/** The service with one more revision, and the note of how it came about. */
export function withRevision(
  service: Service,
  template: Service["spec"]["template"],
  record: Omit<RevisionRecord, "revision">,
): Service {
  const revision = service.revision + 1;
  const {
    pauseCause: _cause,
    resumedAtIndex: _resumed,
    restartedAtRevision: _restarted,
    ...before
  } = service;
  const restart = record.cause === "restart" ? { restartedAtRevision: revision } : {};
  const next: Service = {
    ...before,
    ...restart,
    spec: { ...service.spec, template },
    revision,
    version: record.index,
    templates: withEntry(service.templates, revision, template),
    revisions: [...(service.revisions ?? []), { revision, ...record }].slice(-maxRevisionRecords),
  };
  return withTrafficHeld(service, next);
}

/** The newest revision that is made of something else than the present one. */
function previousRevision({ revision, templates, spec }: Service): number | undefined {
  const others = [...templates].filter(
    ([number, template]) => number < revision && !sameValue(template, spec.template),
  );
  return others.length === 0 ? undefined : Math.max(...others.map(([number]) => number));
}
