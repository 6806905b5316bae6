import { messageOf, type NodeId } from "../kernel/index.ts";
import {
  NetworkError,
  orInterrupted,
  type PeerNetwork,
  type PeerStream,
} from "../network/index.ts";

const watchProtocol = "/skein/watch/1";
/** A ping, or its answer, is some tens of octets. */
const maxPingBytes = 1_024;
/** Pings on one stream that may go without an answer, before another stream is tried. */
const maxUnanswered = 5;

export type WatchStreamsOptions = {
  readonly network: PeerNetwork;
  /** What this node answers to a ping; throws for what is none. */
  readonly answer: (from: NodeId, ping: Uint8Array) => Uint8Array;
  /** Throws for what is no answer. */
  readonly onAnswer: (from: NodeId, answer: Uint8Array) => void;
  /** A stream to a watched member broke while nothing was asked. */
  readonly onBroken: (node: NodeId) => void;
  readonly signal: AbortSignal;
};

/**
 * Pings as small frames on one long-lived stream to each watched member. A stream of its own for
 * each ping would cost several times as much, and would not tell when the member's process ends.
 */
export class WatchStreams {
  readonly #options: WatchStreamsOptions;
  readonly #asking = new Map<NodeId, AskingStream>();
  /** One for each member that watches this node. */
  readonly #answering = new Map<NodeId, PeerStream>();

  constructor(options: WatchStreamsOptions) {
    this.#options = options;
    const { network, signal } = options;
    network.handleStream(watchProtocol, (from, stream) => this.#serve(from, stream));
    const close = (): void => {
      const over = new NetworkError("unreachable", "This node stops watching.");
      for (const stream of this.#asking.values()) stream.end(over);
      for (const stream of this.#answering.values()) stream.abort(over);
    };
    signal.addEventListener("abort", close, { once: true });
  }

  /** Resolves with the next answer. @throws when none comes, or nothing leads to the member. */
  async ask(node: NodeId, ping: Uint8Array, signal: AbortSignal): Promise<void> {
    const open = this.#asking.get(node);
    if (open !== undefined && open.unanswered >= maxUnanswered) this.release(node);
    else if (open !== undefined && (await open.ask(ping, signal))) return;
    // What broke may be the connection alone: that nothing leads there is what the next one tells.
    const isAnswered = await (await this.#open(node, signal)).ask(ping, signal);
    if (!isAnswered) throw new NetworkError("timed_out", `The new stream to ${node} broke, too.`);
  }

  /** Watches the member no more. */
  release(node: NodeId): void {
    const stream = this.#asking.get(node);
    this.#asking.delete(node);
    stream?.end(new NetworkError("unreachable", "Nothing is asked on this stream any more."));
  }

  async #open(node: NodeId, signal: AbortSignal): Promise<AskingStream> {
    const { network, onAnswer, onBroken, signal: stopping } = this.#options;
    const stream = await network.openStream(node, watchProtocol, { signal });
    const asking: AskingStream = new AskingStream(stream, {
      peer: node,
      onAnswer: (answer) => onAnswer(node, answer),
      onBroken: (wasAsked) => {
        if (this.#asking.get(node) !== asking) return;
        this.#asking.delete(node);
        if (!wasAsked) onBroken(node);
      },
    });
    this.release(node);
    this.#asking.set(node, asking);
    if (stopping.aborted) this.release(node);
    return asking;
  }

  async #serve(from: NodeId, stream: PeerStream): Promise<void> {
    const { answer, signal } = this.#options;
    // A member that opens another one has lost the one before.
    const before = this.#answering.get(from);
    this.#answering.set(from, stream);
    before?.abort(new NetworkError("unreachable", "Another stream took its place."));
    try {
      for await (const ping of stream.frames()) {
        await stream.send(answer(from, withinLimit(ping)), { signal });
      }
      await stream.close();
    } finally {
      if (this.#answering.get(from) === stream) this.#answering.delete(from);
    }
  }
}

type AskingOptions = {
  readonly peer: NodeId;
  readonly onAnswer: (answer: Uint8Array) => void;
  /** Not when this side ended it. */
  readonly onBroken: (wasAsked: boolean) => void;
};

/** The end of the one who asks. */
class AskingStream {
  unanswered = 0;
  readonly #stream: PeerStream;
  readonly #options: AskingOptions;
  /** Resolves with whether an answer came before the end. */
  #waiting: PromiseWithResolvers<boolean> | undefined;
  #hasEnded = false;

  constructor(stream: PeerStream, options: AskingOptions) {
    this.#stream = stream;
    this.#options = options;
    void this.#read();
  }

  /** Resolves with whether it is answered: false when the stream broke. */
  async ask(ping: Uint8Array, signal: AbortSignal): Promise<boolean> {
    if (this.#hasEnded) return false;
    this.#waiting ??= Promise.withResolvers();
    const { promise } = this.#waiting;
    this.unanswered += 1;
    // A stream that breaks ends the waiting, too.
    this.#stream.send(ping, { signal }).catch(() => undefined);
    return await orInterrupted(promise, { signal, peer: this.#options.peer });
  }

  end(reason: Error): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#settle(false);
    this.#stream.abort(reason);
  }

  #settle(isAnswered: boolean): void {
    this.#waiting?.resolve(isAnswered);
    this.#waiting = undefined;
  }

  async #read(): Promise<void> {
    const { peer, onAnswer, onBroken } = this.#options;
    let broken = new Error(`Node ${peer} closed its stream.`);
    try {
      for await (const answer of this.#stream.frames()) {
        onAnswer(withinLimit(answer));
        this.unanswered = 0;
        this.#settle(true);
      }
    } catch (error) {
      broken = error instanceof Error ? error : new Error(messageOf(error));
    }
    if (this.#hasEnded) return;
    const wasAsked = this.#waiting !== undefined;
    this.end(broken);
    onBroken(wasAsked);
  }
}

/** @throws NetworkError `too_large` */
function withinLimit(frame: Uint8Array): Uint8Array {
  if (frame.byteLength <= maxPingBytes) return frame;
  throw new NetworkError("too_large", `A ping of ${frame.byteLength} bytes is none.`);
}
