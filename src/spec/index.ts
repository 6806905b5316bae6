/**
 * What a user writes: a Compose file becomes validated {@link ServiceSpec}s, or a list of
 * problems with file, line and column.
 */
export { describeDifference, sameTemplate, specRevisionFingerprint } from "./compare.ts";
export { isJobMode, runsPerNode } from "./compile-job.ts";
export { usualRollback } from "./compile-rollout.ts";
export { parseCron } from "./cron.ts";
export { lastDueMs, nextDueMs } from "./cron-time.ts";
export { formatProblem } from "./diagnostics.ts";
export { readDotEnvFile } from "./dot-env.ts";
export { fenceMarginMs, fenceNoticeMs, leaseMs } from "./fence.ts";
export { manifestSchema } from "./json-schema.ts";
export { type LintedManifest, lintManifest } from "./lint.ts";
export { type ParseManifestOptions, parseManifest } from "./parse-manifest.ts";
export { containersOf, mountsOf, reservationOf, stopTimeMs, type TaskContainer } from "./pod.ts";
export { type RenderedManifest, renderManifest, renderManifestText } from "./render-manifest.ts";
export type {
  Amounts,
  DependencySpec,
  EngineOptions,
  FailoverSpec,
  HealthCheckSpec,
  IngressRule,
  Json,
  Manifest,
  ManifestProblem,
  MountSpec,
  ParsedManifest,
  PodContainer,
  PortSpec,
  Position,
  RolloutSpec,
  ScheduleSpec,
  ServiceSpec,
  StrategySpec,
  TaskTemplate,
} from "./service-spec.ts";
export { serviceSpecSchema } from "./service-spec.ts";
export { maxFileLength } from "./yaml-tree.ts";
