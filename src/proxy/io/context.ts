import type { Dialer } from "./dialer.ts";
import type { LocalUsage } from "./local-usage.ts";

/** What the proxy has done since it started. */
export type Counters = { requests: number; retries: number; refusals: number };

/** What every connection needs of the process. */
export type ProxyContext = {
  /** Milliseconds of a clock that never goes back. */
  readonly nowMs: () => number;
  readonly dialer: Dialer;
  readonly usage: LocalUsage;
  readonly counters: Counters;
};
