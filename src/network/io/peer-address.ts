import { isIPv4, isIPv6 } from "node:net";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { NetworkError } from "../errors.ts";

/** The two halves of `HOST:PORT` or `[V6]:PORT`. @throws NetworkError `unreachable` */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) {
    throw new NetworkError("unreachable", `"${address}" is no address of the form HOST:PORT.`);
  }
  return { host, port: Number(match?.[3]) };
}

/** `HOST:PORT` or `[V6]:PORT` as libp2p dials it, with the identity to expect there where known. */
export function peerAddress(address: string, peer?: string): Multiaddr {
  const { host, port } = splitAddress(address);
  const kind = isIPv4(host) ? "ip4" : isIPv6(host) ? "ip6" : "dns";
  const suffix = peer === undefined ? "" : `/p2p/${peer}`;
  return multiaddr(`/${kind}/${host}/tcp/${port}${suffix}`);
}
