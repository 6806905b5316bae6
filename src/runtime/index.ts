/** What runs containers on a machine: the port, its errors, the labels, and one in memory. */
export type {
  ConsoleOutcome,
  ConsoleOutput,
  ContainerConsole,
  ExecRequest,
  TerminalSize,
} from "./container-console.ts";
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
export type { MemoryCommand } from "./memory-console.ts";
export {
  MemoryMachine,
  type MemoryMachineOptions,
  type MemoryProcess,
} from "./memory-machine.ts";
export { MemoryRuntime, type MemoryRuntimeOptions } from "./memory-runtime.ts";
