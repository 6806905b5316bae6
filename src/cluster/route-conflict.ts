import type { ServiceKey } from "../kernel/index.ts";
import type { Service } from "./cluster-state.ts";
import { compareText } from "./cluster-state.ts";

/**
 * The first address that a submitted service cannot have, as a sentence with the way out: a
 * port published on every node, or a host name and path. Undefined when each address has one
 * owner.
 */
export function findRouteConflict(
  services: ReadonlyMap<ServiceKey, Service>,
  submitted: ReadonlySet<ServiceKey>,
): string | undefined {
  const owners = new Map<string, ServiceKey>();
  // Who was there already has its address; two that come together are told in any order.
  const ordered = [...services].sort(
    ([a], [b]) => Number(submitted.has(a)) - Number(submitted.has(b)) || compareText(a, b),
  );
  for (const [key, { spec }] of ordered) {
    for (const { address, change } of addressesOf(spec)) {
      const owner = owners.get(address);
      if (owner !== undefined) {
        return `Service ${key} cannot have ${address}: service ${owner} has it. ${change}, or remove that service: skein rm ${owner}`;
      }
      owners.set(address, key);
    }
  }
  return undefined;
}

type Address = { readonly address: string; readonly change: string };

function addressesOf(spec: Service["spec"]): readonly Address[] {
  const ports = spec.ports
    .filter((port) => port.published !== undefined)
    .map((port) => ({
      address: `the published port ${port.published}/${port.protocol}`,
      change: "Publish another port",
    }));
  const hosts = spec.ingress.map((rule) => ({
    address: `the host name and path ${rule.host}${rule.path}`,
    change: "Choose another host name or path",
  }));
  return [...ports, ...hosts];
}
