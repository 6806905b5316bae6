import { gossipsub, StrictSign } from "@chainsafe/libp2p-gossipsub";
import { identify } from "@libp2p/identify";
import { ping } from "@libp2p/ping";
import { tcp } from "@libp2p/tcp";
import { createLibp2p } from "libp2p";
import { batchedNoise } from "./batched-writes.ts";
import { amongAdmitted } from "./gossip-gate.ts";
import type { Identity } from "./identity.ts";
import { steadyYamux } from "./steady-yamux.ts";
import { limitingStrangers } from "./stranger-allowance.ts";

/**
 * Of one dial, with what follows it until both know each other. Long enough for a machine on
 * which everything starts at once; who waits for an answer has a shorter time of its own.
 */
export const dialTimeoutMs = 8_000;

const sockets = { noDelay: true, keepAlive: true };

/**
 * What a peer may have under way to us on one stream. A stream that is not read holds no
 * more than this, which has to stay under libp2p's limit for unread octets (4 MiB).
 */
const streamWindowBytes = 2 * 2 ** 20;

export type HostOptions = {
  readonly identity: Identity;
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  /** Others take no part in gossip, and may send little. */
  readonly isAdmitted: (peer: string) => boolean;
};

/**
 * libp2p with the settings of a cluster: connections are few, wanted and for ever, and all
 * inbound ones come from the local proxy, so nothing may be counted per address.
 */
export function createHost({ identity, listen, isAdmitted }: HostOptions) {
  return createLibp2p({
    privateKey: identity.privateKey,
    addresses: {
      listen: listen === undefined ? [] : [`/ip4/${listen.host}/tcp/${listen.port}`],
    },
    transports: [tcp({ dialOpts: sockets, listenOpts: sockets })],
    connectionEncrypters: [limitingStrangers(batchedNoise(), isAdmitted)],
    streamMuxers: [steadyYamux({ streamOptions: { maxStreamWindowSize: streamWindowBytes } })],
    connectionGater: {
      // Private and loopback addresses are what clusters are made of.
      denyDialMultiaddr: () => false,
    },
    connectionManager: {
      maxConnections: 1_000,
      maxIncomingPendingConnections: 200,
      inboundConnectionThreshold: 1_000,
      maxParallelDials: 50,
      dialTimeout: dialTimeoutMs,
      addressDialTimeout: 5_000,
      inboundUpgradeTimeout: 5_000,
      reconnectRetries: 0,
    },
    // The failure detector does this job, without a ping to everybody.
    connectionMonitor: { enabled: false },
    services: {
      // What a stranger says of itself would be kept for good: only members are asked.
      identify: identify({ runOnConnectionOpen: false }),
      ping: ping(),
      pubsub: amongAdmitted(gossipsub(gossipOptions), isAdmitted),
    },
  });
}

export type Host = Awaited<ReturnType<typeof createHost>>;

const gossipOptions: Parameters<typeof gossipsub>[0] = {
  globalSignaturePolicy: StrictSign,
  fallbackToFloodsub: false,
  // A node that is alone must be able to speak to nobody.
  allowPublishToZeroTopicPeers: true,
  floodPublish: true,
  emitSelf: false,
  doPX: false,
  heartbeatInterval: 1_000,
  // Read before the signature is checked, so that a duplicate costs no verification.
  fastMsgIdFn: ({ from, seqno }) =>
    `${Buffer.from(from ?? []).toString("base64")}.${Buffer.from(seqno ?? []).toString("hex")}`,
  maxInboundDataLength: 256 * 1024,
  maxOutboundBufferSize: 4 * 1024 * 1024,
  // All members may share one address, and who is a member is decided by certificates.
  scoreParams: { IPColocationFactorWeight: 0, behaviourPenaltyWeight: 0, topics: {} },
};
