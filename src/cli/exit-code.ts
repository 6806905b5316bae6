import { codeOf } from "../kernel/index.ts";

/** Exit statuses: part of the contract with scripts. */
export const exitCode = {
  done: 0,
  failed: 1,
  usage: 2,
  notPlaceable: 3,
  timedOut: 4,
  noQuorum: 5,
  notFound: 6,
  conflict: 7,
  notAllowed: 8,
  unreachable: 9,
  /** Of `plan --exit-code`: there are changes. */
  changes: 10,
  interrupted: 130,
} as const;

const byCode: Readonly<Record<string, number>> = {
  usage: exitCode.usage,
  invalid: exitCode.usage,
  too_large: exitCode.usage,
  not_placeable: exitCode.notPlaceable,
  timed_out: exitCode.timedOut,
  no_quorum: exitCode.noQuorum,
  queued: exitCode.noQuorum,
  not_found: exitCode.notFound,
  conflict: exitCode.conflict,
  port_taken: exitCode.conflict,
  name_taken: exitCode.conflict,
  unauthorized: exitCode.notAllowed,
  forbidden: exitCode.notAllowed,
  quota_exceeded: exitCode.notAllowed,
  not_trusted: exitCode.notAllowed,
  bad_token: exitCode.notAllowed,
  not_admitted: exitCode.notAllowed,
  unreachable: exitCode.unreachable,
  interrupted: exitCode.interrupted,
};

/** The exit status for anything that was thrown. */
export function exitCodeOf(error: unknown): number {
  return byCode[codeOf(error) ?? ""] ?? exitCode.failed;
}
