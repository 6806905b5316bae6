/** Time as the core sees it. The real one is made in `daemon/`, a virtual one by tests and `sim/`. */
export interface Clock {
  /** Milliseconds since 1970 (wall clock): for what people read. May jump. */
  now(): number;
  /** Milliseconds of a clock that never goes back: for measuring and timeouts. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, options: { readonly signal: AbortSignal }): Promise<void>;
}
