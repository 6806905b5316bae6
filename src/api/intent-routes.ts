import { z } from "zod";

const nothing = z.object({});
const intentParams = z.object({ number: z.coerce.number().int().positive() });

/** Whether a change is kept where there is no quorum; else it fails then. */
export const queueQuery: z.ZodObject<{
  queue: z.ZodDefault<z.ZodEnum<{ true: "true"; false: "false" }>>;
}> = z.object({ queue: z.enum(["true", "false"]).default("true") });

export const intentViewSchema = z.object({
  /** Of the node that keeps it. */
  number: z.number(),
  node: z.string(),
  /** As somebody would type it. */
  change: z.string(),
  services: z.array(z.string()),
  author: z.string(),
  takenAt: z.string(),
  /** `waiting`: for a quorum or its turn; `refused`: for a person to decide. */
  state: z.enum(["waiting", "refused"]),
  /** The state in words. */
  message: z.string(),
});

export type IntentView = z.infer<typeof intentViewSchema>;

/** The routes about changes that wait for a quorum on the node that is asked. */
export const intentRoutes = {
  listIntents: {
    method: "GET",
    path: "/v1/intents",
    params: nothing,
    query: nothing,
    body: undefined,
    response: z.array(intentViewSchema),
  },
  cancelIntent: {
    method: "DELETE",
    path: "/v1/intents/:number",
    params: intentParams,
    query: nothing,
    body: undefined,
    response: intentViewSchema,
  },
  /** Tries a refused one again, whatever has become of the services since it was asked for. */
  applyIntent: {
    method: "POST",
    path: "/v1/intents/:number/apply",
    params: intentParams,
    query: nothing,
    body: z.strictObject({}),
    /** Null when it was agreed, else what has become of it. */
    response: z.object({ left: intentViewSchema.nullable() }),
  },
} as const;
