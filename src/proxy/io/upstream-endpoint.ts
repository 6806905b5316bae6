import { EndpointHealth } from "../balancer.ts";
import type { Endpoint } from "../index.ts";
import type { EndpointUse } from "./exchange.ts";
import { freshIdleMs, idlePerEndpointMax, upstreamIdleTimeoutMs } from "./limits.ts";
import type { LocalUsage } from "./local-usage.ts";
import type { ConnectionOwner, UpstreamConnection } from "./upstream-connection.ts";

/** Tells endpoints apart: the same task at another address is another endpoint. */
export function endpointKey({ taskId, target, via }: Endpoint): string {
  return via.kind === "local"
    ? `${taskId}:${target} local ${via.address} ${via.port}`
    : `${taskId}:${target} node ${via.nodeId} ${via.host} ${via.port}${via.isDetour ? " detour" : ""}`;
}

/**
 * One endpoint of the present route table: its health, its idle connections (the last one
 * used is used next), and what is using it.
 */
export class UpstreamEndpoint implements ConnectionOwner {
  readonly endpoint: Endpoint;
  readonly health = new EndpointHealth();
  readonly #usage: LocalUsage;
  readonly #idle: UpstreamConnection[] = [];
  readonly #uses = new Set<EndpointUse>();
  #isRetired = false;

  constructor(endpoint: Endpoint, usage: LocalUsage) {
    this.endpoint = endpoint;
    this.#usage = usage;
  }

  /** Whether it has left the table. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  get isInUse(): boolean {
    return this.#uses.size > 0;
  }

  /** Counts a use, until `endUse`. */
  beginUse(use: EndpointUse): void {
    this.#uses.add(use);
    if (this.endpoint.via.kind === "local") this.#usage.begin(this.endpoint.taskId);
  }

  endUse(use: EndpointUse): void {
    if (!this.#uses.delete(use)) return;
    if (this.endpoint.via.kind === "local") this.#usage.end(this.endpoint.taskId);
  }

  /** An idle connection, if there is one; `mustBeFresh` when the request cannot be repeated. */
  takeIdle({ mustBeFresh, nowMs }: { readonly mustBeFresh: boolean; readonly nowMs: number }) {
    const connection = this.#idle.at(-1);
    if (connection === undefined) return undefined;
    if (mustBeFresh && nowMs - connection.idleSinceMs > freshIdleMs) return undefined;
    this.#idle.pop();
    return connection;
  }

  /** Keeps a connection for later, or closes it when nobody will want it. */
  release(connection: UpstreamConnection): void {
    if (this.#isRetired || this.#idle.length >= idlePerEndpointMax) connection.destroy();
    else this.#idle.push(connection);
  }

  forget(connection: UpstreamConnection): void {
    const index = this.#idle.indexOf(connection);
    if (index >= 0) this.#idle.splice(index, 1);
  }

  closeIdleSince(nowMs: number): void {
    // The longest idle ones are at the bottom.
    while (this.#idle[0] && nowMs - this.#idle[0].idleSinceMs > upstreamIdleTimeoutMs) {
      this.#idle.shift()?.destroy();
    }
  }

  /** It left the table: nothing new goes there, and what is idle is closed. */
  retire(): void {
    this.#isRetired = true;
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  nodeIsSilent(options: { readonly isLost: boolean }): void {
    for (const use of [...this.#uses]) use.nodeIsSilent(options);
  }
}
