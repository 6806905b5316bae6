import { gossipsub, StrictSign } from "@chainsafe/libp2p-gossipsub";
import { identify } from "@libp2p/identify";
import type { PeerId } from "@libp2p/interface";
import { noise } from "@libp2p/noise";
import { ping } from "@libp2p/ping";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { createLibp2p } from "libp2p";
import type { Identity } from "./identity.ts";

/** Two of these fit into what a peer accepts at once; more is fetched by request. */
export const maxPublishBytes = 16 * 1024;

const sockets = { noDelay: true, keepAlive: true };

/**
 * libp2p with the settings of a cluster: connections are few, wanted and for ever, and all
 * inbound ones come from the local proxy, so nothing may be counted per address.
 */
export function createHost(options: {
  readonly identity: Identity;
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  /** Gossip of and to others is dropped. */
  readonly isAdmitted: (peer: string) => boolean;
}) {
  const { identity, listen, isAdmitted } = options;
  return createLibp2p({
    privateKey: identity.privateKey,
    addresses: {
      listen: listen === undefined ? [] : [`/ip4/${listen.host}/tcp/${listen.port}`],
    },
    transports: [tcp({ dialOpts: sockets, listenOpts: sockets })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // Private and loopback addresses are what clusters are made of.
    connectionGater: { denyDialMultiaddr: () => false },
    connectionManager: {
      maxConnections: 1_000,
      maxIncomingPendingConnections: 200,
      inboundConnectionThreshold: 1_000,
      maxParallelDials: 50,
      dialTimeout: 3_000,
      addressDialTimeout: 2_000,
      inboundUpgradeTimeout: 3_000,
      reconnectRetries: 0,
    },
    // The failure detector does this job, without a ping to everybody.
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(),
      ping: ping(),
      pubsub: gossipsub({
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
        scoreParams: {
          IPColocationFactorWeight: 0,
          behaviourPenaltyWeight: 0,
          topics: {},
          appSpecificWeight: 1,
          appSpecificScore: (peer: string | PeerId) => (isAdmitted(peer.toString()) ? 0 : -1e6),
        },
      }),
    },
  });
}

export type Host = Awaited<ReturnType<typeof createHost>>;
