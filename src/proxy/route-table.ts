import type { NodeId, ServiceKey, TaskId } from "../kernel/index.ts";

/** One replica that traffic may go to. */
export type Endpoint = {
  readonly taskId: TaskId;
  /** Container port. Together with the task it names the endpoint on its node. */
  readonly target: number;
  readonly via: /** On this machine: connect here. */
    | { readonly kind: "local"; readonly address: string; readonly port: number }
    /** On another: ask its proxy, over mutual TLS on its one port, for the task's target port. */
    | {
        readonly kind: "node";
        readonly nodeId: NodeId;
        readonly host: string;
        readonly port: number;
        /** It cannot be connected to: by way of the daemons. */
        readonly isDetour?: boolean | undefined;
      };
};

/** A service port and the replicas behind it. */
export type Backend = {
  readonly service: ServiceKey;
  /** Healthy replicas on live nodes; when there are none, those on suspect nodes. */
  readonly endpoints: readonly Endpoint[];
};

export type PublishedPort = {
  readonly port: number;
  readonly appProtocol: "auto" | "http" | "tcp";
  readonly backend: Backend;
};

export type HostRoute = {
  /** Lower-case host name, or `*.` and a suffix. */
  readonly host: string;
  readonly path: string;
  readonly backend: Backend;
};

/** All that a node's proxy needs to know. Replaced whole; `version` only goes up. */
export type RouteTable = {
  readonly version: number;
  /** Index of the agreed state that it was made from. */
  readonly stateIndex: number;
  readonly publishedPorts: readonly PublishedPort[];
  readonly hostRoutes: readonly HostRoute[];
  /**
   * Endpoints on this machine that other nodes' proxies may ask for. Draining ones are
   * still listed: a neighbour may not have heard yet.
   */
  readonly local: readonly {
    readonly taskId: TaskId;
    readonly target: number;
    readonly address: string;
    readonly port: number;
  }[];
  /**
   * Nodes that do not answer. A request that waits for one is sent elsewhere if it may be
   * repeated; connections to a lost one are closed, for no packet will ever do it.
   */
  readonly silentNodes: readonly { readonly nodeId: NodeId; readonly isLost: boolean }[];
  /** Nodes that were removed: their certificates open no tunnel any more, nor keep one open. */
  readonly removedNodes?: readonly NodeId[] | undefined;
};

/** A table before the proxy's client has numbered it. */
export type RoutePlan = Omit<RouteTable, "version">;

export const emptyRouteTable: RouteTable = {
  version: 0,
  stateIndex: 0,
  publishedPorts: [],
  hostRoutes: [],
  local: [],
  silentNodes: [],
};
