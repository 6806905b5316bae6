import type { Observations } from "../cluster/index.ts";
import { type Gossip, gossipTimings, startGossip } from "../gossip/index.ts";
import { Cell, type NodeId, nodeId, type ReadableCell } from "../kernel/index.ts";
import { systemClock as clock, systemRandom as random } from "../kernel/io/system.ts";
import type { Libp2pNetwork } from "../network/io/libp2p-network.ts";
import { nodeSigner } from "../network/io/node-signer.ts";
import type { Base } from "./base.ts";
import { fileIncarnation } from "./incarnation.ts";
import { observe } from "./observe.ts";

export async function startObserving(
  { settings, paths, store, self, identity, credentials, logger }: Base,
  parts: { readonly network: Libp2pNetwork; readonly starting: AsyncDisposableStack },
): Promise<{ readonly observations: ReadableCell<Observations>; readonly gossip: Gossip }> {
  const { network, starting } = parts;
  const seeds = credentials.seeds.map((seed) => nodeId(seed.nodeId));
  const admitted = new Cell<ReadonlySet<NodeId>>(new Set([self, ...seeds]));
  const update = () => {
    const { nodes } = store.state.get();
    const next = new Set<NodeId>(nodes.size > 0 ? nodes.keys() : [self, ...seeds]);
    if (next.symmetricDifference(admitted.get()).size > 0) admitted.set(next);
  };
  update();
  starting.defer(store.state.subscribe(update));
  const gossip = starting.use(
    await startGossip({
      network,
      signer: nodeSigner(identity),
      admitted,
      incarnation: fileIncarnation(paths.data),
      clock,
      random,
      logger: logger.child({ part: "gossip" }),
      timing: gossipTimings[settings.timing],
    }),
  );
  const observing = observe(gossip);
  starting.defer(observing.stop);
  return { observations: observing.cell, gossip };
}

/** Keeps the highest index that any node reports, and gives the undo. */
export function followHead(
  head: Cell<number>,
  observations: ReadableCell<Observations>,
): () => void {
  const look = () => {
    const indexes = [...observations.get().reports.values()].map(({ logIndex = 0 }) => logIndex);
    head.set(Math.max(0, ...indexes));
  };
  look();
  return observations.subscribe(look);
}
