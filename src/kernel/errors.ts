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

/** The text of anything that was thrown: of the operating system's failures in words. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return wordsOf(error) ?? error.message;
}

/** What the file system's errors mean to who reads them, and what to do. */
const fileProblems: Readonly<Record<string, string>> = {
  EACCES: "permission is denied (run it as the user who owns the file)",
  EDQUOT: "the disk quota is used up (free some space)",
  EEXIST: "something of that name is there already",
  EIO: "the disk reports an input/output error (look at the disk)",
  EISDIR: "it is a directory",
  ELOOP: "its symbolic links go round in circles",
  EMFILE: "too many files are open (raise the limit, ulimit -n)",
  ENOENT: "it does not exist",
  ENOSPC: "the disk is full (free some space)",
  ENOTDIR: "a part of its path is no directory",
  EPERM: "the system does not permit it",
  EROFS: "the file system is read-only (mount it for writing)",
};

/** `ENOSPC: no space left on device, write` says too little; undefined for all other errors. */
function wordsOf(error: Error): string | undefined {
  if (!("syscall" in error) || typeof error.syscall !== "string") return undefined;
  // Of sockets, whose own text names the address.
  if (["connect", "bind", "listen"].includes(error.syscall)) return undefined;
  const code = codeOf(error) ?? "";
  const problem = fileProblems[code];
  if (problem === undefined) return undefined;
  const path = "path" in error && typeof error.path === "string" ? `${error.path}: ` : "";
  return `${path}${problem} [${code}, ${error.syscall}]`;
}

/** The `code` of anything that was thrown, where it has one (`ENOENT`, `not_found`, …). */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
