/** What happened, and why: events made of what was agreed and seen, and the journal of them. */
export { agreedEvents } from "./agreed-events.ts";
export { placedEvent } from "./agreed-task-events.ts";
export {
  type ClusterEvent,
  type EventDraft,
  type EventObject,
  identityOf,
  nodeNameIn,
  nodeObject,
  objectText,
  serviceObject,
} from "./event.ts";
export { readEvent } from "./event-codec.ts";
export { defaultJournalLimits, type Gap } from "./journal-limits.ts";
export {
  logStatusEvents,
  type MemberBelief,
  MemberWatch,
  quorumEvent,
} from "./observed-cluster-events.ts";
export { aboutTask, taskStatusEvents } from "./observed-task-events.ts";
export { pastOf } from "./past.ts";
export { type PendingReplica, PendingWatch } from "./pending-watch.ts";
export { type EventReason, type EventType, eventReasons } from "./reasons.ts";
export {
  type EventSelection,
  isSelected,
  maxSelectedEvents,
  NewestEvents,
} from "./selection.ts";
