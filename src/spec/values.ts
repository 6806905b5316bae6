/** Readers of single values. Each returns `undefined` for what it cannot read. */

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const maxDurationMs = 366 * 86_400_000;

/** `1m30s`, `1.5h`, `0` in milliseconds, rounded up: a short wait does not become none. */
export function readDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g)) {
    total += Number(amount) * (unitMs[unit ?? ""] ?? Number.NaN);
  }
  return total <= maxDurationMs ? Math.ceil(total) : undefined;
}

/** `256M`, `256mb`, `1.5 GiB`, `1024`: units are powers of 1024, as engines read them. */
export function readBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgtp])i?)?b?$/i.exec(text);
  if (match === null) return undefined;
  const exponent = " kmgtp".indexOf(match[2]?.toLowerCase() ?? " ");
  const bytes = Math.round(Number(match[1]) * 1024 ** exponent);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `0.5` CPUs as thousandths of a CPU. */
export function readCpuMillis(text: string): number | undefined {
  if (!/^\d+(?:\.\d+)?$/.test(text)) return undefined;
  const millis = Math.round(Number(text) * 1_000);
  return millis >= 1 && millis <= 1_024_000 ? millis : undefined;
}

/** A whole number in the usual spelling, in a range. */
export function readInteger(
  text: string,
  range: { readonly minimum: number; readonly maximum: number },
): number | undefined {
  if (!/^-?\d{1,15}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= range.minimum && value <= range.maximum ? value : undefined;
}

/** A decimal number in a range. */
export function readNumber(
  text: string,
  range: { readonly minimum: number; readonly maximum: number },
): number | undefined {
  if (!/^-?\d*\.?\d+$/.test(text)) return undefined;
  const value = Number(text);
  return value >= range.minimum && value <= range.maximum ? value : undefined;
}

export function readBoolean(text: string): boolean | undefined {
  if (/^true$/i.test(text)) return true;
  return /^false$/i.test(text) ? false : undefined;
}

/** A port number of TCP or UDP. */
export function readPort(text: string): number | undefined {
  return readInteger(text, { minimum: 1, maximum: 65_535 });
}

/** `8000` or `8000-8010`, both ends included. */
export function readPortRange(
  text: string,
): { readonly first: number; readonly last: number } | undefined {
  const [start = "", end, ...rest] = text.split("-");
  const first = readPort(start);
  const last = end === undefined ? first : readPort(end);
  if (first === undefined || last === undefined || last < first || rest.length > 0) {
    return undefined;
  }
  return { first, last };
}

/**
 * The words of a command line as a shell splits them: quotes and backslashes count,
 * nothing else does. `undefined` when a quote is not closed.
 */
export function splitWords(line: string): readonly string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let index = 0; index < line.length; index += 1) {
    const character = line.charAt(index);
    const next = line.charAt(index + 1);
    if (quote === "" && /\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (quote === "" && (character === "'" || character === '"')) {
      quote = character;
      word ??= "";
    } else if (character === quote && quote !== "") {
      quote = "";
    } else if (character === "\\" && isEscape({ quote, next })) {
      index += 1;
      // A backslash at the end of a line joins it with the next one.
      word = (word ?? "") + (next === "\n" ? "" : next);
    } else {
      word = (word ?? "") + character;
    }
  }
  if (quote !== "") return undefined;
  return word === undefined ? words : [...words, word];
}

function isEscape(at: { readonly quote: string; readonly next: string }): boolean {
  if (at.quote === "'" || at.next === "") return false;
  return at.quote === "" || '"\\$`\n'.includes(at.next);
}
