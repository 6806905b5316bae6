import { CliError } from "./cli-error.ts";
import { parseDurationMs } from "./duration.ts";

const dayMs = 86_400_000;

/** `14:05:07` by this machine's clock, with the date where it is not of the last hours. */
export function clockText(time: string, nowMs: number): string {
  const at = new Date(time);
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  const isRecent = Math.abs(nowMs - at.getTime()) < dayMs / 2;
  if (isRecent) return clock;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock}`;
}

/**
 * A time in the past: RFC 3339, `14:05` or `14:05:07` by this machine's clock (of yesterday
 * where that is still to come today), or `-10m`.
 */
export function parseTimeMs(text: string, nowMs: number): number {
  if (text.startsWith("-")) return nowMs - parseDurationMs(text.slice(1));
  const clock = /^([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?$/.exec(text);
  if (clock !== null) {
    const at = new Date(nowMs);
    at.setHours(Number(clock[1]), Number(clock[2]), Number(clock[3] ?? 0), 0);
    if (at.getTime() > nowMs) at.setDate(at.getDate() - 1);
    return at.getTime();
  }
  const ms = /^\d{4}-\d{2}-\d{2}T/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw new CliError("usage", `"${text}" is no time. Write 2026-01-31T14:05:00Z, 14:05 or -10m`);
}
