import { connect, type Socket } from "node:net";
import {
  createServer as createTlsServer,
  type TLSSocket,
  type Server as TlsServer,
} from "node:tls";
import type { ProxyConfiguration } from "../control-protocol.ts";
import { answerText } from "./answers.ts";
import { absorbErrors, connectTcp } from "./connect-tcp.ts";
import { dataProtocol, type LocalEndpoints, serveTunnel } from "./data-path.ts";
import {
  classifyTimeoutMs,
  connectTimeoutMs,
  handshakeTimeoutMs,
  unclassifiedMax,
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
  readonly #unclassified = new Set<string>();

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

  /** Takes a connection that was just accepted. */
  readonly serve = (socket: Socket): ServedConnection => {
    if (this.#unclassified.size >= unclassifiedMax) socket.destroy();
    else this.#classify(socket);
    return {
      drain: () => undefined,
      destroy: () => socket.destroy(),
      checkDeadline: () => undefined,
    };
  };

  #classify(socket: Socket): void {
    const key = peerKey(socket);
    this.#unclassified.add(key);
    const giveUp = () => socket.destroy();
    const timer = setTimeout(giveUp, classifyTimeoutMs);
    socket.once("end", giveUp);
    socket.once("close", () => {
      clearTimeout(timer);
      this.#unclassified.delete(key);
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
        this.#unclassified.delete(peerKey(socket));
        void this.#passToDaemon(socket, () => {
          const { host, port } = this.#configuration.libp2p;
          return connectTcp({ host, port, timeoutMs: connectTimeoutMs });
        });
        break;
      default:
        socket.end(answerText(400, "This port speaks TLS and libp2p only."));
        socket.destroySoon();
    }
  }

  #onSecure(socket: TLSSocket): void {
    absorbErrors(socket);
    this.#unclassified.delete(peerKey(socket));
    if (socket.alpnProtocol !== dataProtocol) this.#passToApi(socket);
    else if (socket.authorized) void serveTunnel(socket, this.#options);
    else socket.destroy();
  }

  #passToApi(socket: TLSSocket): void {
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

async function connectUnix(path: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ path, allowHalfOpen: true });
  absorbErrors(socket);
  socket.once("connect", resolve);
  socket.once("error", reject);
  await promise;
  return socket;
}
