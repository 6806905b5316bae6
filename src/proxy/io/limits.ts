/** Bounds of the proxy process. All of them are per process. */

/** Connections of clients at a time, over all ports; more are closed at once. */
export const clientConnectionsMax = 10_000;
/** Connections on the one port that have not yet shown what they are. */
export const unclassifiedMax = 512;
/** The same of one source address: members need a place for milliseconds only. */
export const unclassifiedPerSourceMax = 64;
/**
 * Connections handed to the daemon's libp2p that are younger than what it gives a stranger to
 * prove itself. Fewer than libp2p takes at a time, so that its own limit is never reached.
 */
export const youngPeersMax = 160;
export const youngPeersPerSourceMax = 48;
export const youngPeerMs = 3_000;
/** TLS connections to the API, whose clients show who they are only with each request. */
export const apiConnectionsMax = 1_024;
export const apiConnectionsPerSourceMax = 128;
/** How long a connection on the one port may take to show it, and to finish its handshake. */
export const classifyTimeoutMs = 2_000;
export const handshakeTimeoutMs = 5_000;

/** From a request's first octet to the end of its head. */
export const headTimeoutMs = 10_000;
/** A client's connection between two requests. */
export const clientIdleTimeoutMs = 60_000;
/** Pauses within a request's body, and of a client that does not read. */
export const bodyStallTimeoutMs = 60_000;
export const slowReaderTimeoutMs = 120_000;
/** After the last answer, so that a client still sending can read it. */
export const lingerTimeoutMs = 2_000;
/** A removed port's connections, before they are cut. */
export const drainTimeoutMs = 60_000;
/** Kept of what a client sends ahead of its turn, before it is made to wait. */
export const pipelinedMaxBytes = 65_536;
/** Messages up to this size travel as one string and one write. */
export const singleWriteMaxBytes = 12_288;

export const connectTimeoutMs = 1_000;
/** TCP, TLS and the owner's answer together. */
export const tunnelTimeoutMs = 3_000;
/** All attempts to find an endpoint for one request. */
export const findEndpointTimeoutMs = 5_000;
/** Pauses between rounds over all endpoints, while the next table may be on its way. */
export const roundPausesMs: readonly number[] = [100, 300, 600];
/** How often a request that got no answer may be sent again. */
export const resendsMax = 3;

/** Idle connections kept per endpoint, and for how long. */
export const idlePerEndpointMax = 128;
export const upstreamIdleTimeoutMs = 20_000;
/** A request that must not be sent twice only takes a connection that was busy just now. */
export const freshIdleMs = 1_000;
/** `100 Continue` and its like before one final answer. */
export const interimAnswersMax = 32;

/** What an `auto` port waits for the client's first octets, before the server may speak. */
export const sniffTimeoutMs = 100;
/** How often connections are checked against their deadlines. */
export const sweepIntervalMs = 500;
/** Ports that could not be bound are tried again this often. */
export const rebindIntervalMs = 1_000;
