import {
  type Cell,
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  runReconcileLoop,
  Wakeup,
} from "../kernel/index.ts";
import type { AdmissionDesk } from "../network/io/admission.ts";
import type { ClusterKey } from "../network/io/cluster-key.ts";
import type { RaftStatus } from "../raft/index.ts";

/** A node that has lost its vote keeps the key so long: votes move back and forth. */
const keptMs = 30_000;
const resyncMs = 5_000;
const retryMaxMs = 5_000;
/** A voter that has waited so long for the key says so. */
const missedAfterMs = 30_000;

type ClusterKeyLoopOptions = {
  readonly self: NodeId;
  readonly status: ReadableCell<RaftStatus>;
  readonly clusterKey: Cell<ClusterKey | undefined>;
  readonly desk: Pick<AdmissionDesk, "fetchClusterKey" | "holdersAmong">;
  /** Durable before it returns. */
  readonly save: (key: ClusterKey) => void;
  readonly drop: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
};

export type ClusterKeyLoop = AsyncDisposable & {
  /** What a person has to look at. */
  warnings(): readonly string[];
};

/**
 * Gets the cluster key when this node is to vote, and gives it up when it votes no more, as
 * soon as most of those who do have said that they hold it.
 */
export function startClusterKeyLoop(options: ClusterKeyLoopOptions): ClusterKeyLoop {
  const { self, status, clusterKey, desk, clock, logger } = options;
  const wakeup = new Wakeup();
  const stop = status.subscribe(() => wakeup.wake());
  const stopping = new AbortController();
  /** Since when things are not as they should be. */
  let sinceMs: number | undefined;

  async function look({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { voters, learners } = status.get();
    const holdsKey = clusterKey.get() !== undefined;
    const shouldHold = voters.includes(self) || learners.includes(self);
    if (shouldHold === holdsKey) {
      sinceMs = undefined;
      return;
    }
    sinceMs ??= clock.monotonic();
    if (shouldHold) {
      const key = await desk.fetchClusterKey({ signal });
      options.save(key);
      clusterKey.set(key);
      logger.info({}, "this node votes, and holds the cluster key");
      return;
    }
    if (voters.length === 0 || clock.monotonic() - sinceMs < keptMs) return;
    const holders = await desk.holdersAmong(voters, { signal });
    if (holders.length <= voters.length / 2) return;
    // The vote may have come back meanwhile.
    if (status.get().voters.includes(self) || status.get().learners.includes(self)) return;
    options.drop();
    clusterKey.set(undefined);
    logger.info({}, "this node votes no more, and has given up the cluster key");
  }

  const done = runReconcileLoop(
    wakeup,
    {
      reconcile: look,
      onError: (error, retryInMs) =>
        logger.debug({ error: messageOf(error), retryInMs }, "no cluster key yet"),
      clock,
      resyncMs,
      retryMaxMs,
    },
    stopping.signal,
  );
  return {
    warnings: () => {
      const { voters } = status.get();
      const isMissing = clusterKey.get() === undefined && voters.includes(self);
      if (!isMissing || sinceMs === undefined) return [];
      if (clock.monotonic() - sinceMs < missedAfterMs) return [];
      return [
        "This node votes, but no other voter gives it the cluster key: it can admit no machine and renew no certificate. Start a machine that voted before.",
      ];
    },
    [Symbol.asyncDispose]: async () => {
      stop();
      stopping.abort();
      await done;
    },
  };
}
