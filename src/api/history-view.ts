import type { Service } from "../cluster/index.ts";
import { describeDifference } from "../spec/index.ts";
import type { RevisionView } from "./planning-views.ts";
import { timeText } from "./time-text.ts";

/** The revisions of a service, the newest first. */
export function historyView({ revision, revisions, templates, spec }: Service): RevisionView[] {
  const records = revisions ?? [...templates.keys()].map((each) => ({ revision: each, index: 0 }));
  return records.toReversed().map((record) => {
    const template = templates.get(record.revision);
    const before = templates.get(record.revision - 1);
    const isCurrent = record.revision === revision;
    return {
      revision: record.revision,
      createdAt: "atMs" in record && record.atMs !== undefined ? timeText(record.atMs) : null,
      index: record.index,
      by: "cause" in record ? record.cause : "submitted",
      image: template?.image ?? "",
      changes:
        template === undefined || before === undefined
          ? []
          : [...describeDifference({ ...spec, template: before }, { ...spec, template })],
      status: isCurrent ? "current" : template === undefined ? "forgotten" : "kept",
    };
  });
}
