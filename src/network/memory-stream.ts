import type { NodeId } from "../kernel/index.ts";
import { NetworkError } from "./errors.ts";
import { interruption, orInterrupted } from "./interruption.ts";
import { checkSize, maxFrameBytes } from "./limits.ts";
import type { PeerStream } from "./peer-network.ts";

/** What one direction holds before its writer has to wait. A single larger frame still fits. */
const pipeBytes = 256 * 2 ** 10;

/** Frames on their way in one direction: bounded, in order, each after `transit`. */
class MemoryPipe {
  readonly #transit: () => Promise<void>;
  #arrived: Uint8Array[] = [];
  #heldBytes = 0;
  #last: Promise<void> = Promise.resolve();
  #isEnding = false;
  #hasEnded = false;
  #isDiscarding = false;
  #failure: Error | undefined;
  #change = Promise.withResolvers<void>();

  constructor(transit: () => Promise<void>) {
    this.#transit = transit;
  }

  async write(frame: Uint8Array): Promise<void> {
    this.#throwFailure();
    if (this.#isEnding) throw new NetworkError("unreachable", "The stream is closed for sending.");
    // The sender may use its buffer again.
    const copy = frame.slice();
    this.#heldBytes += copy.byteLength;
    this.#deliver(() => {
      if (this.#isDiscarding) this.#heldBytes -= copy.byteLength;
      else this.#arrived.push(copy);
    });
    while (this.#heldBytes > pipeBytes && this.#failure === undefined) await this.#change.promise;
    this.#throwFailure();
  }

  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#deliver(() => {
      this.#hasEnded = true;
    });
  }

  /** What is under way is lost; what has arrived is still handed out. */
  fail(failure: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    this.#changed();
  }

  /** The next frame; undefined at the end. */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const frame = this.#arrived.shift();
      if (frame !== undefined) {
        this.#heldBytes -= frame.byteLength;
        this.#changed();
        return frame;
      }
      if (this.#hasEnded) return undefined;
      this.#throwFailure();
      await this.#change.promise;
    }
  }

  /** Nobody reads any more: what comes is dropped, so that the writer does not wait for ever. */
  discard(): void {
    this.#isDiscarding = true;
    for (const frame of this.#arrived.splice(0)) this.#heldBytes -= frame.byteLength;
    this.#changed();
  }

  #deliver(arrive: () => void): void {
    const transit = this.#transit();
    this.#last = Promise.all([this.#last, transit]).then(() => {
      if (this.#failure !== undefined) return;
      arrive();
      this.#changed();
    });
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** One end of a stream between two nodes in memory. */
class MemoryStream implements PeerStream {
  readonly #peer: NodeId;
  readonly #incoming: MemoryPipe;
  readonly #outgoing: MemoryPipe;

  constructor(peer: NodeId, incoming: MemoryPipe, outgoing: MemoryPipe) {
    this.#peer = peer;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  async send(frame: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    checkSize(frame, { what: "frame", maxBytes: maxFrameBytes });
    if (signal.aborted) throw interruption(signal, this.#peer);
    await orInterrupted(this.#outgoing.write(frame), { signal, peer: this.#peer });
  }

  async *frames(): AsyncIterable<Uint8Array> {
    try {
      for (;;) {
        const frame = await this.#incoming.read();
        if (frame === undefined) return;
        yield frame;
      }
    } finally {
      this.#incoming.discard();
    }
  }

  close(): Promise<void> {
    this.#outgoing.end();
    return Promise.resolve();
  }

  abort(reason: Error): void {
    this.#incoming.fail(reason);
    this.#incoming.discard();
    this.#outgoing.fail(
      new NetworkError("unreachable", `The stream with node ${this.#peer} was reset.`),
    );
  }
}

export type MemoryStreamPair = {
  readonly opener: PeerStream;
  readonly answerer: PeerStream;
  /** Breaks both ends, as a lost connection does. */
  readonly fail: (failure: Error) => void;
};

export function memoryStreamPair(
  opener: NodeId,
  answerer: NodeId,
  transit: (from: NodeId, to: NodeId) => Promise<void>,
): MemoryStreamPair {
  const there = new MemoryPipe(() => transit(opener, answerer));
  const back = new MemoryPipe(() => transit(answerer, opener));
  return {
    opener: new MemoryStream(answerer, back, there),
    answerer: new MemoryStream(opener, there, back),
    fail: (failure) => {
      there.fail(failure);
      back.fail(failure);
    },
  };
}
