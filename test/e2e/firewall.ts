import type { Machines } from "./machines.ts";

/**
 * Denies everything that comes into a machine from outside, but for answers and these TCP
 * ports. Its containers and it talk as before.
 */
export function denyAllBut(machines: Machines, number: number, ports: readonly number[]): void {
  const accept = ports.map((port) => `tcp dport ${port} accept;`).join(" ");
  const rules = `table inet deny {
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept; iif lo accept; iifname "docker*" accept; ${accept}
  }
}
`;
  const { status, stderr } = machines.exec(number, ["nft", "-f", "-"], { input: rules });
  if (status !== 0) throw new Error(`no firewall on machine ${number}: ${stderr}`);
}

/** Why no firewall can be tested here; undefined when it can. */
export function firewallUnavailable(machines: Machines, number: number): string | undefined {
  const probe = `table inet probe {
  chain input { ct state established accept; }
}
delete table inet probe
`;
  const { status, stderr } = machines.exec(number, ["nft", "-f", "-"], { input: probe });
  return status === 0 ? undefined : `no nft here: ${stderr.trim()}`;
}
