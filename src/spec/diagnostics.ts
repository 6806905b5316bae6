import type { ManifestProblem, Position } from "./service-spec.ts";

/** More than this nobody reads; the rest shows once these are mended. */
const maxProblems = 100;

/** One line for people: `compose.yaml:7:5: unknown key …; did you mean …?` */
export function formatProblem(problem: ManifestProblem): string {
  const hint = problem.hint === undefined ? "" : `; ${problem.hint}`;
  return `${placeOf(problem.position)}: ${problem.message}${hint}`;
}

/** Collects what is wrong with a manifest, and what of it is passed over. */
export class Diagnostics {
  readonly #allowIgnored: boolean;
  readonly #problems = new Map<string, ManifestProblem>();
  readonly #ignored = new Map<string, ManifestProblem>();
  readonly #broken = new Set<string>();

  constructor(options: { readonly allowIgnored: boolean }) {
    this.#allowIgnored = options.allowIgnored;
  }

  problem(position: Position, message: string, hint?: string): void {
    if (this.#broken.has(placeOf(position))) return;
    add(this.#problems, { position, message, ...(hint !== undefined && { hint }) });
  }

  /** Keeps silent from now on about a value whose real trouble has been reported. */
  markBroken(position: Position): void {
    this.#broken.add(placeOf(position));
  }

  ignored(position: Position, message: string, hint?: string): void {
    add(this.#ignored, { position, message, ...(hint !== undefined && { hint }) });
  }

  /** A problem, unless the user asked to have what is not supported yet ignored. */
  notYet(position: Position, message: string, hint?: string): void {
    if (this.#allowIgnored) this.ignored(position, `${message}, and is ignored`);
    else this.problem(position, message, hint);
  }

  /** Whether further problems would not be kept, so that looking for hints is wasted. */
  get isFull(): boolean {
    return this.#problems.size >= maxProblems;
  }

  /** The same for what is ignored. */
  get isIgnoredFull(): boolean {
    return this.#ignored.size >= maxProblems;
  }

  /** In the order of the files, lines and columns. */
  problems(): readonly ManifestProblem[] {
    return inOrder(this.#problems);
  }

  ignoredThings(): readonly ManifestProblem[] {
    return inOrder(this.#ignored);
  }
}

function placeOf({ file, line, column }: Position): string {
  return `${file}:${line}:${column}`;
}

function add(target: Map<string, ManifestProblem>, problem: ManifestProblem): void {
  // What an anchor holds is read once for each alias, and would be reported as often.
  if (target.size < maxProblems) target.set(formatProblem(problem), problem);
}

function inOrder(problems: ReadonlyMap<string, ManifestProblem>): readonly ManifestProblem[] {
  const files = [...new Set([...problems.values()].map((problem) => problem.position.file))];
  return [...problems.values()].sort(
    ({ position: left }, { position: right }) =>
      files.indexOf(left.file) - files.indexOf(right.file) ||
      left.line - right.line ||
      left.column - right.column,
  );
}
