import { Cell, type NodeId, nodeId } from "../kernel/index.ts";
import { systemClock as clock, systemRandom as random } from "../kernel/io/system.ts";
import { type Libp2pNetwork, startLibp2pNetwork } from "../network/io/libp2p-network.ts";
import type { Base } from "./base.ts";
import { addressBook } from "./enter-cluster.ts";

export async function startNetwork({
  identity,
  credentials,
  store,
  removedBy,
  logger,
}: Base): Promise<Libp2pNetwork> {
  const seeds = credentials.seeds.map((seed) => nodeId(seed.nodeId));
  const known = () => {
    const agreed = store.state.get().nodes;
    // Before the first entry arrives, only those are known that were there at the join.
    return new Set(agreed.size > 0 ? agreed.keys() : [identity.nodeId, ...seeds]);
  };
  const members = new Cell<ReadonlySet<NodeId>>(known());
  const removed = new Cell<ReadonlySet<NodeId>>(store.state.get().removedNodes);
  store.state.subscribe(() => {
    removed.set(store.state.get().removedNodes);
    const next = known();
    if (next.symmetricDifference(members.get()).size > 0) members.set(next);
  });
  return await startLibp2pNetwork({
    identity,
    credentials,
    listen: { host: "127.0.0.1", port: 0 },
    addressOf: addressBook(credentials, () => store.state.get()),
    members,
    removed,
    onRemoved: (by) => removedBy.set(by),
    clock,
    random,
    logger: logger.child({ part: "network" }),
  });
}
