import { CliError } from "./cli-error.ts";

const unitMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Reads `90s`, `15m`, `24h` or `7d` as milliseconds. */
export function parseDurationMs(text: string): number {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text);
  const scale = unitMs[match?.[2] ?? ""];
  if (match === null || scale === undefined) {
    throw new CliError(
      "usage",
      `"${text}" is no duration. Write a number and ms, s, m, h or d: 24h`,
    );
  }
  return Number(match[1]) * scale;
}
