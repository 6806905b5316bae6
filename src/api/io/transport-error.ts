import { CodedError } from "../../kernel/index.ts";

/** `unreachable`: nobody answers. `not_trusted`: who answers is not of the token's cluster. */
export class TransportError extends CodedError<"unreachable" | "not_trusted"> {}
