/** Everything that daemons say to each other; its adapters are under `io/`. */
export { NetworkError, type NetworkErrorCode } from "./errors.ts";
export type { PeerNetwork, PeerStream } from "./peer-network.ts";
