import { mkdirSync } from "node:fs";
import { ClusterStore, type Command, type Outcome, type SubmitOptions } from "../cluster/index.ts";
import { Cell, type Logger, type NodeId } from "../kernel/index.ts";
import { systemClock as clock, systemRandom as random } from "../kernel/io/system.ts";
import type { Credentials } from "../network/io/credentials.ts";
import { type Identity, loadOrCreateIdentity } from "../network/io/identity.ts";
import { type Entered, enterCluster } from "./enter-cluster.ts";
import { type Paths, pathsOf } from "./paths.ts";
import { refuseRemoved } from "./removal.ts";
import type { Settings } from "./settings.ts";

export type DaemonOptions = {
  readonly settings: Settings;
  readonly version: string;
  /** The file that this program began with; the proxy process begins with it too. */
  readonly mainPath: string;
  readonly logger: Logger;
  /** Something broke that only a restart from disk can mend. */
  readonly onFatal: (error: unknown) => void;
  readonly print: (text: string) => void;
  /** Whether `print` goes to a terminal, where a secret may be shown. */
  readonly isTerminal: boolean;
  readonly signal: AbortSignal;
};

/** What every part of the daemon is made of. */
export type Base = DaemonOptions & {
  readonly paths: Paths;
  readonly identity: Identity;
  readonly self: NodeId;
  readonly entered: Entered;
  /** As they were at the start: the cluster's name, key and CA stay, certificates are renewed. */
  readonly credentials: Credentials;
  readonly store: ClusterStore;
  /** Set once it is known that this node was removed from the cluster: who says so. */
  readonly removedBy: Cell<string | undefined>;
};

/** Proposes a command and gives what `apply` made of it. */
export type Submit = (command: Command, options: SubmitOptions) => Promise<Outcome>;

/** Reads what the disk holds about this node, and enters the cluster if it is in none. */
export async function enter(options: DaemonOptions): Promise<Base> {
  const { settings, logger, signal } = options;
  const paths = pathsOf(settings.dataDirectory);
  refuseRemoved(paths.data);
  mkdirSync(paths.data, { recursive: true, mode: 0o700 });
  mkdirSync(paths.run, { recursive: true, mode: 0o700 });
  const identity = await loadOrCreateIdentity(paths.data);
  const entered = await enterCluster({ settings, identity, clock, random, logger, signal });
  const { credentials } = entered;
  logger.info({ clusterId: credentials.clusterId, how: entered.kind }, "cluster entered");
  const store = new ClusterStore();
  const removedBy = new Cell<string | undefined>(undefined);
  const self = identity.nodeId;
  return { ...options, paths, identity, self, entered, credentials, store, removedBy };
}
