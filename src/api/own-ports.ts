import { compareText } from "../cluster/index.ts";
import type { ServiceSpec } from "../spec/index.ts";
import type { Facts } from "./views-of-state.ts";

/**
 * Why a service cannot be published on a port that some node needs for itself; undefined
 * when all are free. Nodes may differ, and a published port has to answer on each of them.
 */
export function ownPortConflict(
  { state, observations }: Facts,
  specs: readonly ServiceSpec[],
): string | undefined {
  const nodes = [...state.nodes.values()].sort((a, b) => compareText(a.name, b.name));
  for (const { namespace, name, ports } of specs) {
    for (const { published, protocol } of ports) {
      if (published === undefined || protocol !== "tcp") continue;
      const text = `Service ${namespace}/${name} cannot be published on port ${published}: `;
      for (const node of nodes) {
        if (observations.reports.get(node.id)?.httpPort === published) {
          return `${text}${node.name} serves host names there. Publish another port; or use x-ingress; or start the daemons with another --http-port.`;
        }
        if (node.address.endsWith(`:${published}`)) {
          return `${text}it is the cluster's own port of ${node.name}. Publish another port.`;
        }
      }
    }
  }
  return undefined;
}
