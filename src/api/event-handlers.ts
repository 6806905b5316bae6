import type { z } from "zod";
import type { Handlers } from "./contract.ts";
import type { eventRoutes } from "./event-routes.ts";
import type { EventsView, PastView } from "./event-views.ts";

/** Which events are asked for. Times are wall clock, ms. */
export type EventQuery = {
  readonly namespace?: string | undefined;
  readonly objects: readonly string[];
  readonly reasons: readonly string[];
  readonly types: readonly ("Normal" | "Warning")[];
  readonly sinceMs: number;
  readonly untilMs?: number | undefined;
  readonly limit: number;
};

type Waiting = { readonly signal: AbortSignal };

/** What the handlers of the history need of the daemon. */
export interface EventsBackend {
  events(query: EventQuery, options: Waiting): Promise<EventsView>;
  /** What there is, then what comes. */
  followEvents(query: EventQuery, options: Waiting): AsyncIterable<EventsView>;
  /** @throws ApiError `not_found` */
  whyThen(
    asked: {
      readonly namespace?: string | undefined;
      readonly object: string;
      readonly atMs: number;
    },
    options: Waiting,
  ): Promise<PastView>;
}

type EventHandlers = Pick<Handlers, "listEvents" | "watchEvents" | "whyThen">;

export function eventHandlers(backend: EventsBackend): EventHandlers {
  return {
    listEvents: ({ query, signal }) => backend.events(queryOf(query), { signal }),
    watchEvents: ({ query, signal }) => backend.followEvents(queryOf(query), { signal }),
    whyThen: ({ query, signal }) => {
      const { namespace, object, at } = query;
      return backend.whyThen({ namespace, object, atMs: msOf(at) ?? 0 }, { signal });
    },
  };
}

type Selection = z.infer<(typeof eventRoutes)["listEvents"]["query"]>;

function queryOf(selection: Selection): EventQuery {
  const { namespace, object, reason, type, since, until, limit } = selection;
  return {
    namespace,
    objects: listOf(object),
    reasons: listOf(reason),
    types: type === undefined ? [] : [type],
    sinceMs: msOf(since) ?? 0,
    untilMs: msOf(until),
    limit,
  };
}

function listOf(text: string): readonly string[] {
  return text
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each !== "")
    .slice(0, 100);
}

function msOf(text: string | undefined): number | undefined {
  // Reads the given text, no clock.
  // biome-ignore lint/style/noRestrictedGlobals: see above
  return text === undefined ? undefined : Date.parse(text);
}
