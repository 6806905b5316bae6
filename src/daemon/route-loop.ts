import type { ClusterState, Observations } from "../cluster/index.ts";
import { sameValue } from "../cluster/index.ts";
import {
  Cell,
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  runReconcileLoop,
  type TaskId,
  Wakeup,
} from "../kernel/index.ts";
import { planRoutes, type RouteTable, type RoutingFacts } from "../proxy/index.ts";
import { awaitedTasks } from "./awaited-tasks.ts";

/** The daemon's end of the proxy process. */
interface RouteSink {
  setTable(
    table: Omit<RouteTable, "version">,
    options: { readonly signal: AbortSignal },
  ): Promise<{ readonly problems: readonly PortProblem[] }>;
  /** Ports that cannot be served at the moment, as far as the proxy tells. */
  problems(options: { readonly signal: AbortSignal }): Promise<readonly PortProblem[]>;
}

type PortProblem = { readonly port: number; readonly message: string };

type RouteLoopOptions = {
  readonly self: NodeId;
  readonly state: ReadableCell<ClusterState>;
  readonly observations: ReadableCell<Observations>;
  readonly proxy: RouteSink;
  /** Until it is true the proxy keeps the table that it has. */
  readonly isReady: ReadableCell<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
};

export type RouteLoop = AsyncDisposable & {
  /** Index of the agreed state whose routes this node's proxy has confirmed. */
  readonly routesIndex: ReadableCell<number>;
  /** Tasks that a roll-out waits for and that the confirmed table does not know to serve. */
  readonly awaited: ReadableCell<readonly TaskId[]>;
  /** Why ports of this node do not answer, as sentences. */
  problems(): readonly string[];
};

/** Keeps the proxy's route table as the facts say. */
export function startRouteLoop(options: RouteLoopOptions): RouteLoop {
  const { self, state, observations, proxy, isReady, clock, logger } = options;
  const routesIndex = new Cell(0);
  const awaited = new Cell<readonly TaskId[]>([]);
  const wakeup = new Wakeup();
  const stops = [state, observations, isReady].map((cell) => cell.subscribe(() => wakeup.wake()));
  const stopping = new AbortController();
  let confirmed: Omit<RouteTable, "version" | "stateIndex"> | undefined;
  let problems: readonly PortProblem[] = [];
  /** What the confirmed table was planned from. */
  let confirmedFrom: readonly unknown[] = [];

  const done = runReconcileLoop(
    wakeup,
    {
      reconcile: async ({ signal }) => {
        if (!isReady.get()) return;
        const facts = { state: state.get(), observations: observations.get(), self };
        const from = routedFacts(facts);
        // Most changes are of no route: with many nodes, planning for each would cost the most.
        const isSame = confirmed !== undefined && areIdentical(from, confirmedFrom);
        if (isSame && problems.length === 0) {
          routesIndex.set(facts.state.index);
          return;
        }
        const table = planRoutes(facts);
        const { stateIndex, ...routes } = table;
        if (!sameValue(routes, confirmed)) {
          const answer = await proxy.setTable(table, { signal });
          if (answer.problems.length > 0 && !sameValue(answer.problems, problems)) {
            logger.warn({ problems: answer.problems }, "some ports cannot be served");
          }
          problems = answer.problems;
          confirmed = routes;
        } else if (problems.length > 0) {
          // The proxy tries again by itself; a port that answers by now is no problem any more.
          problems = await proxy.problems({ signal });
        }
        const unknown = awaitedTasks(facts.state, facts.observations);
        if (!sameValue(unknown, awaited.get())) awaited.set(unknown);
        routesIndex.set(stateIndex);
        confirmedFrom = from;
      },
      onError: (error, retryInMs) => {
        confirmed = undefined;
        logger.warn({ error: messageOf(error), retryInMs }, "routes not set");
      },
      clock,
      resyncMs: 10_000,
      retryMaxMs: 2_000,
    },
    stopping.signal,
  );
  return {
    routesIndex,
    awaited,
    problems: () => problems.map(({ message }) => message),
    [Symbol.asyncDispose]: async () => {
      for (const stop of stops) stop();
      stopping.abort();
      await done;
    },
  };
}

/** All that routes follow from, as it is held: none of it changes in place. */
function routedFacts({
  state: { services, tasks, nodes, removedNodes },
  observations: { members, reports },
}: Pick<RoutingFacts, "state" | "observations">): readonly unknown[] {
  const facts: unknown[] = [services, tasks, nodes, removedNodes, members];
  for (const [node, report] of reports) facts.push(node, report.tasks, report.isDialOutOnly);
  return facts;
}

function areIdentical(left: readonly unknown[], right: readonly unknown[]): boolean {
  return left.length === right.length && left.every((each, i) => each === right[i]);
}
