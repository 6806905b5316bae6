/**
 * The HTTP contract: routes with their schemas, what they answer, how failures look, and
 * the typed client. Every tool uses it; there is no other way in. What answers is in `server.ts`,
 * so that a command does not load it.
 */

export { ApiClient, type ApiTransport } from "./client.ts";
export {
  type ConsoleEnd,
  type ConsoleFrame,
  type ConsoleRequest,
  type ConsoleSize,
  consoleChunks,
  decodeConsoleFrame,
  encodeConsoleFrame,
} from "./console-frame.ts";
export {
  ConsoleLink,
  type ConsolePort,
  type ConsoleStream,
  type ConsoleTiming,
  consoleTiming,
} from "./console-link.ts";
export type { Handlers, RouteName } from "./contract.ts";
export type { EventsView, EventView, PastTaskView, PastView } from "./event-views.ts";
export type { IntentView } from "./intent-routes.ts";
export { type KeptVolume, type NamespaceView, quotaSchema } from "./namespace-routes.ts";
export type {
  DoctorLink,
  DoctorNode,
  DoctorView,
  Finding,
  NodeDetail,
  NodeView,
} from "./node-views.ts";
export type { PendingView, RevisionView, WhatIfView, WhyView } from "./planning-views.ts";
export { ApiError, type ProblemCode } from "./problem.ts";
export { timeText } from "./time-text.ts";
export type {
  AppliedChanges,
  Backup,
  Change,
  CreatedToken,
  JobView,
  LogEntry,
  RecoveryView,
  RunView,
  ServiceView,
  StatusView,
  TaskView,
  TokenView,
} from "./views.ts";
