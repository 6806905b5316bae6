import t from "tap";
import { apply, type ClusterState, noObservations } from "../../src/cluster/index.ts";
import { startRouteLoop } from "../../src/daemon/route-loop.ts";
import { Cell, nodeId, silentLogger, whenCell } from "../../src/kernel/index.ts";
import { systemClock as clock } from "../../src/kernel/io/system.ts";
import { clusterOf } from "../builders.ts";

const { signal } = new AbortController();

t.test("a port that cannot be served is told of until it can be", async (t) => {
  const state = new Cell<ClusterState>(clusterOf("n1"));
  const taken = { port: 8080, message: "Port 8080 is taken by another process." };
  let problems = [taken];
  const routes = startRouteLoop({
    self: nodeId("n1"),
    state,
    observations: new Cell(noObservations),
    proxy: { setTable: async () => ({ problems }), problems: async () => problems },
    isReady: new Cell(true),
    clock,
    logger: silentLogger,
  });
  t.teardown(() => routes[Symbol.asyncDispose]());
  const next = async () => {
    const { index } = state.get();
    state.set(apply(state.get(), index + 1, { kind: "set_max_voters", maxVoters: 3 }).state);
    await whenCell(routes.routesIndex, (confirmed) => confirmed > index, { signal });
  };
  await next();
  t.same(routes.problems(), [taken.message]);
  await next();
  t.same(routes.problems(), [taken.message], "the routes are as before, and so is the problem");
  problems = [];
  await next();
  t.same(routes.problems(), [], "the proxy has bound it since");
});
