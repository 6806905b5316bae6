import { z } from "zod";
import { queueQuery } from "./intent-routes.ts";

const nothing = z.object({});
const namespaceParams = z.object({ namespace: z.string().min(1).max(128) });
const serviceParams = z.object({ namespace: z.string(), name: z.string() });

const amount = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
/** What a namespace may have at the most; what is absent is not limited. */
export const quotaSchema = z.object({
  cpuMillis: amount.optional(),
  memoryBytes: amount.optional(),
  tasks: amount.optional(),
  services: amount.optional(),
});

const namespaceViewSchema = z.object({
  namespace: z.string(),
  services: z.number(),
  tasks: z.number(),
  /** Reserved, as a quota counts it. */
  cpuMillis: z.number(),
  memoryBytes: z.number(),
  quota: quotaSchema,
});

/** A volume whose data stays when the services that used it are removed. */
const keptVolumeSchema = z.object({ volume: z.string(), nodes: z.array(z.string()) });

const removedSchema = z.object({
  index: z.number(),
  removed: z.array(z.string()),
  volumes: z.array(keptVolumeSchema).default([]),
});

export type NamespaceView = z.infer<typeof namespaceViewSchema>;
export type KeptVolume = z.infer<typeof keptVolumeSchema>;

/** The routes about namespaces, and those that remove services. */
export const namespaceRoutes = {
  listNamespaces: {
    method: "GET",
    path: "/v1/namespaces",
    params: nothing,
    query: nothing,
    body: undefined,
    response: z.array(namespaceViewSchema),
  },
  /** Takes the place of the quota before; an empty one takes it away. */
  setQuota: {
    method: "POST",
    path: "/v1/namespaces/:namespace/quota",
    params: namespaceParams,
    query: nothing,
    body: z.strictObject(quotaSchema.shape),
    response: namespaceViewSchema,
  },
  /** All services of a namespace, and its quota. */
  removeNamespace: {
    method: "DELETE",
    path: "/v1/namespaces/:namespace",
    params: namespaceParams,
    query: queueQuery,
    body: undefined,
    response: removedSchema,
  },
  removeService: {
    method: "DELETE",
    path: "/v1/services/:namespace/:name",
    params: serviceParams,
    query: queueQuery,
    body: undefined,
    response: removedSchema,
  },
  /** These services, all or none; those that are not there are left out. */
  removeServices: {
    method: "POST",
    path: "/v1/services/remove",
    params: nothing,
    query: queueQuery,
    body: z.strictObject({ services: z.array(serviceParams).min(1).max(1_000) }),
    response: removedSchema,
  },
} as const;
