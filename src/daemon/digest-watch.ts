import type { ClusterStore, Observations } from "../cluster/index.ts";
import type { Logger, NodeId, ReadableCell } from "../kernel/index.ts";

/**
 * Compares this node's digests of the agreed state with those that others report. All apply
 * the same entries, so a difference is a fault of the software or the hardware of one of them:
 * it is told loudly, because nothing else would show it before it does harm.
 */
export function watchDigests({
  self,
  store,
  observations,
  logger,
}: {
  readonly self: NodeId;
  readonly store: Pick<ClusterStore, "state" | "digest" | "digestAt">;
  readonly observations: ReadableCell<Observations>;
  readonly logger: Logger;
}): Disposable & { warnings(): readonly string[] } {
  const differing = new Map<NodeId, number>();
  const nameOf = (node: NodeId) => store.state.get().nodes.get(node)?.name ?? node;

  function look(): void {
    const { reports } = observations.get();
    for (const [node, { digest }] of reports) {
      const own = digest && store.digestAt(digest.index);
      if (node === self || digest === undefined || own === undefined) continue;
      if (own === digest.value) differing.delete(node);
      else if (differing.get(node) !== digest.index) {
        differing.set(node, digest.index);
        const fields = { node: nameOf(self), other: nameOf(node), index: digest.index };
        logger.error(fields, "agreed state differs between nodes");
      }
    }
    for (const node of differing.keys()) if (!reports.has(node)) differing.delete(node);
  }

  let compared = store.digest;
  // A digest that is ahead of this node's log is compared once the log is there.
  const lookAtNew = () => {
    if (store.digest === compared) return;
    compared = store.digest;
    look();
  };
  look();
  const stops = [observations.subscribe(look), store.state.subscribe(lookAtNew)];
  return {
    warnings: () =>
      [...differing].map(
        ([node, index]) =>
          `The agreed state at index ${index} differs between ${nameOf(self)} and ${nameOf(node)}. ` +
          "Ask the other nodes with skein status which of the two is alone with it; that one has to join anew.",
      ),
    [Symbol.dispose]: () => {
      for (const stop of stops) stop();
    },
  };
}
