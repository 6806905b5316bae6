import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gossipTimings, startGossip } from "../../src/gossip/index.ts";
import { Cell, type NodeId, nodeId, silentLogger } from "../../src/kernel/index.ts";
import { systemClock, systemRandom } from "../../src/kernel/io/system.ts";
import { loadCredentials } from "../../src/network/io/credentials.ts";
import { loadOrCreateIdentity } from "../../src/network/io/identity.ts";
import { startLibp2pNetwork } from "../../src/network/io/libp2p-network.ts";
import { nodeSigner } from "../../src/network/io/node-signer.ts";

/**
 * Members of a cluster as a process: identity, certificates, network and gossip as in the daemon,
 * with the preset `lan`, and nothing above. Tells its parent what each of them believes, and ends
 * with it.
 */
export type GossipNodeOrders = {
  /** Of the members that run here. */
  readonly directories: readonly string[];
  readonly members: readonly { readonly nodeId: string; readonly port: number }[];
};

/** To publish as one of the members of this process. */
export type GossipNodeCommand = { readonly as: string; readonly publish: string };

export type GossipNodeNews =
  | { readonly kind: "status"; readonly on: string; readonly of: string; readonly status: string }
  | { readonly kind: "record"; readonly on: string; readonly body: string };

const orders = JSON.parse(process.argv[2] ?? "") as GossipNodeOrders;
process.once("disconnect", () => process.exit(0));
process.once("SIGTERM", () => process.exit(0));
const publishers = new Map<string, (body: string) => void>();
process.on("message", ({ as, publish }: GossipNodeCommand) => publishers.get(as)?.(publish));
for (const directory of orders.directories) await run(directory);

async function run(directory: string): Promise<void> {
  const identity = await loadOrCreateIdentity(directory);
  const credentials = loadCredentials(directory);
  if (credentials === undefined) throw new Error(`There are no credentials in ${directory}.`);
  const parts = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const ports = new Map(orders.members.map((member) => [nodeId(member.nodeId), member.port]));
  const members = new Cell<ReadonlySet<NodeId>>(new Set(ports.keys()));
  const self = identity.nodeId;
  const network = await startLibp2pNetwork({
    ...parts,
    identity,
    credentials,
    listen: { host: "127.0.0.1", port: ports.get(self) ?? 0 },
    addressOf: (node) => `127.0.0.1:${ports.get(node)}`,
    members,
  });
  const gossip = await startGossip({
    ...parts,
    network,
    signer: nodeSigner(identity),
    admitted: members,
    incarnation: incarnationIn(directory),
    timing: gossipTimings.lan,
  });
  publishers.set(self, (body) => gossip.publish(Buffer.from(body)));
  const statuses = new Map<string, string>();
  const tellMembers = (): void => {
    for (const [of, { status }] of gossip.members.get()) {
      if (statuses.get(of) === status) continue;
      statuses.set(of, status);
      tell({ kind: "status", on: self, of, status });
    }
  };
  let records = gossip.records.get();
  gossip.members.subscribe(tellMembers);
  gossip.records.subscribe(() => {
    for (const [owner, record] of gossip.records.get()) {
      if (records.get(owner) === record || owner === self) continue;
      tell({ kind: "record", on: self, body: Buffer.from(record.body).toString().slice(0, 20) });
    }
    records = gossip.records.get();
  });
  tellMembers();
}

function tell(news: GossipNodeNews): void {
  process.send?.(news);
}

function incarnationIn(directory: string) {
  const path = join(directory, "incarnation");
  return {
    load: (): number => {
      try {
        return Number(readFileSync(path, "utf8"));
      } catch {
        return 0;
      }
    },
    save: (value: number) => writeFileSync(path, String(value)),
  };
}
