import { z } from "zod";
import { voterCounts } from "../cluster/voter-counts.ts";
import { submittedServiceSchema } from "../spec/service-spec.ts";
import { eventRoutes } from "./event-routes.ts";
import { intentRoutes, queueQuery } from "./intent-routes.ts";
import { namespaceRoutes } from "./namespace-routes.ts";
import { nodeRoutes } from "./node-routes.ts";
import { revisionViewSchema, whatIfViewSchema, whyViewSchema } from "./planning-views.ts";
import {
  appliedSchema,
  backupSchema,
  createdTokenSchema,
  logEntrySchema,
  recoveryViewSchema,
  serviceViewSchema,
  statusViewSchema,
  taskViewSchema,
  tokenViewSchema,
} from "./views.ts";

/** No request body may be larger: a manifest of a thousand services stays far below. */
export const maxRequestBytes = 4 * 1024 * 1024;

const namespaceQuery = z.object({ namespace: z.string().optional() });
const serviceParams = z.object({ namespace: z.string(), name: z.string() });
const nothing = z.object({});

/**
 * Every route of the API: one table for the server, the client and the documentation.
 * `stream` routes answer with one JSON document per line for as long as the client listens.
 */
export const routes = {
  status: {
    method: "GET",
    path: "/v1/status",
    params: nothing,
    query: nothing,
    body: undefined,
    response: statusViewSchema,
  },
  removeNode: {
    method: "DELETE",
    path: "/v1/nodes/:node",
    /** A node's name or its whole id. */
    params: z.object({ node: z.string() }),
    query: z.object({ force: z.enum(["true", "false"]).default("false") }),
    body: undefined,
    response: z.object({ index: z.number(), name: z.string() }),
  },
  ...nodeRoutes,
  ...eventRoutes,
  ...intentRoutes,
  ...namespaceRoutes,
  listServices: {
    method: "GET",
    path: "/v1/services",
    params: nothing,
    query: namespaceQuery,
    body: undefined,
    response: z.array(serviceViewSchema),
  },
  getService: {
    method: "GET",
    path: "/v1/services/:namespace/:name",
    params: serviceParams,
    query: nothing,
    body: undefined,
    response: serviceViewSchema,
  },
  watchServices: {
    method: "GET",
    path: "/v1/watch/services",
    params: nothing,
    query: namespaceQuery,
    body: undefined,
    response: z.array(serviceViewSchema),
    stream: true,
  },
  applyServices: {
    method: "POST",
    path: "/v1/services",
    params: nothing,
    query: queueQuery,
    body: z.strictObject({
      services: z.array(submittedServiceSchema).min(1).max(1_000),
      /** Only tell what would change. */
      dryRun: z.boolean(),
      /** Refuse where one of them exists already. */
      onlyNew: z.boolean().optional(),
    }),
    response: appliedSchema,
  },
  scaleService: {
    method: "POST",
    path: "/v1/services/:namespace/:name/scale",
    params: serviceParams,
    query: queueQuery,
    body: z.strictObject({ replicas: z.number().int().min(0).max(10_000) }),
    response: appliedSchema,
  },
  /** Why the tasks of a service are where they are, or are nowhere. */
  why: {
    method: "GET",
    path: "/v1/services/:namespace/:name/why",
    params: serviceParams,
    query: nothing,
    body: undefined,
    response: whyViewSchema,
  },
  /** What would happen; changes nothing. */
  whatIf: {
    method: "POST",
    path: "/v1/plan",
    params: nothing,
    query: nothing,
    body: z.strictObject({
      services: z.array(submittedServiceSchema).max(1_000).default([]),
      scale: z
        .array(
          z.strictObject({
            namespace: z.string(),
            name: z.string(),
            replicas: z.number().int().min(0).max(10_000),
          }),
        )
        .max(1_000)
        .default([]),
      /** Nodes, by name or id, that fail for good. */
      kill: z.array(z.string()).max(1_000).default([]),
      addNodes: z
        .array(
          z.strictObject({
            cpuMillis: z.number().int().positive(),
            memoryBytes: z.number().int().positive(),
          }),
        )
        .max(100)
        .default([]),
    }),
    response: whatIfViewSchema,
  },
  serviceHistory: {
    method: "GET",
    path: "/v1/services/:namespace/:name/history",
    params: serviceParams,
    query: nothing,
    body: undefined,
    response: z.array(revisionViewSchema),
  },
  rollBackService: {
    method: "POST",
    path: "/v1/services/:namespace/:name/rollback",
    params: serviceParams,
    query: queueQuery,
    body: z.strictObject({ revision: z.number().int().positive().optional() }),
    response: appliedSchema,
  },
  /** Runs in another namespace what runs in this one, to the digest. */
  promoteService: {
    method: "POST",
    path: "/v1/services/:namespace/:name/promotion",
    params: serviceParams,
    query: nothing,
    body: z.strictObject({
      to: z.string().min(1).max(63),
      isWhole: z.boolean().default(false),
      dryRun: z.boolean().default(false),
      /** Of the service that is promoted: refused when it has changed since it was shown. */
      version: z.number().int().optional(),
    }),
    response: appliedSchema.extend({
      version: z.number(),
      image: z.string(),
      /** Whether the image is named by its digest. */
      isPinned: z.boolean(),
    }),
  },
  /** New containers of the same description; none any more; or some again. */
  steerService: {
    method: "POST",
    path: "/v1/services/:namespace/:name/actions",
    params: serviceParams,
    query: queueQuery,
    body: z.strictObject({ action: z.enum(["restart", "stop", "start"]) }),
    response: appliedSchema,
  },
  /** Halts a roll-out, or lets one that was halted go on. */
  steerRollout: {
    method: "POST",
    path: "/v1/services/:namespace/:name/rollout",
    params: serviceParams,
    query: nothing,
    body: z.strictObject({ action: z.enum(["pause", "resume"]) }),
    response: z.object({ index: z.number() }),
  },
  /** Starts a run of a job now. */
  triggerJob: {
    method: "POST",
    path: "/v1/services/:namespace/:name/runs",
    params: serviceParams,
    query: nothing,
    body: z.strictObject({}),
    response: z.object({ index: z.number(), run: z.number() }),
  },
  suspendSchedule: {
    method: "POST",
    path: "/v1/services/:namespace/:name/suspend",
    params: serviceParams,
    query: nothing,
    body: z.strictObject({ isSuspended: z.boolean() }),
    response: z.object({ index: z.number() }),
  },
  listTasks: {
    method: "GET",
    path: "/v1/tasks",
    params: nothing,
    query: z.object({ namespace: z.string().optional(), service: z.string().optional() }),
    body: undefined,
    response: z.array(taskViewSchema),
  },
  logs: {
    method: "GET",
    path: "/v1/services/:namespace/:name/logs",
    params: serviceParams,
    query: z.object({
      follow: z.enum(["true", "false"]).default("false"),
      tail: z.coerce.number().int().min(0).max(100_000).optional(),
      /** Of a pod; absent: its main one. */
      container: z.string().max(63).optional(),
    }),
    body: undefined,
    response: logEntrySchema,
    stream: true,
  },
  setMaxVoters: {
    method: "POST",
    path: "/v1/voters",
    params: nothing,
    query: nothing,
    body: z.strictObject({ maxVoters: z.literal(voterCounts) }),
    response: z.object({ index: z.number() }),
  },
  createToken: {
    method: "POST",
    path: "/v1/tokens",
    params: nothing,
    query: nothing,
    body: z.strictObject({
      role: z.enum(["node", "admin"]),
      ttlMs: z
        .number()
        .int()
        .min(1_000)
        .max(365 * 86_400_000),
      uses: z.number().int().min(1).optional(),
    }),
    response: createdTokenSchema,
  },
  listTokens: {
    method: "GET",
    path: "/v1/tokens",
    params: nothing,
    query: nothing,
    body: undefined,
    response: z.array(tokenViewSchema),
  },
  revokeToken: {
    method: "DELETE",
    path: "/v1/tokens/:id",
    params: z.object({ id: z.string().max(64) }),
    query: nothing,
    body: undefined,
    response: z.object({ index: z.number() }),
  },
  backup: {
    method: "GET",
    path: "/v1/backup",
    params: nothing,
    query: nothing,
    body: undefined,
    response: backupSchema,
  },
  recovery: {
    method: "GET",
    path: "/v1/recovery",
    params: nothing,
    query: nothing,
    body: undefined,
    response: recoveryViewSchema,
  },
  recover: {
    method: "POST",
    path: "/v1/recovery",
    params: nothing,
    query: nothing,
    body: z.strictObject({
      /** Ids of the nodes that are given up: those that `recovery` showed not to answer. */
      lost: z.array(z.string()).max(10_000),
    }),
    response: z.object({ index: z.number() }),
  },
} as const satisfies Readonly<Record<string, RouteShape>>;

