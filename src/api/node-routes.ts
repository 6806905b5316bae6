import { z } from "zod";
import { doctorViewSchema, nodeDetailSchema, nodeViewSchema } from "./node-views.ts";

const nothing = z.object({});
/** A node's name or its whole id. */
const nodeParams = z.object({ node: z.string() });

const labelName = z
  .string()
  .regex(
    /^[A-Za-z0-9][\w./-]{0,127}$/,
    "a label's name has letters, digits, dots, slashes and dashes, at most 128",
  );

/** The routes about machines, as parts of the one table. */
export const nodeRoutes = {
  listNodes: {
    method: "GET",
    path: "/v1/nodes",
    params: nothing,
    query: nothing,
    body: undefined,
    response: z.array(nodeViewSchema),
  },
  getNode: {
    method: "GET",
    path: "/v1/nodes/:node",
    params: nodeParams,
    query: nothing,
    body: undefined,
    response: nodeDetailSchema,
  },
  setEligibility: {
    method: "POST",
    path: "/v1/nodes/:node/eligibility",
    params: nodeParams,
    query: nothing,
    body: z.strictObject({ eligibility: z.enum(["active", "drain"]) }),
    response: nodeDetailSchema,
  },
  labelNode: {
    method: "POST",
    path: "/v1/nodes/:node/labels",
    params: nodeParams,
    query: nothing,
    /** Null takes a label away. */
    body: z.strictObject({ labels: z.record(labelName, z.string().max(255).nullable()) }),
    response: nodeDetailSchema,
  },
  doctor: {
    method: "POST",
    path: "/v1/doctor",
    params: nothing,
    query: nothing,
    body: undefined,
    response: doctorViewSchema,
  },
} as const;
