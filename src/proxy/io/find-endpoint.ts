import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServiceKey } from "../../kernel/index.ts";
import type { Balancer } from "../balancer.ts";
import type { ProxyContext } from "./context.ts";
import { findEndpointTimeoutMs, roundPausesMs } from "./limits.ts";
import type { UpstreamEndpoint } from "./upstream-endpoint.ts";

/** A backend of the present table; it lives on, with its turn, from table to table. */
export type LiveBackend = {
  readonly service: ServiceKey;
  readonly balancer: Balancer<UpstreamEndpoint>;
};

export type FoundEndpoint = { readonly endpoint: UpstreamEndpoint; readonly socket: Socket };

/**
 * A new connection to any endpoint of the backend: those of `tried` excepted, then, after a
 * pause in which the next table may arrive, all of them again. Nothing was sent yet, so
 * this is safe for every request. Never rejects; undefined when no endpoint accepts in time.
 */
export async function findEndpoint(
  { balancer }: LiveBackend,
  { dialer, nowMs, counters }: ProxyContext,
  { first, tried }: { readonly first?: UpstreamEndpoint | undefined; tried: Set<UpstreamEndpoint> },
): Promise<FoundEndpoint | undefined> {
  const giveUpAtMs = nowMs() + findEndpointTimeoutMs;
  let endpoint = first ?? balancer.next(nowMs(), tried);
  for (const pauseMs of [...roundPausesMs, 0]) {
    while (endpoint !== undefined) {
      const socket = await dialer.dial(endpoint.endpoint).catch(() => undefined);
      if (socket !== undefined) {
        endpoint.health.succeeded();
        if (!endpoint.isRetired) return { endpoint, socket };
        // It left the table meanwhile, and its container may be about to stop.
        socket.destroy();
      } else {
        endpoint.health.failed(nowMs());
      }
      counters.retries += 1;
      if (nowMs() > giveUpAtMs) return undefined;
      tried.add(endpoint);
      endpoint = balancer.next(nowMs(), tried);
    }
    if (balancer.size === 0) return undefined;
    tried.clear();
    await sleep(pauseMs);
    endpoint = balancer.next(nowMs());
  }
  return undefined;
}
