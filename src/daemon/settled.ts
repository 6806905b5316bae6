import { Cell, type Clock, type Logger, messageOf, type ReadableCell } from "../kernel/index.ts";

/** Without a leader for this long, the last agreed state is all there is to act on. */
export const graceMs = 10_000;
const retryMs = 100;

/**
 * Becomes true once this node knows what the cluster has agreed by now: it has caught up
 * with the leader, or no leader was found for {@link graceMs}. Until then the agent starts
 * and stops nothing: a machine that comes back after a power loss must not start again what
 * runs elsewhere by now.
 */
export function watchSettled(options: {
  /** Resolves once this node has applied everything that was agreed when it was asked. */
  readonly barrier: (options: { readonly signal: AbortSignal }) => Promise<unknown>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): ReadableCell<boolean> {
  const { barrier, clock, logger, signal } = options;
  const settled = new Cell(false);
  const startedAt = clock.monotonic();

  async function wait(): Promise<void> {
    while (!settled.get() && !signal.aborted) {
      const leftMs = graceMs - (clock.monotonic() - startedAt);
      if (leftMs <= 0) {
        logger.warn({ graceMs }, "no leader found, acting on the last agreed state");
        settled.set(true);
        return;
      }
      const late = new AbortController();
      const done = new AbortController();
      clock.sleep(leftMs, { signal: AbortSignal.any([signal, done.signal]) }).then(
        () => late.abort(),
        () => undefined,
      );
      try {
        await barrier({ signal: AbortSignal.any([signal, late.signal]) });
        settled.set(true);
      } catch (error) {
        logger.debug({ error: messageOf(error) }, "not caught up yet");
        await clock.sleep(retryMs, { signal }).catch(() => undefined);
      } finally {
        done.abort();
      }
    }
  }

  wait().catch((error: unknown) => logger.error({ error }, "settling failed"));
  return settled;
}
