import type { Socket } from "node:net";
import type { ProxyContext } from "./context.ts";
import type { EndpointUse } from "./exchange.ts";
import { findEndpoint, type LiveBackend } from "./find-endpoint.ts";
import { relay } from "./relay.ts";
import type { ServedConnection } from "./tcp-listener.ts";

/** A client's connection that is passed on byte by byte to one endpoint. */
export class RelayedConnection implements ServedConnection, EndpointUse {
  readonly #socket: Socket;

  constructor(
    socket: Socket,
    backend: () => LiveBackend | undefined,
    { context, first }: { readonly context: ProxyContext; readonly first: Buffer | undefined },
  ) {
    this.#socket = socket;
    socket.pause();
    void this.#run(backend(), context, first);
  }

  /** It ends when its two ends say so, or when the port's time to drain is over. */
  drain(): void {
    // Nothing here knows where the protocol inside could be interrupted.
  }

  destroy(): void {
    this.#socket.destroy();
  }

  checkDeadline(): void {
    // A silent connection may be a healthy one; the kernel's keep-alive finds dead peers.
  }

  nodeIsSilent({ isLost }: { readonly isLost: boolean }): void {
    if (isLost) this.#socket.destroy();
  }

  async #run(
    backend: LiveBackend | undefined,
    context: ProxyContext,
    first: Buffer | undefined,
  ): Promise<void> {
    const found = backend && (await findEndpoint(backend, context, { tried: new Set() }));
    if (found === undefined) {
      this.#socket.destroy();
      return;
    }
    const { endpoint, socket: upstream } = found;
    endpoint.beginUse(this);
    this.#socket.setKeepAlive(true, 10_000);
    if (first !== undefined) upstream.write(first);
    await relay(this.#socket, upstream);
    endpoint.endUse(this);
  }
}
