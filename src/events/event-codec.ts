import { z } from "zod";
import { nodeId } from "../kernel/index.ts";
import { type ClusterEvent, type EventAuthor, maxEventMessageLength } from "./event.ts";

const name = z.string().max(300);

/** From a file or another node: bounded, and open for the reasons and kinds of newer daemons. */
const eventSchema = z.object({
  by: z
    .string()
    .max(128)
    .transform((text): EventAuthor => (text === "log" ? text : nodeId(text))),
  sequence: z.int().nonnegative(),
  index: z.int().nonnegative(),
  timeMs: z.number().min(0).max(8_640_000_000_000_000),
  type: z.enum(["Normal", "Warning"]),
  reason: z.string().min(1).max(64),
  object: z.object({
    kind: z.string().min(1).max(32),
    name,
    namespace: name.optional(),
    service: name.optional(),
    id: name.optional(),
  }),
  message: z.string().max(maxEventMessageLength),
  node: name.optional(),
  revision: z.int().optional(),
  key: z.string().max(2_000).optional(),
});

/** Undefined for what is no event. */
export function readEvent(value: unknown): ClusterEvent | undefined {
  const parsed = eventSchema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}
