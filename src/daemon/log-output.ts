import pino, { type DestinationStream } from "pino";
import { z } from "zod";
import type { Logger } from "../kernel/index.ts";
import { logDestination } from "../kernel/io/log-destination.ts";

const lineSchema = z.looseObject({ time: z.number(), level: z.number(), msg: z.string() });

const levels: Readonly<Record<number, string>> = {
  20: "debug",
  30: "info",
  40: "warn",
  50: "error",
};
/** Said by every line, or in the line's own place already. */
const hidden = new Set(["time", "level", "msg", "node", "part"]);

/**
 * The daemon's log on stderr: one JSON document a line for machines, plain lines where a
 * person looks on.
 */
export function makeLogger(options: {
  readonly level: string;
  readonly node: string;
  readonly isTerminal: boolean;
}): Logger {
  const stderr = logDestination(2);
  const readable: DestinationStream = { write: (line) => stderr.write(plainLine(line)) };
  return pino(
    { level: options.level, base: { node: options.node } },
    options.isTerminal ? readable : stderr,
  );
}

/** `12:30:05 info  raft: leader changed term=3` */
export function plainLine(json: string): string {
  const parsed = lineSchema.safeParse(JSON.parse(json));
  if (!parsed.success) return json;
  const { time, level, msg, part, ...fields } = parsed.data;
  const clock = new Date(time).toTimeString().slice(0, 8);
  const details = Object.entries(fields)
    .filter(([name]) => !hidden.has(name))
    .map(
      ([name, value]) => ` ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
    );
  const where = typeof part === "string" ? `${part}: ` : "";
  return `${clock} ${(levels[level] ?? "fatal").padEnd(5)} ${where}${msg}${details.join("")}\n`;
}
