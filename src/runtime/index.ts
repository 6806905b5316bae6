/** What runs containers on a machine: the port, its errors, and the labels for adoption. */
export { containerLabels, makeContainerLabels } from "./container-labels.ts";
export type {
  Container,
  ContainerRequest,
  ContainerRuntime,
  LogLine,
  LogOptions,
  RuntimeInfo,
} from "./container-runtime.ts";
export { RuntimeError, type RuntimeErrorCode } from "./errors.ts";
