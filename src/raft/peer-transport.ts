import type { Clock, Logger, NodeId } from "../kernel/index.ts";
import { messageOf, Wakeup } from "../kernel/index.ts";
import type { PeerNetwork, PeerStream } from "../network/index.ts";
import type { PeerMessage } from "./message.ts";
import { decodeFrame, encodeFrame, encodeMessage, maxFrameBytes } from "./message-codec.ts";
import type { RaftTransport } from "./transport.ts";

const messageProtocol = "/skein/raft/1";
const requestProtocol = "/skein/propose/1";
const followProtocol = "/skein/follow/1";

/** What may wait for one peer; beyond it the oldest is dropped, and Raft sends it again. */
const maxQueuedMessages = 2_048;
const maxQueuedBytes = 16 * 2 ** 20;
const maxMessagesPerFrame = 1_024;
const firstBackoffMs = 50;
const maxBackoffMs = 2_000;
/** A stream without use for so long is closed; the next message opens another. */
const idleMs = 60_000;

export type PeerTransport = RaftTransport &
  AsyncDisposable & {
    /** Messages that found no room, or no way, since the start. */
    droppedMessages(): number;
  };

/** Carries Raft over the peer network: one long-lived stream to each peer, and requests. */
export function createPeerTransport({
  network,
  clock,
  logger,
}: {
  readonly network: PeerNetwork;
  readonly clock: Clock;
  readonly logger: Logger;
}): PeerTransport {
  const stop = new AbortController();
  const links = new Map<NodeId, PeerLink>();
  let unsubscribe = (): void => undefined;
  return {
    send(to, messages) {
      if (stop.signal.aborted) return;
      let link = links.get(to);
      if (link === undefined) {
        link = new PeerLink({ to, network, clock, logger, signal: stop.signal });
        links.set(to, link);
      }
      link.push(messages);
    },
    onMessages(listener) {
      network.handleStream(messageProtocol, async (from, stream) => {
        await receive(stream, (messages) => {
          if (!stop.signal.aborted) listener(from, messages);
        });
      });
    },
    onDisconnect(listener) {
      let before = network.connected.get();
      unsubscribe = network.connected.subscribe(() => {
        const now = network.connected.get();
        const gone = [...before].filter((node) => !now.has(node));
        before = now;
        for (const node of gone) listener(node);
      });
    },
    request: (to, body, { signal }) => network.request(to, requestProtocol, body, { signal }),
    onRequest(handler) {
      network.handle(requestProtocol, handler);
    },
    openStream: (to, { signal }) => network.openStream(to, followProtocol, { signal }),
    onStream(handler) {
      network.handleStream(followProtocol, handler);
    },
    droppedMessages: () => [...links.values()].reduce((sum, { dropped }) => sum + dropped, 0),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error("The transport was closed."));
      unsubscribe();
      await Promise.all([...links.values()].map(({ done }) => done));
    },
  };
}

/** Throws on a malformed frame, which ends the stream: its sender is broken. */
async function receive(
  stream: PeerStream,
  listener: (messages: readonly PeerMessage[]) => void,
): Promise<void> {
  for await (const frame of stream.frames()) listener(decodeFrame(frame));
  await stream.close();
}

type LinkOptions = {
  readonly to: NodeId;
  readonly network: PeerNetwork;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
};

