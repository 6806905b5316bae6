/** Everything that daemons say to each other; its adapters are under `io/`. */
export { NetworkError, type NetworkErrorCode } from "./errors.ts";
export { orInterrupted } from "./interruption.ts";
export { createMemoryNetwork, type MemoryLatency, type MemoryNetwork } from "./memory-network.ts";
export type { NodeSigner } from "./node-signer.ts";
export { PeerCodec } from "./peer-codec.ts";
export type { PeerNetwork, PeerStream } from "./peer-network.ts";
export { type ClusterToken, decodeToken, encodeToken } from "./token.ts";
