/** A request or relay that is using an endpoint. */
export interface EndpointUse {
  /** The endpoint's node is silent: give up, if it is lost; or if trying elsewhere does no harm. */
  nodeIsSilent(options: { readonly isLost: boolean }): void;
}

/** One request on its way, as the upstream side sees it: the client's side implements it. */
export interface Exchange extends EndpointUse {
  readonly isHead: boolean;
  readonly isHttp10: boolean;
  readonly asksUpgrade: boolean;
  /** Whether the client's connection may serve another request. */
  keepsAlive: boolean;
  /** Passes bytes to the client. `false`: it is slow, wait for `resume`. */
  respond(data: string | Buffer): boolean;
  /** From now on this is a tunnel. */
  upgraded(): void;
  /** The upstream can take more of the request. */
  upstreamDrained(): void;
  responseEnded(options: { readonly isReusable: boolean }): void;
  /** The upstream ended its side of a tunnel. */
  tunnelEnded(): void;
  /** No (valid) answer will come, or no more of it. */
  upstreamFailed(failure: UpstreamFailure): void;
}

export type UpstreamFailure = {
  readonly kind: "closed" | "malformed";
  readonly hasAnswered: boolean;
  readonly wasReused: boolean;
};
