/**
 * Makes this node match: compares its agreed tasks with its containers, starts, restarts,
 * checks and stops them, and says how they are. Works without the rest of the cluster.
 */
export { type Agent, type AgentOptions, startAgent } from "./agent-loop.ts";
export type { ProbeResult } from "./health.ts";
export type { Probes } from "./health-monitor.ts";
