import type { Claim, StateRecord } from "../../src/gossip/index.ts";
import {
  decodeMessage,
  decodePing,
  decodeSync,
  encode,
  type GossipMessage,
  type Ping,
  type Sync,
} from "../../src/gossip/message.ts";
import type { PeerNetwork } from "../../src/network/index.ts";

/**
 * Gossip with a fault, without a second copy of its code: a node that hears everything in a
 * certain false way acts exactly like one whose rules are false.
 */
export type PlantedRule = "incarnations_ignored" | "never_refutes" | "older_record_wins";

type Rewriting = {
  readonly claims: (claims: readonly Claim[]) => readonly Claim[];
  readonly incarnation: (value: number) => number;
  readonly version: (value: number) => number;
};

const same = <T>(value: T): T => value;

function rewritingOf(rule: PlantedRule, self: string): Rewriting {
  const nothing: Rewriting = { claims: same, incarnation: same, version: same };
  switch (rule) {
    case "incarnations_ignored":
      return {
        ...nothing,
        claims: (claims) => claims.map((claim) => ({ ...claim, incarnation: 1 })),
        incarnation: () => 1,
      };
    case "never_refutes":
      return { ...nothing, claims: (claims) => claims.filter(({ nodeId }) => nodeId !== self) };
    case "older_record_wins":
      return { ...nothing, version: (version) => 2 ** 40 - version };
  }
}

/** A network whose node hears what `rule` makes of it. */
export function plantedIn(network: PeerNetwork, rule: PlantedRule): PeerNetwork {
  const rewriting = rewritingOf(rule, network.self);
  const heard = (protocol: string, body: Uint8Array) => rewriteBody(rewriting, protocol, body);
  return {
    self: network.self,
    connected: network.connected,
    drop: (peer) => network.drop(peer),
    request: async (to, protocol, body, options) =>
      heard(protocol, await network.request(to, protocol, body, options)),
    handle: (protocol, handler) =>
      network.handle(protocol, async (from, body, options) =>
        handler(from, heard(protocol, body), options),
      ),
    openStream: (to, protocol, options) => network.openStream(to, protocol, options),
    handleStream: (protocol, handler) => network.handleStream(protocol, handler),
    publish: (topic, body) => network.publish(topic, body),
    subscribe: (topic, listener) =>
      network.subscribe(topic, (from, body) => {
        const message = decodeMessage(body);
        if (message !== undefined) listener(from, encode(rewriteMessage(rewriting, message)));
      }),
    [Symbol.asyncDispose]: () => network[Symbol.asyncDispose](),
  };
}

function rewriteBody(rewriting: Rewriting, protocol: string, body: Uint8Array): Uint8Array {
  if (protocol === "/skein/ping/1") return encode(rewritePing(rewriting, decodePing(body)));
  if (protocol === "/skein/sync/1") return encode(rewriteSync(rewriting, decodeSync(body)));
  return body;
}

function rewriteMessage(rewriting: Rewriting, message: GossipMessage): GossipMessage {
  switch (message.kind) {
    case "claims":
      return { ...message, claims: rewriting.claims(message.claims) };
    case "record":
      return { ...message, record: rewriteRecord(rewriting, message.record) };
    case "announce": {
      const version = rewriting.version(message.id.version);
      return { ...message, id: { ...message.id, version } };
    }
  }
}

function rewritePing({ claims, incarnation }: Rewriting, ping: Ping): Ping {
  const about = ping.about === undefined ? undefined : claims([ping.about])[0];
  const rewritten = { incarnation: incarnation(ping.incarnation) };
  return about === undefined ? rewritten : { ...rewritten, about };
}

function rewriteSync(rewriting: Rewriting, sync: Sync): Sync {
  return {
    claims: rewriting.claims(sync.claims),
    digest: sync.digest,
    records: sync.records.map((record) => rewriteRecord(rewriting, record)),
  };
}

function rewriteRecord({ version }: Rewriting, record: StateRecord): StateRecord {
  return { ...record, version: version(record.version) };
}
