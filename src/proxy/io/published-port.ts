import type { Socket } from "node:net";
import { ClientConnection, type RouteRequest } from "./client-connection.ts";
import type { ProxyContext } from "./context.ts";
import type { LiveBackend } from "./find-endpoint.ts";
import { sniffTimeoutMs } from "./limits.ts";
import type { ServedConnection } from "./tcp-listener.ts";
import { RelayedConnection } from "./tcp-relay.ts";

/**
 * Methods that make a connection HTTP. `PRI` (HTTP/2 with prior knowledge, as gRPC uses it)
 * is not among them: it is relayed, and the replica speaks it itself.
 */
const httpStarts: readonly string[] = [
  ...["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"],
  ...["PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"],
  "QUERY",
].map((method) => `${method} `);
/** Of the first octets: room for a few empty lines and the longest method. */
const lookedAtBytes = 64;

/**
 * What a connection's first octets say of it. The beginning of a method says HTTP already:
 * otherwise a client that sends it in two pieces would get past what is added and checked here.
 */
export function looksLikeHttp(first: Buffer): boolean {
  // Empty lines before a request are allowed (RFC 9112 §2.2).
  const text = first.toString("latin1", 0, lookedAtBytes).replace(/^(?:\r\n)+/, "");
  if (text === "") return first.length > 0;
  return httpStarts.some((start) => text.startsWith(start) || start.startsWith(text));
}

export function serveHttp(
  socket: Socket,
  route: RouteRequest,
  context: ProxyContext,
  first?: Buffer,
): ServedConnection {
  const connection = new ClientConnection(socket, route, context);
  connection.start(first);
  return connection;
}

/** A connection of an `auto` port: HTTP or plain TCP, by what comes first. */
export class UndecidedConnection implements ServedConnection {
  readonly #socket: Socket;
  #decided: ServedConnection | undefined;
  #isDraining = false;

  constructor(socket: Socket, backend: () => LiveBackend | undefined, context: ProxyContext) {
    this.#socket = socket;
    const decide = (first?: Buffer) => {
      clearTimeout(timer);
      socket.off("data", decide);
      socket.off("end", silent);
      socket.pause();
      this.#decided =
        first !== undefined && looksLikeHttp(first)
          ? serveHttp(socket, backend, context, first)
          : new RelayedConnection(socket, backend, { context, first });
      if (this.#isDraining) this.#decided.drain();
    };
    const silent = () => decide();
    // Where the server speaks first, the client says nothing until it has.
    const timer = setTimeout(silent, sniffTimeoutMs);
    socket.once("data", decide);
    socket.once("end", silent);
    socket.once("close", () => clearTimeout(timer));
  }

  drain(): void {
    this.#isDraining = true;
    this.#decided?.drain();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  checkDeadline(nowMs: number): void {
    this.#decided?.checkDeadline(nowMs);
  }
}
