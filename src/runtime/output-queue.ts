import type { ConsoleOutput } from "./container-console.ts";

/** What may wait for its reader before the process has to. */
const maxWaitingBytes = 256 * 1024;

/** A process's output on its way to one reader: in order, bounded. */
export class OutputQueue {
  #waiting: ConsoleOutput[] = [];
  #waitingBytes = 0;
  #hasEnded = false;
  #failure: unknown;
  #change = Promise.withResolvers<void>();

  /** Resolves when there is room for more. */
  async push(output: ConsoleOutput): Promise<void> {
    if (this.#hasEnded) return;
    this.#waiting.push(output);
    this.#waitingBytes += output.bytes.byteLength;
    this.#changed();
    while (this.#waitingBytes > maxWaitingBytes && !this.#hasEnded) await this.#change.promise;
  }

  end(): void {
    this.#hasEnded = true;
    this.#changed();
  }

  /** Ends at once: what waits is lost. */
  fail(reason: unknown): void {
    this.#failure ??= reason;
    this.#waiting = [];
    this.end();
  }

  async *read(): AsyncIterable<ConsoleOutput> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const output = this.#waiting.shift();
      if (output !== undefined) {
        this.#waitingBytes -= output.bytes.byteLength;
        this.#changed();
        yield output;
      } else if (this.#hasEnded) {
        return;
      } else {
        await this.#change.promise;
      }
    }
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
  }
}
