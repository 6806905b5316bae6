/** A current value that tells when it changes. What readers of a {@link Cell} see. */
export interface ReadableCell<T> {
  get(): T;
  /**
   * Calls `listener` after every change, never with the value: read it with `get()`,
   * so that a slow reader skips values and cannot miss the last one. Returns the undo.
   */
  subscribe(listener: () => void): () => void;
}

/**
 * The current value of something. Level-triggered: it carries what is, not what happened.
 * Setting the identical value tells nobody.
 */
export class Cell<T> implements ReadableCell<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}

/** Resolves with the first value for which `test` holds, the present one included. */
export function whenCell<T>(
  cell: ReadableCell<T>,
  test: (value: T) => boolean,
  { signal }: { readonly signal: AbortSignal },
): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason);
  if (test(cell.get())) return Promise.resolve(cell.get());
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const look = () => {
    if (test(cell.get())) resolve(cell.get());
  };
  const stop = cell.subscribe(look);
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  return promise.finally(() => {
    stop();
    signal.removeEventListener("abort", abort);
  });
}
