import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ClusterState } from "../cluster/index.ts";
import {
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
} from "../kernel/index.ts";
import { NetworkError } from "../network/index.ts";
import type { ContainerRuntime } from "../runtime/index.ts";

/** Its presence says that this data directory belongs to a node that is no member any more. */
const markerName = "removed";
const stopMs = 30_000;

/** What a daemon ends with whose cluster goes on without it. */
export function removedError(dataDirectory: string, by: string): NetworkError {
  return new NetworkError(
    "not_admitted",
    `This node was removed from its cluster, says ${by}; what it knows is out of date. To rejoin as a new member: move ${dataDirectory} away and start with --join and a new token.`,
  );
}

/** @throws NetworkError `not_admitted` for the data of a removed node. */
export function refuseRemoved(dataDirectory: string): void {
  const marker = join(dataDirectory, markerName);
  if (existsSync(marker)) throw removedError(dataDirectory, readFileSync(marker, "utf8"));
}

export function markRemoved(dataDirectory: string, by: string): void {
  writeFileSync(join(dataDirectory, markerName), by, { mode: 0o600 });
}

/** For the answer to whoever had it removed, and for the others to hear that it is agreed. */
const farewellMs = 500;

/** Calls `act` soon after this node has seen its own removal in the log. Returns the undo. */
export function onOwnRemoval(options: {
  readonly self: NodeId;
  readonly state: ReadableCell<ClusterState>;
  readonly act: () => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): () => void {
  const { self, state, act, clock, signal } = options;
  const isGone = () => state.get().removedNodes.has(self) && !state.get().nodes.has(self);
  let isWaiting = false;
  const look = () => {
    if (isWaiting || !isGone()) return;
    isWaiting = true;
    const decide = () => {
      isWaiting = false;
      // A log that is read from its beginning may tell of an earlier membership.
      if (isGone()) act();
    };
    clock.sleep(farewellMs, { signal }).then(decide, () => undefined);
  };
  look();
  return state.subscribe(look);
}

/** The cluster runs these tasks elsewhere by now, and nobody would ever stop them here. */
export async function removeContainers(runtime: ContainerRuntime, logger: Logger): Promise<void> {
  const signal = AbortSignal.timeout(stopMs);
  try {
    const containers = await runtime.list({ signal });
    logger.warn({ containers: containers.length }, "removing this node's containers");
    await Promise.all(containers.map(({ id }) => runtime.remove(id, { signal })));
  } catch (error) {
    logger.error({ error: messageOf(error) }, "some containers could not be removed");
  }
}