type RouteShape = {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly params: z.ZodType;
  readonly query: z.ZodType;
  readonly body: z.ZodType | undefined;
  readonly response: z.ZodType;
  readonly stream?: true;
};

export type RouteName = keyof typeof routes;
type RouteOf<Name extends RouteName> = (typeof routes)[Name];
type Parsed<Schema> = Schema extends z.ZodType ? z.infer<Schema> : undefined;

/** What a handler of one route gets, checked. */
export type RouteRequest<Name extends RouteName> = {
  readonly params: Parsed<RouteOf<Name>["params"]>;
  readonly query: Parsed<RouteOf<Name>["query"]>;
  readonly body: Parsed<RouteOf<Name>["body"]>;
  /** Who asks, as far as the server can tell: a token's id, or that it came over the local socket. */
  readonly author: string;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
};

/** What one route answers with. */
export type RouteResponse<Name extends RouteName> = z.infer<RouteOf<Name>["response"]>;

/** The routes that answer with a stream of documents. */
export type StreamRouteName = {
  [Name in RouteName]: RouteOf<Name> extends { readonly stream: true } ? Name : never;
}[RouteName];

export type PlainRouteName = Exclude<RouteName, StreamRouteName>;

/** One function per route, and nothing else. */
export type Handlers = {
  readonly [Name in PlainRouteName]: (request: RouteRequest<Name>) => Promise<RouteResponse<Name>>;
} & {
  readonly [Name in StreamRouteName]: (
    request: RouteRequest<Name>,
  ) => AsyncIterable<RouteResponse<Name>>;
};
