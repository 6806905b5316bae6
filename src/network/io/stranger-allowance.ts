import type { batchedNoise } from "./batched-writes.ts";

type Encrypters = ReturnType<typeof batchedNoise>;

/**
 * What a stranger may send on one connection until it is a member, whatever it is for. A join
 * takes some kilobytes; more than this would only keep the daemon busy.
 */
export const strangerAllowanceBytes = 128 * 2 ** 10;

/** Ends connections of others to this node that send too much before they are admitted. */
export function limitingStrangers(
  make: Encrypters,
  isAdmitted: (peer: string) => boolean,
): Encrypters {
  return (components) => {
    const encrypter = make(components);
    const inbound = encrypter.secureInbound.bind(encrypter);
    encrypter.secureInbound = async (connection, options) => {
      // Listened to only now: what comes before has to reach the handshake.
      const secured = await inbound(connection, options);
      const peer = secured.remotePeer.toString();
      if (isAdmitted(peer)) return secured;
      let bytes = 0;
      const count = ({ data }: { readonly data: { readonly byteLength: number } }): void => {
        bytes += data.byteLength;
        if (bytes <= strangerAllowanceBytes) return;
        connection.removeEventListener("message", count);
        if (!isAdmitted(peer)) connection.abort(new Error("a stranger that sends too much"));
      };
      connection.addEventListener("message", count);
      return secured;
    };
    return encrypter;
  };
}
