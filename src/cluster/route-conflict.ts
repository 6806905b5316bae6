import type { ServiceKey } from "../kernel/index.ts";
import type { Service } from "./cluster-state.ts";
import { compareText } from "./cluster-state.ts";

/**
 * The first address that two services claim, as a sentence: a port published on every
 * node, or a host name and path. Undefined when each address has one owner.
 */
export function findRouteConflict(services: ReadonlyMap<ServiceKey, Service>): string | undefined {
  const owners = new Map<string, ServiceKey>();
  const ordered = [...services].sort(([a], [b]) => compareText(a, b));
  for (const [key, { spec }] of ordered) {
    for (const address of addressesOf(spec)) {
      const owner = owners.get(address);
      if (owner !== undefined) {
        return `${address} is claimed by service ${owner} and by service ${key}. Change one of them.`;
      }
      owners.set(address, key);
    }
  }
  return undefined;
}

function addressesOf(spec: Service["spec"]): readonly string[] {
  const ports = spec.ports
    .filter((port) => port.published !== undefined)
    .map((port) => `Published port ${port.published}/${port.protocol}`);
  const hosts = spec.ingress.map((rule) => `Host name and path ${rule.host}${rule.path}`);
  return [...ports, ...hosts];
}
