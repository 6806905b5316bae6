import type { Socket } from "node:net";
import {
  createServer as createTlsServer,
  type TLSSocket,
  type Server as TlsServer,
} from "node:tls";
import type { NodeId } from "../../kernel/index.ts";
import type { ProxyConfiguration } from "../control-protocol.ts";
import { Newcomers } from "../newcomers.ts";
import { nodesNamed } from "../node-name.ts";
import { answerText } from "./answers.ts";
import { absorbErrors, connectTcp, connectUnix } from "./connect-tcp.ts";
import { dataProtocol, type LocalEndpoints, serveTunnel } from "./data-path.ts";
import {
  apiConnectionsMax,
  apiConnectionsPerSourceMax,
  classifyTimeoutMs,
  connectTimeoutMs,
  handshakeTimeoutMs,
  unclassifiedMax,
  unclassifiedPerSourceMax,
  youngPeerMs,
  youngPeersMax,
  youngPeersPerSourceMax,
} from "./limits.ts";
import type { LocalUsage } from "./local-usage.ts";
import { relay } from "./relay.ts";
import type { ServedConnection } from "./tcp-listener.ts";

/** First octets: multistream's length of `/multistream/1.0.0`, and a TLS handshake record. */
const libp2pFirst = 0x13;
const tlsFirst = 0x16;

type EdgeOptions = {
  readonly find: LocalEndpoints;
  readonly usage: LocalUsage;
  /** Whether a daemon is there to be handed connections. */
  readonly isDaemonAttached: () => boolean;
};

/**
 * The node's one port. The first octet tells libp2p from TLS; within TLS the application
 * protocol tells the data path from the API. Strangers get a short answer and few resources.
 */
export class Edge {
  readonly #options: EdgeOptions;
  readonly #tls: TlsServer;
  #configuration: ProxyConfiguration;
  /** Connections that have not finished showing what they are. */
  readonly #unclassified = new Newcomers({
    max: unclassifiedMax,
    maxPerSource: unclassifiedPerSourceMax,
  });
  /** How each of them frees its place, by the addresses of its ends. */
  readonly #places = new Map<string, () => void>();
  /** Connections that the daemon has not had the time to judge. */
  readonly #young = new Newcomers({ max: youngPeersMax, maxPerSource: youngPeersPerSourceMax });
  readonly #apiConnections = new Newcomers({
    max: apiConnectionsMax,
    maxPerSource: apiConnectionsPerSourceMax,
  });
  /** Open tunnels of other nodes. */
  readonly #tunnels = new Map<TLSSocket, readonly NodeId[]>();
  #removedNodes: ReadonlySet<NodeId> = new Set();

  constructor(configuration: ProxyConfiguration, options: EdgeOptions) {
    this.#configuration = configuration;
    this.#options = options;
    this.#tls = createTlsServer({
      ...configuration.tls,
      minVersion: "TLSv1.3",
      requestCert: true,
      // Clients of the API have no certificate; the data path looks at it itself.
      rejectUnauthorized: false,
      ALPNProtocols: [dataProtocol, "http/1.1"],
      handshakeTimeout: handshakeTimeoutMs,
    });
    this.#tls.on("secureConnection", (socket) => this.#onSecure(socket));
    this.#tls.on("tlsClientError", (_error, socket) => socket.destroy());
  }

  reconfigure(configuration: ProxyConfiguration): void {
    this.#configuration = configuration;
    this.#tls.setSecureContext({ ...configuration.tls, minVersion: "TLSv1.3" });
  }

  /** Their certificates count for nothing any more, whatever they say. */
  refuse(removedNodes: readonly NodeId[]): void {
    this.#removedNodes = new Set(removedNodes);
    for (const [socket, nodes] of this.#tunnels) if (this.#isRefused(nodes)) socket.destroy();
  }

  /** Takes a connection that was just accepted. */
  readonly serve = (socket: Socket): ServedConnection => {
    const leave = this.#unclassified.enter(socket.remoteAddress);
    if (leave === undefined) socket.destroy();
    else this.#classify(socket, leave);
    return {
      drain: () => undefined,
      destroy: () => socket.destroy(),
      checkDeadline: () => undefined,
    };
  };

  #isRefused(nodes: readonly NodeId[]): boolean {
    return nodes.some((node) => this.#removedNodes.has(node));
  }

  #classified(socket: Socket): void {
    this.#places.get(peerKey(socket))?.();
  }

  #classify(socket: Socket, leave: () => void): void {
    const key = peerKey(socket);
    this.#places.set(key, leave);
    const giveUp = () => socket.destroy();
    const timer = setTimeout(giveUp, classifyTimeoutMs);
    socket.once("end", giveUp);
    socket.once("close", () => {
      clearTimeout(timer);
      leave();
      if (this.#places.get(key) === leave) this.#places.delete(key);
    });
    socket.once("data", (first: Buffer) => {
      clearTimeout(timer);
      socket.off("end", giveUp);
      socket.pause();
      socket.unshift(first);
      this.#dispatch(socket, first[0]);
    });
  }

  #dispatch(socket: Socket, first: number | undefined): void {
    switch (first) {
      case tlsFirst:
        this.#tls.emit("connection", socket);
        break;
      case libp2pFirst:
        this.#classified(socket);
        this.#passToLibp2p(socket);
        break;
      default:
        socket.end(answerText(400, "This port speaks TLS and libp2p only."));
        socket.destroySoon();
    }
  }

  #passToLibp2p(socket: Socket): void {
    const grownUp = this.#young.enter(socket.remoteAddress);
    if (grownUp === undefined) {
      socket.destroy();
      return;
    }
    const timer = setTimeout(grownUp, youngPeerMs);
    socket.once("close", () => {
      clearTimeout(timer);
      grownUp();
    });
    void this.#passToDaemon(socket, () => {
      const { host, port } = this.#configuration.libp2p;
      return connectTcp({ host, port, timeoutMs: connectTimeoutMs });
    });
  }

  #onSecure(socket: TLSSocket): void {
    absorbErrors(socket);
    this.#classified(socket);
    if (socket.alpnProtocol !== dataProtocol) this.#passToApi(socket);
    else if (socket.authorized) this.#serveNode(socket);
    else socket.destroy();
  }

  #serveNode(socket: TLSSocket): void {
    const nodes = nodesNamed(socket.getPeerCertificate());
    if (this.#isRefused(nodes)) {
      socket.destroy();
      return;
    }
    this.#tunnels.set(socket, nodes);
    socket.once("close", () => this.#tunnels.delete(socket));
    void serveTunnel(socket, this.#options);
  }

  #passToApi(socket: TLSSocket): void {
    const leave = this.#apiConnections.enter(socket.remoteAddress);
    if (leave === undefined) {
      socket.end(answerText(503, "Too many connections to the API are open."));
      socket.destroySoon();
      return;
    }
    socket.once("close", leave);
    if (this.#options.isDaemonAttached()) {
      void this.#passToDaemon(socket, () => connectUnix(this.#configuration.apiSocketPath));
      return;
    }
    socket.end(answerText(503, "This node's daemon is not running at the moment."));
    socket.destroySoon();
  }

  async #passToDaemon(socket: Socket, open: () => Promise<Socket>): Promise<void> {
    const daemon = this.#options.isDaemonAttached()
      ? await open().catch(() => undefined)
      : undefined;
    if (daemon === undefined) socket.destroy();
    else await relay(socket, daemon);
  }
}

/** The same for a connection and for the TLS socket that is put on it. */
function peerKey(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
