import { Socket } from "node:net";
import { noise } from "@libp2p/noise";

type Encrypters = ReturnType<typeof noise>;
type Encrypter = ReturnType<Encrypters>;
type RawConnection = Parameters<Encrypter["secureOutbound"]>[0];

/**
 * Noise over a connection that hands all that one turn of the event loop sends to the system
 * at once. Left alone, each encrypted frame is two writes, its length of two octets and its
 * text, which without Nagle's algorithm are two packets and two wake-ups of the receiver.
 */
export function batchedNoise(): Encrypters {
  return (components) => {
    const encrypter = noise()(components);
    const outbound = encrypter.secureOutbound.bind(encrypter);
    const inbound = encrypter.secureInbound.bind(encrypter);
    encrypter.secureOutbound = (connection, options) => outbound(batched(connection), options);
    encrypter.secureInbound = (connection, options) => inbound(batched(connection), options);
    return encrypter;
  };
}

/** Neither field is public: a connection without them works as it did before. */
function batched<Connection extends RawConnection>(connection: Connection): Connection {
  if (!("socket" in connection) || !(connection.socket instanceof Socket)) return connection;
  if (!("sendData" in connection) || typeof connection.sendData !== "function") return connection;
  const { socket } = connection;
  const sendData = connection.sendData.bind(connection);
  let isCorked = false;
  connection.sendData = (data: unknown) => {
    if (!isCorked) {
      isCorked = true;
      socket.cork();
      process.nextTick(() => {
        isCorked = false;
        socket.uncork();
      });
    }
    return sendData(data);
  };
  return connection;
}
