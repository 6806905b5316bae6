import type { ReadableCell } from "../kernel/index.ts";

type MergeOptions<Source, Item> = {
  /** The streams that there should be now, by a stable name. Each is opened once. */
  readonly sources: () => ReadonlyMap<string, Source>;
  /** When given, `sources` is looked at again after each change, and the merge never ends by itself. */
  readonly changed: ReadableCell<unknown> | undefined;
  readonly open: (source: Source) => AsyncIterable<Item>;
  readonly signal: AbortSignal;
};

/** How many items may wait for a slow reader before the sources are held back. */
const maxBuffered = 256;

/** Items of several streams in the order in which they arrive. */
export async function* mergeStreams<Source, Item>(
  options: MergeOptions<Source, Item>,
): AsyncIterable<Item> {
  const { sources, changed, open, signal } = options;
  const buffer: Item[] = [];
  const opened = new Set<string>();
  let running = 0;
  let readable = Promise.withResolvers<void>();
  let writable = Promise.withResolvers<void>();
  const wakeReader = () => readable.resolve();
  const wakeAll = () => {
    readable.resolve();
    writable.resolve();
  };

  async function pump(source: Source): Promise<void> {
    try {
      for await (const item of open(source)) {
        while (buffer.length >= maxBuffered && !signal.aborted) await writable.promise;
        if (signal.aborted) return;
        buffer.push(item);
        readable.resolve();
      }
    } finally {
      running -= 1;
      readable.resolve();
    }
  }

  const stop = changed?.subscribe(wakeReader);
  signal.addEventListener("abort", wakeAll, { once: true });
  try {
    while (!signal.aborted) {
      readable = Promise.withResolvers<void>();
      for (const [name, source] of sources()) {
        if (opened.has(name)) continue;
        opened.add(name);
        running += 1;
        pump(source).catch(wakeReader);
      }
      yield* buffer.splice(0);
      writable.resolve();
      writable = Promise.withResolvers<void>();
      if (buffer.length > 0) continue;
      if (running === 0 && changed === undefined) return;
      await readable.promise;
    }
  } finally {
    stop?.();
    signal.removeEventListener("abort", wakeAll);
  }
}
