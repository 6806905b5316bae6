/** What runs containers on a machine: the port, its errors, the labels, and one in memory. */
export { containerLabels, makeContainerLabels } from "./container-labels.ts";
export type {
  Container,
  ContainerRequest,
  ContainerRuntime,
  LogLine,
  LogOptions,
  RuntimeInfo,
} from "./container-runtime.ts";
export type { RuntimeErrorCode } from "./errors.ts";
export {
  MemoryMachine,
  type MemoryMachineOptions,
  type MemoryProcess,
} from "./memory-machine.ts";
export { MemoryRuntime, type MemoryRuntimeOptions } from "./memory-runtime.ts";
