import { createServer, type Server, type Socket } from "node:net";
import { absorbErrors } from "./connect-tcp.ts";
import { drainTimeoutMs } from "./limits.ts";

/** A connection that a listener has accepted, as long as it is open. */
export interface ServedConnection {
  /** Its port is going away: end when nothing is lost by it. */
  drain(): void;
  destroy(): void;
  checkDeadline(nowMs: number): void;
}

export type ServeSocket = (socket: Socket) => ServedConnection;

/** Counts connections over all listeners of the process. */
export class ConnectionLimit {
  readonly #max: number;
  #open = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get open(): number {
    return this.#open;
  }

  enter(): boolean {
    if (this.#open >= this.#max) return false;
    this.#open += 1;
    return true;
  }

  leave(): void {
    this.#open -= 1;
  }
}

type ListenerOptions = {
  readonly host: string;
  readonly port: number;
  readonly serve: ServeSocket;
  readonly limit: ConnectionLimit;
};

/** A bound port and the connections that came in through it. */
export class TcpListener {
  readonly #server: Server;
  readonly #connections = new Set<ServedConnection>();
  #drainTimer: NodeJS.Timeout | undefined;

  /** Rejects when the port cannot be bound. */
  static async open(options: ListenerOptions): Promise<TcpListener> {
    const listener = new TcpListener(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = listener.#server;
    server.once("error", reject);
    server.listen({ host: options.host, port: options.port, backlog: 1024 }, resolve);
    await promise;
    server.off("error", reject);
    // Running out of file descriptors is reported here; the next accept may succeed again.
    absorbErrors(server);
    return listener;
  }

  private constructor({ serve, limit }: ListenerOptions) {
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      absorbErrors(socket);
      if (!limit.enter()) {
        socket.destroy();
        return;
      }
      const connection = serve(socket);
      this.#connections.add(connection);
      socket.once("close", () => {
        limit.leave();
        this.#connections.delete(connection);
        this.#endDrainWhenEmpty();
      });
    });
  }

  checkDeadlines(nowMs: number): void {
    for (const connection of this.#connections) connection.checkDeadline(nowMs);
  }

  /** Accepts no more, and lets what is open finish, for a bounded time. */
  drain(): void {
    this.#server.close();
    for (const connection of [...this.#connections]) connection.drain();
    this.#drainTimer = setTimeout(() => this.destroy(), drainTimeoutMs);
    this.#endDrainWhenEmpty();
  }

  destroy(): void {
    clearTimeout(this.#drainTimer);
    this.#server.close();
    for (const connection of [...this.#connections]) connection.destroy();
  }

  get isEmpty(): boolean {
    return this.#connections.size === 0;
  }

  #endDrainWhenEmpty(): void {
    if (this.isEmpty) clearTimeout(this.#drainTimer);
  }
}
