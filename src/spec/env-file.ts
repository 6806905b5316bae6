import type { Diagnostics } from "./diagnostics.ts";
import { interpolate } from "./interpolate.ts";
import type { Position } from "./service-spec.ts";
import { holdsNul, shortened } from "./tree.ts";

const maxEnvFileLength = 2 ** 20;
/** Enough for certificates; each line more reads the value once more. */
const maxLinesPerValue = 200;

/**
 * Reads `KEY=value` lines as Compose does: `#` starts a comment, `export` may go before a
 * key, single quotes keep everything, double quotes know `\n`, and what is not in single
 * quotes may use variables of the environment and of the lines before. A key alone takes
 * its value from the environment.
 */
export function readEnvFile(
  file: { readonly name: string; readonly text: string },
  options: {
    readonly environment: Readonly<Record<string, string>>;
    readonly diagnostics: Diagnostics;
    /** Takes values as they stand: quotes and dollar signs mean nothing. */
    readonly isRaw?: boolean;
  },
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const { environment, diagnostics } = options;
  if (file.text.length > maxEnvFileLength) {
    diagnostics.problem({ file: file.name, line: 1, column: 1 }, "the file is larger than 1 MiB");
    return values;
  }
  const nul = file.text.indexOf("\0");
  if (nul >= 0) {
    const before = file.text.slice(0, nul).split("\n");
    const position = {
      file: file.name,
      line: before.length,
      column: (before.at(-1) ?? "").length + 1,
    };
    diagnostics.problem(position, `the file ${holdsNul}`, "save it as text in UTF-8");
    return values;
  }
  // One object for all lines: copying it for each would take quadratic time.
  const known: Record<string, string> = Object.assign(Object.create(null), environment);
  const lines = file.text.replace(/^\uFEFF/, "").split(/\r?\n/);
  for (let index = 0; index < lines.length; index += 1) {
    const position: Position = { file: file.name, line: index + 1, column: 1 };
    const parts = /^\s*(?:export\s+)?([^\s=#"']+)\s*(?:=[ \t]*(.*))?$/s.exec(lines[index] ?? "");
    if (/^\s*(?:#|$)/.test(lines[index] ?? "")) continue;
    if (parts === null) {
      const what = `\`${shortened(lines[index] ?? "")}\` is not a \`KEY=value\` line`;
      diagnostics.problem(position, what);
      continue;
    }
    const [, key = "", written] = parts;
    if (written === undefined) {
      const value = known[key];
      if (value !== undefined) values.set(key, value);
      continue;
    }
    if (options.isRaw) {
      values.set(key, written);
      continue;
    }
    let raw = written;
    // A quoted value may go on over several lines.
    const lastIndex = Math.min(lines.length - 1, index + maxLinesPerValue - 1);
    while (index < lastIndex && isOpen(raw)) {
      index += 1;
      raw += `\n${lines[index] ?? ""}`;
    }
    const value = readValue(raw, { environment: known, diagnostics, position });
    values.set(key, value);
    known[key] = value;
  }
  return values;
}

/** A project's own `.env`, by the same rules, as variables for its manifest. */
export function readDotEnv(
  file: { readonly name: string; readonly text: string },
  options: {
    readonly environment: Readonly<Record<string, string>>;
    readonly diagnostics: Diagnostics;
  },
): Readonly<Record<string, string>> {
  return Object.fromEntries(readEnvFile(file, options));
}

const closedDouble = /^"((?:[^"\\]|\\.)*)"[ \t]*(?:#.*)?$/s;
const closedSingle = /^'([^']*)'[ \t]*(?:#.*)?$/s;

function isOpen(raw: string): boolean {
  return raw.startsWith('"')
    ? !closedDouble.test(raw)
    : raw.startsWith("'") && !closedSingle.test(raw);
}

function readValue(
  raw: string,
  context: {
    readonly environment: Readonly<Record<string, string>>;
    readonly diagnostics: Diagnostics;
    readonly position: Position;
  },
): string {
  const { environment, diagnostics, position } = context;
  if (isOpen(raw)) {
    diagnostics.problem(position, "the quote is not closed");
    return "";
  }
  const single = closedSingle.exec(raw)?.[1];
  if (single !== undefined) return single;
  const double = closedDouble.exec(raw)?.[1];
  const text = double === undefined ? raw.replace(/(?:^|\s)#.*$/, "").trim() : unescaped(double);
  const result = interpolate(text, environment);
  if (result.kind === "failed") {
    diagnostics.problem(position, result.message, result.hint);
    return "";
  }
  for (const { name } of result.missing) {
    const what = `the variable \`${name}\` is not set; an empty text stands for it`;
    diagnostics.ignored(position, what);
  }
  return result.text;
}

function unescaped(text: string): string {
  const known: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", $: "$$" };
  return text.replace(/\\(.)/gs, (_all, letter: string) => known[letter] ?? letter);
}
