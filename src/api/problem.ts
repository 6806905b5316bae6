import { z } from "zod";
import { CodedError } from "../kernel/index.ts";

/** Every failure that the API can answer with, its HTTP status, and what `type` points to. */
export const problemStatus = {
  /** No failure: taken, and not agreed yet. */
  queued: 202,
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  port_taken: 409,
  quota_exceeded: 403,
  name_taken: 409,
  too_large: 413,
  busy: 429,
  internal: 500,
  no_quorum: 503,
  unreachable: 503,
  timed_out: 504,
} as const;

export type ProblemCode = keyof typeof problemStatus;

export class ApiError extends CodedError<ProblemCode> {}

/** `application/problem+json` (RFC 9457) with our code beside the standard members. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number(),
  detail: z.string(),
  code: z.string(),
});

export type Problem = z.infer<typeof problemSchema>;

const titles: Readonly<Record<ProblemCode, string>> = {
  queued: "Kept until there is a quorum",
  invalid: "The request is not valid",
  unauthorized: "No valid token was given",
  forbidden: "The token does not allow this",
  not_found: "No such object",
  conflict: "The object has changed or exists already",
  port_taken: "The address belongs to another service",
  quota_exceeded: "The namespace may not have so much",
  name_taken: "The name belongs to another node",
  too_large: "The request is too large",
  busy: "Too much of this is going on",
  internal: "The daemon failed",
  no_quorum: "The cluster cannot decide now",
  unreachable: "The node cannot be reached",
  timed_out: "The cluster did not answer in time",
};

export function isProblemCode(code: string | undefined): code is ProblemCode {
  return code !== undefined && Object.hasOwn(problemStatus, code);
}

export function problemOf(code: ProblemCode, detail: string): Problem {
  return {
    type: `urn:skein:problem:${code}`,
    title: titles[code],
    status: problemStatus[code],
    detail,
    code,
  };
}
