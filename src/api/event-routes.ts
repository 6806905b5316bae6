import { z } from "zod";
import { eventsViewSchema, pastViewSchema } from "./event-views.ts";

const nothing = z.object({});
const time = z.iso.datetime({ offset: true });

/** Several, with commas between. */
const names = z.string().max(4_000).default("");

const selection = z.object({
  namespace: z.string().max(300).optional(),
  /** `web`, `web.2`, `shop/web`, `node/n1`: a service's name means its tasks too. */
  object: names,
  reason: names,
  type: z.enum(["Normal", "Warning"]).optional(),
  since: time.optional(),
  until: time.optional(),
  /** The newest so many. */
  limit: z.coerce.number().int().min(1).max(10_000).default(1_000),
});

/** The routes about history, as parts of the one table. */
export const eventRoutes = {
  listEvents: {
    method: "GET",
    path: "/v1/events",
    params: nothing,
    query: selection,
    body: undefined,
    response: eventsViewSchema,
  },
  /** What there is, then what comes, in parcels. */
  watchEvents: {
    method: "GET",
    path: "/v1/watch/events",
    params: nothing,
    query: selection,
    body: undefined,
    response: eventsViewSchema,
    stream: true,
  },
  /** What was decided about a service or a task up to a time, from the history. */
  whyThen: {
    method: "GET",
    path: "/v1/why-then",
    params: nothing,
    query: z.object({
      namespace: z.string().max(300).optional(),
      object: z.string().min(1).max(600),
      at: time,
    }),
    body: undefined,
    response: pastViewSchema,
  },
} as const;
