/** Routing: agreed and observed facts become a route table; the proxy process acts on it. */
export type { PortProblem, ProxyConfiguration, ProxyStats, TableAck } from "./control-protocol.ts";
export { type NamedCertificate, namesNode, nodeUri } from "./node-name.ts";
export { planRoutes, type RoutingFacts } from "./plan-routes.ts";
export type {
  Backend,
  Endpoint,
  HostRoute,
  PublishedPort,
  RoutePlan,
  RouteTable,
} from "./route-table.ts";
