import { z } from "zod";
import { type Clock, type Logger, messageOf } from "../../kernel/index.ts";
import type { DockerEngine } from "./docker-engine.ts";
import { readLines } from "./docker-lines.ts";

const retryMinMs = 100;
const retryMaxMs = 10_000;
/** How far back a new stream reaches, so that nothing falls between asking and listening. */
const overlapMs = 2_000;
/** What changes a container; health checks would otherwise wake everybody with their execs. */
const events = ["create", "start", "die", "oom", "pause", "unpause", "rename", "destroy"];

const eventSchema = z.object({ Actor: z.object({ ID: z.string() }) });

/** Who is told; see {@link followEvents}. */
export type EventListener = {
  /** Something may have been missed before. */
  onConnect(): void;
  onEvent(containerId: string): void;
  onDisconnect(): void;
};

/** Tells of every event of a labelled container, and of the connection, until `signal` aborts. */
export async function followEvents(
  engine: DockerEngine,
  options: {
    readonly labels: readonly string[];
    readonly listener: EventListener;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { labels, listener, clock, logger, signal } = options;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const stream = await engine.stream(
        "The engine's events cannot be followed",
        (abortSignal) =>
          engine.docker.getEvents({
            since: Math.floor((clock.now() - overlapMs) / 1000),
            filters: { type: ["container"], label: [...labels], event: events },
            abortSignal,
          }),
        { signal },
      );
      if (failures > 0) logger.info({}, "container engine answers again");
      failures = 0;
      listener.onConnect();
      for await (const line of readLines(stream)) {
        listener.onEvent(eventSchema.parse(JSON.parse(line)).Actor.ID);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (failures === 0) logger.warn({ reason: messageOf(error) }, "container engine lost");
    }
    listener.onDisconnect();
    const retryInMs = Math.min(retryMinMs * 2 ** Math.min(failures, 10), retryMaxMs);
    failures += 1;
    await clock.sleep(retryInMs, { signal }).catch(() => undefined);
  }
}
