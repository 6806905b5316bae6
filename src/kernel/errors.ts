/**
 * The base of every failure that Skein throws: a closed union of codes per folder,
 * a sentence for the user, and the cause. Code decides by `code`, never by text.
 */
export class CodedError<Code extends string> extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Fails a broken invariant. It stays on in production: the process ends and restarts from disk. */
export function assert(condition: unknown, whatMustHold: string): asserts condition {
  if (!condition) throw new Error(`Invariant broken: ${whatMustHold}`);
}

/** Keeps a `switch` over a union complete: a missing case does not compile. */
export function assertNever(value: never): never {
  throw new Error(`Invariant broken: unexpected variant ${JSON.stringify(value)}`);
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of anything that was thrown, where it has one (`ENOENT`, `not_found`, …). */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
