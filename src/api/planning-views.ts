import { z } from "zod";
import { eventViewSchema } from "./event-views.ts";
import { changeSchema, taskViewSchema } from "./views.ts";

/** What explains decisions, and what would be decided. */

const nodeVerdictSchema = z.object({ node: z.string(), fits: z.boolean(), message: z.string() });

export const pendingViewSchema = z.object({
  service: z.string(),
  slot: z.number(),
  cause: z.enum(["unplaceable", "backing_off", "waiting_for_stop", "waiting_for_dependency"]),
  message: z.string(),
  nodes: z.array(nodeVerdictSchema),
  /** What could be done; empty when waiting is enough. */
  wouldHelp: z.string(),
});

export const whyViewSchema = z.object({
  service: z.string(),
  revision: z.number(),
  /** Log index of the state that the answer is made from. */
  index: z.number(),
  leader: z.string().nullable(),
  tasks: z.array(taskViewSchema.extend({ stopReason: z.string() })),
  pending: z.array(pendingViewSchema),
  /** What each node would say to one more task. */
  nodes: z.array(nodeVerdictSchema),
  /** What happened to the service and its tasks lately, the oldest first. */
  events: z.array(eventViewSchema).default([]),
  /** Nodes whose own observations are missing among the events. */
  unreachable: z.array(z.string()).default([]),
});

export const revisionViewSchema = z.object({
  revision: z.number(),
  /** Null where it is not known. */
  createdAt: z.string().nullable(),
  index: z.number(),
  by: z.enum(["submitted", "restart", "rollback", "failed"]),
  /** Empty when its template is not kept any more: then nobody can go back to it. */
  image: z.string(),
  changes: z.array(z.string()),
  status: z.enum(["current", "kept", "forgotten"]),
});

export const whatIfViewSchema = z.object({
  /** Of the submitted and scaled services themselves. */
  changes: z.array(changeSchema),
  /** Where tasks would start, end and move; only of services that differ. */
  services: z.array(
    z.object({
      service: z.string(),
      before: z.number(),
      after: z.number(),
      moves: z.array(
        z.object({ slot: z.number(), from: z.string().nullable(), to: z.string().nullable() }),
      ),
    }),
  ),
  pending: z.array(pendingViewSchema),
  isComplete: z.boolean(),
});

export type PendingView = z.infer<typeof pendingViewSchema>;
export type WhyView = z.infer<typeof whyViewSchema>;
export type RevisionView = z.infer<typeof revisionViewSchema>;
export type WhatIfView = z.infer<typeof whatIfViewSchema>;
