import { nodeEvents } from "./agreed-node-events.ts";
import { serviceEvents } from "./agreed-service-events.ts";
import type { AgreedStep } from "./agreed-step.ts";
import { taskEvents } from "./agreed-task-events.ts";
import { type ClusterEvent, clusterObject, type EventDraft, eventOf } from "./event.ts";

/** More of one entry are not told one by one. */
export const maxEventsPerEntry = 2_000;

/**
 * What an entry of the log brought about, as events. Every node makes the same ones of the same
 * entry, so that whoever is asked can tell.
 */
export function agreedEvents(
  step: AgreedStep,
  { timeMs }: { readonly timeMs: number },
): readonly ClusterEvent[] {
  const drafts = draftsOf(step);
  const told = drafts.slice(0, maxEventsPerEntry);
  const left = drafts.length - told.length;
  const message = `${left} more changes of this log entry are not told one by one.`;
  if (left > 0) told.push({ reason: "EventsLost", object: clusterObject, message });
  const { index } = step.after;
  return told.map((draft, sequence) => eventOf(draft, { by: "log", sequence, index, timeMs }));
}

function draftsOf(step: AgreedStep): EventDraft[] {
  return [...clusterEvents(step), ...nodeEvents(step), ...serviceEvents(step), ...taskEvents(step)];
}

function clusterEvents({ before, after }: AgreedStep): readonly EventDraft[] {
  const drafts: EventDraft[] = [];
  const tell = (reason: EventDraft["reason"], message: string) =>
    drafts.push({ reason, object: clusterObject, message });
  if (before.clusterId === "" && after.clusterId !== "") {
    tell("ClusterCreated", `Cluster ${after.clusterId} was made.`);
  }
  if (before.maxVoters !== after.maxVoters && after.maxVoters !== undefined) {
    tell("VoterLimitChanged", `At most ${after.maxVoters} nodes vote.`);
  }
  if (before.tokens === after.tokens) return drafts;
  for (const { id, role } of after.tokens.values()) {
    if (!before.tokens.has(id)) tell("TokenCreated", `Token ${id} for role ${role} was made.`);
  }
  return drafts;
}
