import type { Socket } from "node:net";
import type { Endpoint } from "../index.ts";
import { connectTcp } from "./connect-tcp.ts";
import { openTunnel, type TlsIdentity } from "./data-path.ts";
import { connectTimeoutMs } from "./limits.ts";

/** Opens connections to endpoints, wherever they are. */
export class Dialer {
  #identity: TlsIdentity | undefined;

  setIdentity(identity: TlsIdentity): void {
    this.#identity = identity;
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
    return openTunnel(via, { taskId, target }, this.#identity);
  }
}
