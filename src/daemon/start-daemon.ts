import { mkdirSync } from "node:fs";
import { startAgent } from "../agent/index.ts";
import { makeHandlers } from "../api/index.ts";
import { startApiServer } from "../api/io/server.ts";
import { ClusterStore, type Command } from "../cluster/index.ts";
import { startGossip } from "../gossip/index.ts";
import { Cell, type Logger, type NodeId, type ReadableCell } from "../kernel/index.ts";
import { systemClock, systemRandom } from "../kernel/io/system.ts";
import { handleJoin } from "../network/io/join.ts";
import { startLibp2pNetwork } from "../network/io/libp2p-network.ts";
import { createPeerTransport, raftTimings, startRaft } from "../raft/index.ts";
import { openFileLogStorage } from "../raft/io/file-log-storage.ts";
import { startSchedulerLoop } from "../scheduler/index.ts";
import { enterCluster } from "./enter-cluster.ts";
import type { Settings } from "./settings.ts";

export type DaemonOptions = {
  readonly settings: Settings;
  readonly version: string;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
  readonly print: (text: string) => void;
  readonly signal: AbortSignal;
};
