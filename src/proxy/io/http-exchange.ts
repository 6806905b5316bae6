import type { ProxyContext } from "./context.ts";
import type { Exchange, UpstreamFailure } from "./exchange.ts";
import { findEndpoint, type LiveBackend } from "./find-endpoint.ts";
import { resendsMax } from "./limits.ts";
import { UpstreamConnection } from "./upstream-connection.ts";
import type { UpstreamEndpoint } from "./upstream-endpoint.ts";

/** A request in the form in which it travels on. */
export type ForwardedRequest = {
  /** Head, and body where it is short and already here: then it is the whole request. */
  readonly text: string;
  readonly isWhole: boolean;
  /** Sending it twice is the same as sending it once. */
  readonly isIdempotent: boolean;
  readonly isHead: boolean;
  readonly isHttp10: boolean;
  readonly asksUpgrade: boolean;
  readonly keepsAlive: boolean;
};

/** The client's side of an exchange. */
export interface ExchangeClient {
  respond(data: string | Buffer): boolean;
  /** The head has been sent: the body may follow. */
  upstreamReady(): void;
  upstreamDrained(): void;
  upgraded(): void;
  tunnelEnded(): void;
  /** The answer has been passed on completely. */
  exchangeEnded(options: { readonly keepsAlive: boolean }): void;
  /** There will be no answer (`message` says why), or it broke off (`hasAnswered`). */
  exchangeFailed(failure: { readonly hasAnswered: boolean; readonly message: string }): void;
}

/**
 * One request and its answer: finds an endpoint, sends, and sends again when that is safe
 * and no answer has begun.
 */
export class HttpExchange implements Exchange {
  readonly isHead: boolean;
  readonly isHttp10: boolean;
  readonly asksUpgrade: boolean;
  keepsAlive: boolean;
  readonly #text: string;
  readonly #isRepeatable: boolean;
  readonly #backend: LiveBackend;
  readonly #context: ProxyContext;
  readonly #client: ExchangeClient;
  readonly #tried = new Set<UpstreamEndpoint>();
  #isSent: boolean;
  #resends = 0;
  #isOver = false;
  #endpoint: UpstreamEndpoint | undefined;
  #upstream: UpstreamConnection | undefined;

  constructor(
    request: ForwardedRequest,
    backend: LiveBackend,
    { context, client }: { readonly context: ProxyContext; readonly client: ExchangeClient },
  ) {
    this.isHead = request.isHead;
    this.isHttp10 = request.isHttp10;
    this.asksUpgrade = request.asksUpgrade;
    this.keepsAlive = request.keepsAlive;
    this.#text = request.text;
    this.#isSent = request.isWhole;
    this.#isRepeatable = request.isWhole && request.isIdempotent;
    this.#backend = backend;
    this.#context = context;
    this.#client = client;
  }

  /** Sends the request; calls `upstreamReady` when it could, perhaps before it returns. */
  start(): void {
    this.#context.counters.requests += 1;
    const nowMs = this.#context.nowMs();
    const endpoint = this.#backend.balancer.next(nowMs);
    const idle = endpoint?.takeIdle({ mustBeFresh: !this.#isRepeatable, nowMs });
    if (endpoint !== undefined && idle !== undefined) this.#send(endpoint, idle);
    else void this.#connect(endpoint);
  }

  /** Sends more of the body. `false`: wait for `upstreamDrained`. */
  write(data: string | Buffer): boolean {
    return this.#upstream?.write(data) ?? true;
  }

  /** The body has been sent completely. */
  requestSent(): void {
    this.#isSent = true;
  }

  /** The client can take more of the answer. */
  clientDrained(): void {
    this.#upstream?.resume();
  }

  /** The client ended its side of a tunnel. */
  endTunnel(): void {
    this.#upstream?.endTunnel();
  }

  /** The client is gone, or its request was broken: no answer is wanted. */
  abort(): void {
    this.#isOver = true;
    this.#upstream?.destroy();
    this.#upstream = undefined;
  }

  respond(data: string | Buffer): boolean {
    return this.#client.respond(data);
  }

  upgraded(): void {
    this.#client.upgraded();
  }

  upstreamDrained(): void {
    this.#client.upstreamDrained();
  }

  tunnelEnded(): void {
    this.#client.tunnelEnded();
  }

  responseEnded({ isReusable }: { readonly isReusable: boolean }): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    this.#isOver = true;
    // An answer that came before the end of the request leaves neither side usable.
    if (isReusable && this.#isSent) upstream?.release(this.#context.nowMs());
    else upstream?.destroy();
    this.#client.exchangeEnded({ keepsAlive: this.keepsAlive && this.#isSent });
  }

  upstreamFailed({ kind, hasAnswered, wasReused }: UpstreamFailure): void {
    const endpoint = this.#endpoint;
    this.#upstream = undefined;
    if (this.#isOver) return;
    if (!wasReused && !hasAnswered) endpoint?.health.failed(this.#context.nowMs());
    if (kind === "closed" && !hasAnswered && this.#isRepeatable && this.#resends < resendsMax) {
      this.#resends += 1;
      this.#context.counters.retries += 1;
      // A kept connection may just have timed out; a new one that dies says more.
      if (!wasReused && endpoint !== undefined) this.#tried.add(endpoint);
      void this.#connect(undefined);
      return;
    }
    const { service } = this.#backend;
    this.#fail(
      hasAnswered && kind === "closed",
      kind === "closed"
        ? `A replica of ${service} closed the connection before it answered.`
        : `A replica of ${service} answered with something that is not valid HTTP.`,
    );
  }

  nodeIsSilent({ isLost }: { readonly isLost: boolean }): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    const mayMove = this.#isRepeatable && !upstream.hasAnswered;
    if (!isLost && !mayMove) return;
    const { hasAnswered } = upstream;
    upstream.destroy();
    this.upstreamFailed({ kind: "closed", hasAnswered, wasReused: true });
  }

  async #connect(first: UpstreamEndpoint | undefined): Promise<void> {
    const options = { first, tried: this.#tried };
    const found = await findEndpoint(this.#backend, this.#context, options);
    if (found === undefined) {
      if (this.#isOver) return;
      const { service } = this.#backend;
      this.#fail(false, `No replica of ${service} accepted a connection. Try again in a moment.`);
      return;
    }
    const upstream = new UpstreamConnection(found.socket, found.endpoint);
    if (this.#isOver) upstream.release(this.#context.nowMs());
    else this.#send(found.endpoint, upstream);
  }

  #send(endpoint: UpstreamEndpoint, upstream: UpstreamConnection): void {
    this.#endpoint = endpoint;
    this.#upstream = upstream;
    upstream.begin(this, this.#text);
    this.#client.upstreamReady();
  }

  #fail(hasAnswered: boolean, message: string): void {
    this.#isOver = true;
    this.#client.exchangeFailed({ hasAnswered, message });
  }
}
