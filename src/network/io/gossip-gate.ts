import type { GossipSub, GossipSubComponents } from "@chainsafe/libp2p-gossipsub";
import type { Connection } from "@libp2p/interface";

/**
 * Gossip that strangers have no part in: it neither hears of their connections nor takes
 * their streams. A peer that is admitted later has to connect anew to take part.
 *
 * Scoring strangers low would do nearly the same, but a score is remembered for a second,
 * so that gossip would go on ignoring a peer that has just been admitted.
 */
export function amongAdmitted(
  make: (components: GossipSubComponents) => GossipSub,
  isAdmitted: (peer: string) => boolean,
): (components: GossipSubComponents) => GossipSub {
  const isStranger = ({ remotePeer }: Connection) => !isAdmitted(remotePeer.toString());
  return (components) => {
    const { privateKey, peerId, peerStore, connectionManager, logger, registrar } = components;
    return make({
      privateKey,
      peerId,
      peerStore,
      connectionManager,
      logger,
      registrar: {
        getProtocols: () => registrar.getProtocols(),
        getHandler: (protocol) => registrar.getHandler(protocol),
        unhandle: (protocol, options) => registrar.unhandle(protocol, options),
        use: (protocol, middleware) => registrar.use(protocol, middleware),
        unuse: (protocol) => registrar.unuse(protocol),
        getMiddleware: (protocol) => registrar.getMiddleware(protocol),
        unregister: (id) => registrar.unregister(id),
        getTopologies: (protocol) => registrar.getTopologies(protocol),
        handle: (protocol, handler, options) =>
          registrar.handle(
            protocol,
            (stream, connection) => {
              if (isStranger(connection)) stream.abort(new Error("gossip is for members"));
              else return handler(stream, connection);
            },
            options,
          ),
        register: (protocol, topology, options) =>
          registrar.register(
            protocol,
            {
              ...topology,
              onConnect: (peer, connection) => {
                if (!isStranger(connection)) return topology.onConnect?.(peer, connection);
              },
            },
            options,
          ),
      },
    });
  };
}
