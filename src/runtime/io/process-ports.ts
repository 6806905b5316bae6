import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import type { TaskTemplate } from "../../spec/index.ts";
import type { Container } from "../container-runtime.ts";
import { RuntimeError } from "../errors.ts";

/** Below the range from which systems give outgoing connections their ports. */
const firstPort = 20_000;
const portCount = 10_000;
const maxAttempts = 200;

export type AssignedPorts = {
  readonly endpoints: Container["endpoints"];
  readonly hostPorts: Container["hostPorts"];
};

/**
 * Gives out ports of this machine. A port is only reserved here, not held: its program
 * binds it later, and when another was faster it fails and is started with a new one.
 */
export class PortBook {
  /** The address of endpoints. */
  readonly #address: string;
  readonly #hostAddress: string;
  readonly #taken = new Map<number, string>();

  constructor(options: { readonly address: string; readonly hostAddress: string }) {
    this.#address = options.address;
    this.#hostAddress = options.hostAddress;
  }

  /** Where a program has to listen to be reached at all of its ports. */
  listenAddressOf({ hostPorts }: AssignedPorts): string {
    return hostPorts.length > 0 ? this.#hostAddress : this.#address;
  }

  async assign(containerId: string, template: TaskTemplate): Promise<AssignedPorts> {
    try {
      const hostPorts: { target: number; hostPort: number; protocol: "tcp" | "udp" }[] = [];
      for (const { target, published, protocol } of template.hostPorts) {
        const hostPort =
          published === undefined
            ? await this.#claimAny(containerId, this.#hostAddress, protocol)
            : await this.#claimPublished(containerId, published, protocol);
        hostPorts.push({ target, hostPort, protocol });
      }
      const endpoints: { target: number; address: string; port: number }[] = [];
      for (const target of template.exposedPorts) {
        // A program listens once: a port that is bound on the machine is its endpoint as well.
        const bound = hostPorts.find((each) => each.target === target && each.protocol === "tcp");
        const port = bound?.hostPort ?? (await this.#claimAny(containerId, this.#address, "tcp"));
        const isElsewhere = bound !== undefined && this.#hostAddress !== "0.0.0.0";
        endpoints.push({ target, address: isElsewhere ? this.#hostAddress : this.#address, port });
      }
      return { endpoints, hostPorts };
    } catch (error) {
      this.release(containerId);
      throw error;
    }
  }

  /** For a container that is found running. */
  adopt(containerId: string, { endpoints, hostPorts }: AssignedPorts): void {
    for (const { port } of endpoints) this.#taken.set(port, containerId);
    for (const { hostPort } of hostPorts) this.#taken.set(hostPort, containerId);
  }

  release(containerId: string): void {
    for (const [port, owner] of this.#taken) if (owner === containerId) this.#taken.delete(port);
  }

  async #claimPublished(
    containerId: string,
    port: number,
    protocol: "tcp" | "udp",
  ): Promise<number> {
    if (await this.#claim(containerId, port, this.#hostAddress, protocol)) return port;
    throw new RuntimeError(
      "port_in_use",
      `The port ${port} of this machine is taken: free it, or publish another.`,
    );
  }

  async #claimAny(containerId: string, address: string, protocol: "tcp" | "udp"): Promise<number> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const port = firstPort + randomInt(portCount);
      if (await this.#claim(containerId, port, address, protocol)) return port;
    }
    throw new RuntimeError(
      "port_in_use",
      `No free port was found from ${firstPort} to ${firstPort + portCount - 1} of this machine.`,
    );
  }

  async #claim(
    containerId: string,
    port: number,
    address: string,
    protocol: "tcp" | "udp",
  ): Promise<boolean> {
    const owner = this.#taken.get(port);
    if (owner !== undefined) return owner === containerId;
    this.#taken.set(port, containerId); // Before the wait, so that nobody else tries the same.
    const isFree =
      protocol === "tcp" ? await canListen(port, address) : await canBind(port, address);
    if (!isFree) this.#taken.delete(port);
    return isFree;
  }
}

async function canListen(port: number, address: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = createServer();
  server.once("error", () => resolve(false));
  server.listen({ port, host: address, exclusive: true }, () => server.close(() => resolve(true)));
  return await promise;
}

async function canBind(port: number, address: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  socket.once("error", () => resolve(false));
  socket.bind({ port, address, exclusive: true }, () => socket.close(() => resolve(true)));
  return await promise;
}
