import type { Stream } from "@libp2p/interface";
import { messageOf, type NodeId } from "../../kernel/index.ts";
import { NetworkError } from "../errors.ts";
import { interruption, orInterrupted } from "../interruption.ts";
import { checkSize, maxFrameBytes } from "../limits.ts";
import type { PeerStream } from "../peer-network.ts";
import { FrameReader, headerBytes } from "./frame-reader.ts";

/** Complete frames that may wait for their reader before the peer is told to stop. */
const maxUnreadBytes = 2 ** 20;
/** What may wait to be sent before a sender has to wait. */
const maxUnsentBytes = 256 * 2 ** 10;
/** How long a close may wait for the peer to take what was sent; then it is a reset. */
const closeTimeoutMs = 10_000;

/**
 * A libp2p stream as frames with a length in front. A slow reader stops the stream, so that
 * the peer's `send` waits, and nothing piles up on either side.
 */
export class FramedStream implements PeerStream {
  readonly #stream: Stream;
  readonly #peer: NodeId;
  readonly #reader = new FrameReader();
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #failure: Error | undefined;
  /** The peer said so: a lost connection closes a stream too, but is no end. */
  #isClosedByPeer: boolean;
  #isDiscarding = false;
  /**
   * The stream hands out what it held back before it grants credit again. Paused in between,
   * it would believe that it is paused and still let the peer send, until the library resets
   * a stream with too much unread.
   */
  #isResuming = false;
  #change = Promise.withResolvers<void>();

  constructor(stream: Stream, peer: NodeId) {
    // Long-lived and sometimes silent: whoever uses it decides when that was too long.
    stream.inactivityTimeout = 0;
    this.#stream = stream;
    this.#peer = peer;
    this.#isClosedByPeer = stream.status === "open" && stream.remoteWriteStatus === "closed";
    // It may have ended while it was being opened: no event will tell any more.
    if (stream.status !== "open") this.#failure = broken(peer, `it is ${stream.status}`);
    const changed = () => this.#changed();
    stream.addEventListener("message", ({ data }) => this.#take(data.subarray()));
    stream.addEventListener("remoteCloseWrite", () => {
      this.#isClosedByPeer = true;
      this.#changed();
    });
    stream.addEventListener("drain", changed);
    stream.addEventListener("idle", changed);
    stream.addEventListener("close", ({ error }) => {
      if (error !== undefined) this.#failure ??= broken(peer, error);
      else if (!this.#isClosedByPeer) this.#failure ??= broken(peer, "the connection was lost");
      this.#changed();
    });
  }

  async send(frame: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    checkSize(frame, { what: "frame", maxBytes: maxFrameBytes });
    if (signal.aborted) throw interruption(signal, this.#peer);
    // One copy: the sender may use its buffer again.
    const bytes = Buffer.allocUnsafe(headerBytes + frame.byteLength);
    bytes.writeUInt32BE(frame.byteLength);
    bytes.set(frame, headerBytes);
    try {
      this.#stream.send(bytes);
    } catch (error) {
      throw this.#failure ?? broken(this.#peer, error);
    }
    while (this.#stream.writeBufferLength > maxUnsentBytes && this.#stream.status === "open") {
      await orInterrupted(this.#change.promise, { signal, peer: this.#peer });
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async *frames(): AsyncIterable<Uint8Array> {
    try {
      for (;;) {
        const frame = await this.#next();
        if (frame === undefined) return;
        yield frame;
      }
    } finally {
      // Nobody reads any more: what comes is dropped, so that the peer does not wait for ever.
      this.#isDiscarding = true;
      this.#dropUnread();
      this.#letFlow();
    }
  }

  async close({
    signal = AbortSignal.timeout(closeTimeoutMs),
  }: {
    readonly signal?: AbortSignal;
  } = {}): Promise<void> {
    try {
      await this.#stream.close({ signal });
    } catch (error) {
      this.#stream.abort(broken(this.#peer, error));
    }
  }

  abort(reason: Error): void {
    this.#failure ??= reason;
    this.#dropUnread();
    this.#stream.abort(reason);
    this.#changed();
  }

  /** The next frame; undefined at the end. What came before a failure is still handed out. */
  async #next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const frame = this.#unread.shift();
      if (frame !== undefined) {
        this.#unreadBytes -= frame.byteLength;
        this.#letFlow();
        return frame;
      }
      if (this.#hasEnded()) return undefined;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#isClosedByPeer && this.#stream.readBufferLength === 0) {
        throw broken(this.#peer, "it ended within a frame");
      }
      await this.#change.promise;
    }
  }

  #hasEnded(): boolean {
    const isAllRead = this.#stream.readBufferLength === 0 && this.#reader.pendingBytes === 0;
    return this.#isClosedByPeer && isAllRead && this.#failure === undefined;
  }

  #take(chunk: Uint8Array): void {
    if (this.#isDiscarding || this.#failure !== undefined) return;
    try {
      for (const frame of this.#reader.take(chunk)) {
        this.#unread.push(frame);
        this.#unreadBytes += frame.byteLength;
      }
    } catch (error) {
      this.abort(error instanceof Error ? error : new Error(messageOf(error)));
      return;
    }
    this.#stopFlow();
    this.#changed();
  }

  #stopFlow(): void {
    if (this.#isResuming || this.#unreadBytes <= maxUnreadBytes) return;
    if (this.#stream.readStatus === "readable") this.#stream.pause();
  }

  #letFlow(): void {
    if (this.#unreadBytes > maxUnreadBytes || this.#stream.readStatus !== "paused") return;
    this.#isResuming = true;
    try {
      this.#stream.resume();
    } finally {
      this.#isResuming = false;
    }
    this.#stopFlow();
  }

  #dropUnread(): void {
    this.#unread = [];
    this.#unreadBytes = 0;
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
  }
}

function broken(peer: NodeId, cause: unknown): NetworkError {
  return new NetworkError(
    "unreachable",
    `The stream with node ${peer} broke: ${messageOf(cause)}.`,
    { cause },
  );
}
