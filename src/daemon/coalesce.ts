import type { ReadableCell } from "../kernel/index.ts";

/**
 * Calls `action` soon after any of the cells changes: at most once per `delayMs`, and
 * always once more after the last change. Returns the undo.
 */
export function onChange(
  cells: readonly ReadableCell<unknown>[],
  action: () => void,
  { delayMs }: { readonly delayMs: number },
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const schedule = () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      action();
    }, delayMs);
  };
  const stops = cells.map((cell) => cell.subscribe(schedule));
  return () => {
    for (const stop of stops) stop();
    clearTimeout(timer);
  };
}
