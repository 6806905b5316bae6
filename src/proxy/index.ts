/** Routing: agreed and observed facts become a route table; the proxy process acts on it. */
export {
  type Backend,
  type Endpoint,
  emptyRouteTable,
  type HostRoute,
  type PublishedPort,
  type RouteTable,
} from "./route-table.ts";
