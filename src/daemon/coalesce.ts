import type { Clock, ReadableCell } from "../kernel/index.ts";

/**
 * Calls `action` soon after any of the cells changes: at most once per `delayMs`, and
 * always once more after the last change. Returns the undo.
 */
export function onChange(
  cells: readonly ReadableCell<unknown>[],
  action: () => void,
  { delayMs, clock }: { readonly delayMs: number; readonly clock: Clock },
): () => void {
  const stopping = new AbortController();
  let isScheduled = false;
  const schedule = () => {
    if (isScheduled) return;
    isScheduled = true;
    const act = () => {
      isScheduled = false;
      action();
    };
    // Rejects only by the undo.
    clock.sleep(delayMs, { signal: stopping.signal }).then(act, () => undefined);
  };
  const stops = cells.map((cell) => cell.subscribe(schedule));
  return () => {
    for (const stop of stops) stop();
    stopping.abort();
  };
}
