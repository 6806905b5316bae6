import { StreamStateError } from "@libp2p/interface";
import { yamux } from "@libp2p/yamux";

type Muxers = ReturnType<typeof yamux>;
type Muxer = ReturnType<ReturnType<Muxers>["createStreamMuxer"]>;

/**
 * Yamux that outlives the loss of its connection. Yamux sends the first frame of a new
 * stream in a microtask of its own; where the connection is gone by then, the library throws
 * to nobody, which would end the process. The frame is dropped instead: the streams of a
 * connection that is gone are told so anyway.
 */
export function steadyYamux(init: Parameters<typeof yamux>[0]): Muxers {
  return () => {
    const factory = yamux(init)();
    const create = factory.createStreamMuxer.bind(factory);
    factory.createStreamMuxer = (connection) => {
      const muxer = create(connection);
      const send: Muxer["send"] = muxer.send.bind(muxer);
      muxer.send = (data) => {
        try {
          return send(data);
        } catch (error) {
          if (error instanceof StreamStateError) return true;
          throw error;
        }
      };
      return muxer;
    };
    return factory;
  };
}
