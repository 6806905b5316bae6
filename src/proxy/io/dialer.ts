import type { Socket } from "node:net";
import type { Endpoint } from "../index.ts";
import { connectDetour, connectTcp } from "./connect-tcp.ts";
import { openTunnel, type TlsIdentity } from "./data-path.ts";
import { connectTimeoutMs } from "./limits.ts";

/** Opens connections to endpoints, wherever they are. */
export class Dialer {
  #identity: TlsIdentity | undefined;

  #detourSocketPath: string | undefined;

  configure(identity: TlsIdentity, detourSocketPath: string | undefined): void {
    this.#identity = identity;
    this.#detourSocketPath = detourSocketPath;
  }

  /** A socket whose other end is the replica. Rejects when there is no way to it. */
  dial({ taskId, target, via }: Endpoint): Promise<Socket> {
    if (via.kind === "local") {
      const { address: host, port } = via;
      return connectTcp({ host, port, timeoutMs: connectTimeoutMs });
    }
    if (this.#identity === undefined) {
      return Promise.reject(new Error("The proxy has no node certificate yet."));
    }
    const { nodeId, host, port, isDetour } = via;
    const path = this.#detourSocketPath;
    const connect =
      isDetour === true && path !== undefined
        ? () => connectDetour(path, nodeId)
        : () => connectTcp({ host, port, timeoutMs: connectTimeoutMs });
    return openTunnel({ nodeId, host, port, connect }, { taskId, target }, this.#identity);
  }
}
