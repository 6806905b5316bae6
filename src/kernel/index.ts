/**
 * The few things that every folder speaks: ids, errors, time, randomness, cells,
 * the reconcile loop and the logger. The list is closed; see ARCHITECTURE.md.
 */
export { Cell, type ReadableCell, whenCell } from "./cell.ts";
export type { Clock } from "./clock.ts";
export { assert, assertNever, CodedError, codeOf, messageOf } from "./errors.ts";
export {
  type NodeId,
  nodeId,
  type ServiceKey,
  serviceKey,
  splitServiceKey,
  type TaskId,
  taskId,
} from "./ids.ts";
export { type Logger, silentLogger } from "./logger.ts";
export { type Random, randomBelow, randomName, seededRandom } from "./random.ts";
export { type ReconcileLoopOptions, runReconcileLoop } from "./reconcile-loop.ts";
export { Wakeup } from "./wakeup.ts";
