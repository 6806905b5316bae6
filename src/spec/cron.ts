/**
 * Schedules in the five fields of cron: minute, hour, day of the month, month, day of the
 * week. As in Vixie's cron a day is due when either of the two day fields matches, once both
 * are restricted.
 */
export type Cron = {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly daysOfMonth: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly daysOfWeek: ReadonlySet<number>;
  /** Whether only the other day field says which days. */
  readonly isAnyDayOfMonth: boolean;
  readonly isAnyDayOfWeek: boolean;
  /** Goes by the time that passes, so that an hour that comes twice counts twice. */
  readonly isEveryHour: boolean;
};

export type ParsedCron =
  | { readonly kind: "valid"; readonly cron: Cron }
  | { readonly kind: "invalid"; readonly message: string };

type Field = {
  readonly name: string;
  readonly first: number;
  readonly last: number;
  readonly words: readonly string[];
};

const months = "jan feb mar apr may jun jul aug sep oct nov dec".split(" ");
const weekdays = "sun mon tue wed thu fri sat".split(" ");

const fields: readonly Field[] = [
  { name: "minute", first: 0, last: 59, words: [] },
  { name: "hour", first: 0, last: 23, words: [] },
  { name: "day of the month", first: 1, last: 31, words: [] },
  { name: "month", first: 1, last: 12, words: months },
  { name: "day of the week", first: 0, last: 7, words: weekdays },
];

const nicknames: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};

const maxTextLength = 200;

/** Reads `0 3 * * mon-fri`, lists, ranges, steps, names, and `@daily` and its like. */
export function parseCron(text: string): ParsedCron {
  if (text.length > maxTextLength)
    return { kind: "invalid", message: "a schedule is not that long" };
  const parts = (nicknames[text.trim().toLowerCase()] ?? text).trim().split(/\s+/);
  if (parts.length !== fields.length) {
    const message = `a schedule has five fields (minute, hour, day of the month, month, day of the week), not ${parts.length}`;
    return { kind: "invalid", message };
  }
  const values: number[][] = [];
  for (const [i, field] of fields.entries()) {
    const part = parts[i] ?? "";
    const read = readField(part.toLowerCase(), field);
    if (read === undefined) {
      const message = `\`${part}\` is not a ${field.name}: it is \`*\`, or numbers from ${field.first} to ${field.last} with \`,\`, \`-\` and \`/\``;
      return { kind: "invalid", message };
    }
    values.push([...new Set(read)].sort((a, b) => a - b));
  }
  const [minutes = [], hours = [], days = [], monthsOfYear = [], weekdaysOfWeek = []] = values;
  return {
    kind: "valid",
    cron: {
      minutes,
      hours,
      daysOfMonth: new Set(days),
      months: new Set(monthsOfYear),
      daysOfWeek: new Set(weekdaysOfWeek.map((day) => day % 7)),
      isAnyDayOfMonth: (parts[2] ?? "").startsWith("*"),
      isAnyDayOfWeek: (parts[4] ?? "").startsWith("*"),
      isEveryHour: (parts[1] ?? "").startsWith("*"),
    },
  };
}

function readField(text: string, field: Field): readonly number[] | undefined {
  const values: number[] = [];
  for (const item of text.split(",")) {
    const [range = "", step, ...rest] = item.split("/");
    const stride = step === undefined ? 1 : readNumber(step, { ...field, first: 1, words: [] });
    const bounds = readBounds(range, field, step !== undefined);
    if (bounds === undefined || stride === undefined || rest.length > 0) return undefined;
    for (let value = bounds.first; value <= bounds.last; value += stride) values.push(value);
  }
  return values;
}

function readBounds(
  text: string,
  field: Field,
  hasStep: boolean,
): { readonly first: number; readonly last: number } | undefined {
  if (text === "*") return field;
  const [low = "", high, ...rest] = text.split("-");
  const first = readNumber(low, field);
  // `5/10` means from 5 on.
  const last = high === undefined ? (hasStep ? field.last : first) : readNumber(high, field);
  if (first === undefined || last === undefined || last < first || rest.length > 0) {
    return undefined;
  }
  return { first, last };
}

function readNumber(text: string, { first, last, words }: Field): number | undefined {
  const word = words.indexOf(text);
  if (word >= 0) return word + first;
  if (!/^\d{1,2}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= first && value <= last ? value : undefined;
}
