import t from "tap";
import { simSigner } from "../../sim/gossip/signer.ts";
import { gossipTimings, startGossip } from "../../src/gossip/index.ts";
import { encode } from "../../src/gossip/message.ts";
import { signedBytes } from "../../src/gossip/record-table.ts";
import {
  Cell,
  type Logger,
  type NodeId,
  nodeId,
  seededRandom,
  silentLogger,
} from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { createMemoryNetwork } from "../../src/network/index.ts";

const { signal } = new AbortController();

t.test("a node that hears what it signed and does not know says so, once", async (t) => {
  const [self, peer] = [nodeId("a"), nodeId("b")];
  const errors: string[] = [];
  const logger: Logger = { ...silentLogger, error: (_, message) => errors.push(message) };
  const network = createMemoryNetwork();
  await using other = network.join(peer);
  await using own = network.join(self);
  await using gossip = await startGossip({
    network: own,
    signer: simSigner(self),
    admitted: new Cell<ReadonlySet<NodeId>>(new Set([self, peer])),
    incarnation: { load: () => 4, save: () => undefined },
    clock: systemClock,
    random: seededRandom(1),
    logger,
    timing: gossipTimings.lan,
  });
  gossip.publish(Buffer.from("mine"));
  const hand = async (by: NodeId, { epoch, version }: { epoch: number; version: number }) => {
    const unsigned = { owner: self, epoch, version, body: Buffer.from("a twin's") };
    const record = { ...unsigned, signature: simSigner(by).sign(signedBytes(unsigned)) };
    const body = encode({ claims: [], digest: [], records: [record] });
    await other.request(self, "/skein/sync/1", body, { signal });
  };
  await hand(self, { epoch: 3, version: 900 });
  await hand(self, { epoch: 5, version: 1 });
  t.strictSame(errors, [], "what it said before is its own");
  await hand(peer, { epoch: 5, version: 50 });
  t.strictSame(errors, [], "another's lie is none of its own");
  t.strictSame(gossip.warnings(), []);
  await hand(self, { epoch: 5, version: 100 });
  await hand(self, { epoch: 6, version: 1 });
  t.equal(errors.length, 1);
  t.match(errors[0], /in this node's name/);
  t.match(gossip.warnings(), [/in this node's name.*stop one of the two daemons/]);
});
