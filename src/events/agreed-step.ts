import type { ClusterState, Command } from "../cluster/index.ts";

/** One entry of the log, and what it changed. */
export type AgreedStep = {
  readonly before: ClusterState;
  readonly after: ClusterState;
  readonly command: Command;
};
