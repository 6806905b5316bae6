import { z } from "zod";

/** What happened, and what was where at a time in the past. */

const time = z.string();

export const eventViewSchema = z.object({
  /** The same for the same happening, whichever node is asked. */
  id: z.string(),
  time,
  type: z.enum(["Normal", "Warning"]),
  reason: z.string(),
  /** `task/shop/web.2`, `service/shop/web`, `node/n1` or `cluster`. */
  object: z.string(),
  objectId: z.string().nullable(),
  namespace: z.string().nullable(),
  /** Of the task or the service itself. */
  service: z.string().nullable(),
  node: z.string().nullable(),
  message: z.string(),
  revision: z.number().nullable(),
  /** Log index: of the decision; else how far the node that saw it had come. */
  index: z.number(),
  /** Whether it was agreed by all, or seen by one node. */
  isAgreed: z.boolean(),
});

export const eventsViewSchema = z.object({
  /** The oldest first. */
  events: z.array(eventViewSchema),
  /** Nodes whose own observations are missing, as they do not answer. */
  unreachable: z.array(z.string()),
  /** There are older ones that were left out. */
  isCut: z.boolean(),
});

export const pastTaskViewSchema = z.object({
  name: z.string(),
  id: z.string(),
  node: z.string(),
  revision: z.number().nullable(),
  /** What had happened to it last: `Placed`, `Started`, `Healthy`, `Restarted`, … */
  state: z.string(),
  placedAt: time,
  /** Log index of the decision. */
  index: z.number(),
  events: z.array(eventViewSchema),
});

export const pastViewSchema = z.object({
  object: z.string(),
  at: time,
  /** Since when the asked node has a history; null when it has none. */
  keptSince: time.nullable(),
  /** That were there at the time. */
  tasks: z.array(pastTaskViewSchema),
  /** What waited at the time. */
  pending: z.array(eventViewSchema),
  /** What had happened to the service itself, the last ones. */
  service: z.array(eventViewSchema),
  unreachable: z.array(z.string()),
});

export type EventView = z.infer<typeof eventViewSchema>;
export type EventsView = z.infer<typeof eventsViewSchema>;
export type PastTaskView = z.infer<typeof pastTaskViewSchema>;
export type PastView = z.infer<typeof pastViewSchema>;
