import type { Cron } from "./cron.ts";

const minuteMs = 60_000;
const dayMs = 86_400_000;
/** The 29th of February can be eight years away. */
const maxDays = 366 * 9;

/** Whether this machine knows a time zone of that name. */
export function isTimeZone(name: string): boolean {
  try {
    formatterOf(name);
    return /^[A-Za-z][\w+/-]{0,63}$/.test(name);
  } catch {
    return false;
  }
}

/**
 * The first due time after `afterMs`, ms since 1970; undefined when there is none, as for the
 * 31st of February. A time of day that the clocks skip is due right after they were put
 * forward by as much; one that comes twice is due the first time, unless every hour is due.
 */
export function nextDueMs(cron: Cron, timeZone: string, afterMs: number): number | undefined {
  const localMs = afterMs + offsetMs(timeZone, afterMs);
  const firstDay = Math.floor(localMs / dayMs) - 1;
  for (let day = firstDay; day < firstDay + maxDays; day += 1) {
    if (!isDueDay(cron, day)) continue;
    const due = firstDueOf(cron, timeZone, { day, afterMs });
    if (due !== undefined) return due;
  }
  return undefined;
}

/** The last due time in `(afterMs, untilMs]`, and how many there were. */
export function lastDueMs(
  cron: Cron,
  timeZone: string,
  { afterMs, untilMs }: { readonly afterMs: number; readonly untilMs: number },
): { readonly dueMs: number; readonly count: number } | undefined {
  let found: { readonly dueMs: number; readonly count: number } | undefined;
  // After a long silence only the last day is looked through, unless nothing was due in it.
  for (const fromMs of new Set([Math.max(afterMs, untilMs - dayMs), afterMs])) {
    let dueMs = nextDueMs(cron, timeZone, fromMs);
    while (dueMs !== undefined && dueMs <= untilMs) {
      found = { dueMs, count: (found?.count ?? 0) + 1 };
      dueMs = nextDueMs(cron, timeZone, dueMs);
    }
    if (found !== undefined) return found;
  }
  return undefined;
}

function isDueDay(cron: Cron, day: number): boolean {
  const { month, dayOfMonth } = civilDate(day);
  if (!cron.months.has(month)) return false;
  // The 1st of January 1970 was a Thursday.
  const isWeekday = cron.daysOfWeek.has((((day + 4) % 7) + 7) % 7);
  const isMonthday = cron.daysOfMonth.has(dayOfMonth);
  if (cron.isAnyDayOfMonth || cron.isAnyDayOfWeek) return isWeekday && isMonthday;
  return isWeekday || isMonthday;
}

function firstDueOf(
  cron: Cron,
  timeZone: string,
  { day, afterMs }: { readonly day: number; readonly afterMs: number },
): number | undefined {
  const startMs = day * dayMs;
  const before = offsetMs(timeZone, startMs - dayMs);
  const after = offsetMs(timeZone, startMs + 2 * dayMs);
  const times: number[] = [];
  for (const hour of cron.hours) {
    const hourMs = startMs + hour * 60 * minuteMs;
    // On most days all clocks run evenly, and what is past need not be looked at.
    if (before === after && hourMs + 60 * minuteMs - before <= afterMs) continue;
    for (const minute of cron.minutes) {
      const wallMs = hourMs + minute * minuteMs;
      if (before !== after) times.push(...instantsOf(cron, timeZone, wallMs, { before, after }));
      else if (wallMs - before > afterMs) return wallMs - before;
    }
  }
  return times.sort((a, b) => a - b).find((timeMs) => timeMs > afterMs);
}

/** The moments at which clocks show a time on a day on which they may be put forward or back. */
function instantsOf(
  { isEveryHour }: Cron,
  timeZone: string,
  wallMs: number,
  { before, after }: { readonly before: number; readonly after: number },
): readonly number[] {
  const times = [wallMs - before, wallMs - after]
    .filter((timeMs) => timeMs + offsetMs(timeZone, timeMs) === wallMs)
    .sort((a, b) => a - b);
  if (isEveryHour) return times;
  return [times[0] ?? wallMs - before];
}

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  const known = formatters.get(timeZone);
  if (known !== undefined) return known;
  const formatter = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    ...{ year: "numeric", month: "numeric", day: "numeric", hour: "numeric" },
    ...{ minute: "numeric", second: "numeric", era: "short" },
  });
  formatters.set(timeZone, formatter);
  return formatter;
}

/** How far clocks in the zone are ahead of UTC at that moment. */
function offsetMs(timeZone: string, timeMs: number): number {
  if (timeZone === "UTC") return 0;
  const numbers = new Map<string, number>();
  for (const { type, value } of formatterOf(timeZone).formatToParts(timeMs)) {
    numbers.set(type, Number(value));
  }
  const of = (type: string) => numbers.get(type) ?? 0;
  const seconds = of("hour") * 3_600 + of("minute") * 60 + of("second");
  const localMs = daysFromCivil(of("year"), of("month"), of("day")) * dayMs + seconds * 1_000;
  return localMs - Math.floor(timeMs / 1_000) * 1_000;
}

/** Days since 1970 as a date of the Gregorian calendar, by the algorithm of Hinnant. */
function civilDate(days: number): { readonly month: number; readonly dayOfMonth: number } {
  const shifted = days + 719_468;
  const dayOfEra = shifted - Math.floor(shifted / 146_097) * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1_460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const dayOfMonth = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  return { month: shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9, dayOfMonth };
}

function daysFromCivil(year: number, month: number, dayOfMonth: number): number {
  const shiftedYear = month <= 2 ? year - 1 : year;
  const era = Math.floor(shiftedYear / 400);
  const yearOfEra = shiftedYear - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + dayOfMonth - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}
