/**
 * Decides what runs where: agreed and observed facts become one `update_tasks` command.
 * Pure and without memory; only the leader acts on it. Also says why a replica is pending.
 */
export {
  type Explanations,
  type Pending,
  type Refusal,
  type RefusalCode,
  whatWouldHelp,
} from "./explain.ts";
export type { SchedulerSettings } from "./facts.ts";
export type { Plan, PlanInput } from "./plan.ts";
export {
  type SchedulerLoop,
  type SchedulerLoopOptions,
  startSchedulerLoop,
} from "./scheduler-loop.ts";
export {
  compareOutcome,
  type ServiceOutcome,
  type Supposition,
  type WhatIf,
  whatIf,
} from "./what-if.ts";
export { explainService, type NodeVerdict, type ServiceExplanation } from "./why.ts";