/** The queue and the stream to one peer. */
class PeerLink {
  readonly done: Promise<void>;
  dropped = 0;
  readonly #options: LinkOptions;
  readonly #wakeup = new Wakeup();
  /** Ends the pause after a failure: there is a connection. */
  readonly #connected = new Wakeup();
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.done = this.#run();
  }

  push(messages: readonly PeerMessage[]): void {
    for (const message of messages) {
      const encoded = encodeMessage(message);
      this.#queue.push(encoded);
      this.#queuedBytes += encoded.byteLength;
    }
    while (this.#queue.length > maxQueuedMessages || this.#queuedBytes > maxQueuedBytes) {
      this.#queuedBytes -= this.#queue.shift()?.byteLength ?? 0;
      this.dropped += 1;
    }
    this.#wakeup.wake();
  }

  async #run(): Promise<void> {
    const { network, clock, logger, signal, to } = this.#options;
    let failures = 0;
    let isConnected = network.connected.get().has(to);
    const unsubscribe = network.connected.subscribe(() => {
      const wasConnected = isConnected;
      isConnected = network.connected.get().has(to);
      if (wasConnected || !isConnected) return;
      // It may not serve the log yet, but will in a moment.
      failures = 0;
      this.#connected.wake();
    });
    while (!signal.aborted) {
      try {
        this.#connected.reset();
        if (this.#queue.length === 0) {
          this.#wakeup.reset();
          await this.#wakeup.wait(clock, { atMostMs: idleMs, signal });
          continue;
        }
        await this.#drainThroughStream(() => {
          failures = 0;
        });
      } catch (error) {
        if (signal.aborted) break;
        const retryInMs = Math.min(firstBackoffMs * 2 ** failures, maxBackoffMs);
        if (failures === 0) {
          logger.debug({ to, error: messageOf(error) }, "raft stream to peer failed");
        }
        failures = Math.min(failures + 1, 16);
        // What waited is out of date by the time that the peer is back.
        this.#dropAll();
        await this.#connected.wait(clock, { atMostMs: retryInMs, signal });
      }
    }
    unsubscribe();
  }

  /** Sends until the stream breaks (throws) or has been idle (returns). */
  async #drainThroughStream(onSent: () => void): Promise<void> {
    const { network, clock, to, signal } = this.#options;
    const stream = await network.openStream(to, messageProtocol, { signal });
    const closed = new AbortController();
    const reading = watchForEnd(stream).finally(() => {
      closed.abort(new Error("The peer closed the stream."));
    });
    const either = AbortSignal.any([signal, closed.signal]);
    const wake = () => this.#wakeup.wake();
    either.addEventListener("abort", wake, { once: true });
    let isUsed = true;
    let isIdle = false;
    const watching = repeatEvery(clock, { everyMs: idleMs, signal: either }, () => {
      isIdle = !isUsed;
      isUsed = false;
      if (isIdle) wake();
    });
    try {
      while (!either.aborted && !isIdle) {
        this.#wakeup.reset();
        while (this.#queue.length > 0) {
          isUsed = true;
          await stream.send(this.#nextFrame(), { signal: either });
          onSent();
        }
        if (!either.aborted) await this.#wakeup.next();
      }
      signal.throwIfAborted();
      closed.signal.throwIfAborted();
      await stream.close();
      stream.abort(new Error("The stream was idle."));
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(messageOf(error)));
      throw error;
    } finally {
      await reading;
      await watching;
    }
  }

  #nextFrame(): Uint8Array {
    const messages: Uint8Array[] = [];
    let bytes = 0;
    while (messages.length < maxMessagesPerFrame) {
      const next = this.#queue[0];
      if (next === undefined) break;
      if (messages.length > 0 && bytes + next.byteLength > maxFrameBytes - 16) break;
      this.#queue.shift();
      this.#queuedBytes -= next.byteLength;
      bytes += next.byteLength;
      messages.push(next);
    }
    return encodeFrame(messages);
  }

  #dropAll(): void {
    this.dropped += this.#queue.length;
    this.#queue = [];
    this.#queuedBytes = 0;
  }
}

/** Until the signal aborts. */
async function repeatEvery(
  clock: Clock,
  { everyMs, signal }: { readonly everyMs: number; readonly signal: AbortSignal },
  run: () => void,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(everyMs, { signal }).then(run, () => undefined);
  }
}

/** The peer answers on a stream of its own; this one is only read to see it end. */
async function watchForEnd(stream: PeerStream): Promise<void> {
  try {
    for await (const _ of stream.frames());
  } catch {
    // A broken stream is an ended one.
  }
}
