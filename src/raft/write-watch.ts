/** A leader whose writes take a large part of the election timeout is about to be replaced. */
const slowShare = 1 / 3;
/** A slow write is remembered for at least so long, and at most twice. */
const windowMs = 60_000;

/**
 * Watches how long the log's writes take. Where the disk needs as long as an election timeout,
 * no leader lasts, and none can be elected: that should be known long before.
 */
export class WriteWatch {
  readonly #limitMs: number;
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #slowestMs = 0;
  #slowestBeforeMs = 0;
  #saidMs = Number.NEGATIVE_INFINITY;

  constructor({ electionMs }: { readonly electionMs: number }) {
    this.#limitMs = electionMs * slowShare;
  }

  /** Notes a write; says whether it should be logged: slow, and the first in a while. */
  note(tookMs: number, nowMs: number): boolean {
    this.#turn(nowMs);
    this.#slowestMs = Math.max(this.#slowestMs, tookMs);
    if (tookMs <= this.#limitMs || nowMs - this.#saidMs < windowMs) return false;
    this.#saidMs = nowMs;
    return true;
  }

  /** The slowest recent write, where it was too slow. */
  slowMs(nowMs: number): number | undefined {
    this.#turn(nowMs);
    const slowestMs = Math.max(this.#slowestMs, this.#slowestBeforeMs);
    return slowestMs > this.#limitMs ? Math.round(slowestMs) : undefined;
  }

  #turn(nowMs: number): void {
    const windows = Math.floor((nowMs - this.#windowStartMs) / windowMs);
    if (windows < 1) return;
    this.#slowestBeforeMs = windows === 1 ? this.#slowestMs : 0;
    this.#slowestMs = 0;
    this.#windowStartMs = nowMs;
  }
}
