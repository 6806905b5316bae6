import { CodedError } from "../kernel/index.ts";

/** What a command ends with when it is not the daemon that refuses. */
export class CliError extends CodedError<
  "usage" | "not_found" | "conflict" | "not_placeable" | "failed" | "interrupted" | "timed_out"
> {}
