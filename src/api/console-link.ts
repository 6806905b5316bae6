import type { Clock } from "../kernel/index.ts";
import { type ConsoleFrame, decodeConsoleFrame, encodeConsoleFrame } from "./console-frame.ts";
import { ApiError } from "./problem.ts";

/** What carries the frames of a console: a connection of a client, or a stream between nodes. */
export interface ConsoleStream {
  /** Resolves when there is room for more. */
  send(frame: Uint8Array, options: { readonly signal: AbortSignal }): Promise<void>;
  /** Read by one reader, once. Ends when the other side closes; throws when it breaks. */
  frames(): AsyncIterable<Uint8Array>;
  /** No more frames from this side. Resolves when what was sent is under way, or it is aborted. */
  close(options: { readonly signal: AbortSignal }): Promise<void>;
  abort(reason: Error): void;
}

/** One end of a console. */
export interface ConsolePort {
  send(frame: ConsoleFrame, options: { readonly signal: AbortSignal }): Promise<void>;
  /** The next frame; undefined at the end. Throws when the other side broke off, or lies. */
  next(): Promise<ConsoleFrame | undefined>;
  close(): Promise<void>;
  abort(reason: Error): void;
}

export type ConsoleTiming = {
  /** How often each side says that it is there. */
  readonly aliveEveryMs: number;
  /** A side that was not heard of for so long is taken to be gone. */
  readonly silentMs: number;
};

export const consoleTiming: ConsoleTiming = { aliveEveryMs: 15_000, silentMs: 60_000 };

/**
 * Frames over a stream. Each side tells the other now and then that it is there, so that a
 * machine that lost its power ends what it had open, and nothing else has to.
 */
export class ConsoleLink implements ConsolePort {
  readonly #stream: ConsoleStream;
  readonly #clock: Clock;
  readonly #timing: ConsoleTiming;
  readonly #frames: AsyncIterator<Uint8Array>;
  readonly #watching = new AbortController();
  #failure: Error | undefined;
  #isReading = false;
  #isClosing = false;
  #heardAtMs: number;

  constructor(stream: ConsoleStream, clock: Clock, timing: ConsoleTiming = consoleTiming) {
    this.#stream = stream;
    this.#clock = clock;
    this.#timing = timing;
    this.#frames = stream.frames()[Symbol.asyncIterator]();
    this.#heardAtMs = clock.monotonic();
    void this.#watch();
  }

  async send(frame: ConsoleFrame, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#stream.send(encodeConsoleFrame(frame), { signal });
  }

  async next(): Promise<ConsoleFrame | undefined> {
    // While nobody reads, nothing can be heard: that is no silence of the other side.
    this.#heardAtMs = this.#clock.monotonic();
    this.#isReading = true;
    try {
      for (;;) {
        const result = await this.#frames.next();
        if (result.done === true) return undefined;
        this.#heardAtMs = this.#clock.monotonic();
        const frame = decodeConsoleFrame(result.value);
        if (frame.kind !== "alive") return frame;
      }
    } catch (error) {
      throw this.#failure ?? error;
    } finally {
      this.#isReading = false;
    }
  }

  /**
   * Ends this side, and drops what still comes until the other side has ended too. A slow
   * reader may take its time with what is under way to it, as long as it is heard of.
   */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#heardAtMs = this.#clock.monotonic();
    const dropped = this.#drop().catch(() => undefined);
    await this.#stream.close({ signal: this.#watching.signal });
    await dropped;
    this.#watching.abort();
  }

  async #drop(): Promise<void> {
    while ((await this.#frames.next()).done !== true) this.#heardAtMs = this.#clock.monotonic();
  }

  abort(reason: Error): void {
    this.#failure ??= reason;
    this.#watching.abort();
    this.#stream.abort(reason);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#watching;
    const { aliveEveryMs, silentMs } = this.#timing;
    let isSaying = false;
    while (!signal.aborted) {
      await this.#clock.sleep(aliveEveryMs, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const silentForMs = this.#clock.monotonic() - this.#heardAtMs;
      if ((this.#isReading || this.#isClosing) && silentForMs > silentMs) {
        const message = `The other side of the console was not heard of for ${silentMs / 1_000} s.`;
        this.abort(new ApiError("timed_out", message));
        return;
      }
      // One that nobody takes is enough: the next would only wait behind it.
      if (isSaying || this.#isClosing) continue;
      isSaying = true;
      void this.send({ kind: "alive" }, { signal })
        .catch((error: unknown) => {
          if (!this.#isClosing) this.abort(asError(error));
        })
        .finally(() => {
          isSaying = false;
        });
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
