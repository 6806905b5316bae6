import type { NodeId } from "../../src/kernel/index.ts";
import { NetworkError, orInterrupted, type PeerStream } from "../../src/network/index.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Machine } from "./machine.ts";

/** A side that does not read makes the other wait. */
const maxUnreadFrames = 256;
const resendMinMs = 200;
const resendMaxMs = 5_000;

/** What happens to what one node sends another, on a connection. */
export type Wire = {
  readonly queue: EventQueue;
  readonly delayMs: () => number;
  readonly onSend: (frame: Uint8Array) => void;
  /** Whether what is sent now does not arrive, so that it has to be sent again. */
  readonly isSwallowed: (from: NodeId, to: NodeId) => boolean;
  /** After so long without getting anything through, TCP gives a connection up. */
  readonly givenUpAfterMs: number;
};

/** A two-way stream between two lives of nodes: in order, whole, or broken. */
export class SimStreamPair {
  readonly opener: SimStream;
  readonly answerer: SimStream;
  readonly #ends: ReadonlyMap<NodeId, SimStream>;

  constructor(opener: Machine, answerer: Machine, wire: Wire) {
    this.opener = new SimStream(opener, answerer, wire, () => this.answerer);
    this.answerer = new SimStream(answerer, opener, wire, () => this.opener);
    this.#ends = new Map([
      [opener.id, this.opener],
      [answerer.id, this.answerer],
    ]);
  }

  isBetween(a: NodeId, b: NodeId): boolean {
    return this.#ends.has(a) && this.#ends.has(b);
  }

  peerOf(node: NodeId): NodeId | undefined {
    for (const id of this.#ends.keys()) if (id !== node && this.#ends.has(node)) return id;
    return undefined;
  }

  /** Lets one side know that the connection is gone. */
  breakAt(node: NodeId): void {
    this.#ends.get(node)?.fail();
  }

  get isOver(): boolean {
    return this.opener.isOver && this.answerer.isOver;
  }
}

type Sent = { readonly kind: "frame"; readonly frame: Uint8Array } | { readonly kind: "end" };

/** One end of a stream. */
class SimStream implements PeerStream {
  readonly #machine: Machine;
  readonly #peer: Machine;
  readonly #wire: Wire;
  readonly #other: () => SimStream;
  /** Sent and not got through yet, in order. */
  readonly #unsent: Sent[] = [];
  #stuckSinceMs: number | undefined;
  #resendMs = resendMinMs;
  #isResending = false;
  #lastArrivalMs = 0;
  #unread: Uint8Array[] = [];
  #isClosed = false;
  #hasEnded = false;
  #isDiscarding = false;
  #failure: Error | undefined;
  #change = Promise.withResolvers<void>();

  constructor(machine: Machine, peer: Machine, wire: Wire, other: () => SimStream) {
    this.#machine = machine;
    this.#peer = peer;
    this.#wire = wire;
    this.#other = other;
  }

  get isOver(): boolean {
    return this.#failure !== undefined || (this.#isClosed && this.#hasEnded);
  }

  async send(frame: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isClosed) throw this.#broken();
    this.#wire.onSend(frame);
    this.#transmit({ kind: "frame", frame: frame.slice() });
    const other = this.#other();
    while (this.#unsent.length + other.#unread.length > maxUnreadFrames) {
      if (this.#failure !== undefined) throw this.#failure;
      const room = Promise.race([this.#change.promise, other.#change.promise]);
      await orInterrupted(room, { signal, peer: this.#peer.id });
    }
  }

  async *frames(): AsyncIterable<Uint8Array> {
    try {
      for (;;) {
        const frame = this.#unread.shift();
        if (frame !== undefined) {
          this.#changed();
          yield frame;
        } else if (this.#hasEnded) return;
        else if (this.#failure !== undefined) throw this.#failure;
        else await this.#change.promise;
      }
    } finally {
      this.#isDiscarding = true;
      this.#unread = [];
      this.#changed();
    }
  }

  close(): Promise<void> {
    if (!this.#isClosed && this.#failure === undefined) this.#transmit({ kind: "end" });
    this.#isClosed = true;
    return Promise.resolve();
  }

  abort(reason: Error): void {
    if (this.isOver) return;
    this.#failure = reason;
    this.#unread = [];
    this.#changed();
    if (this.#wire.isSwallowed(this.#machine.id, this.#peer.id)) return;
    this.#wire.queue.after(this.#wire.delayMs(), () => this.#other().fail());
  }

  /** The connection is gone, as this side sees it. */
  fail(): void {
    this.#machine.act(() => {
      this.#failure ??= this.#broken();
      this.#changed();
    });
  }

  #transmit(sent: Sent): void {
    this.#unsent.push(sent);
    if (!this.#isResending) this.#flush();
  }

  #flush(): void {
    const { queue, delayMs, isSwallowed, givenUpAfterMs } = this.#wire;
    while (this.#failure === undefined && this.#unsent.length > 0) {
      if (isSwallowed(this.#machine.id, this.#peer.id)) {
        this.#stuckSinceMs ??= queue.now;
        if (queue.now - this.#stuckSinceMs > givenUpAfterMs) this.fail();
        else this.#resendLater();
        return;
      }
      this.#stuckSinceMs = undefined;
      this.#resendMs = resendMinMs;
      const sent = this.#unsent.shift();
      this.#lastArrivalMs = Math.max(this.#lastArrivalMs, queue.now + delayMs());
      const other = this.#other();
      queue.after(this.#lastArrivalMs - queue.now, () => {
        this.#peer.act(() => sent !== undefined && other.#take(sent));
      });
      this.#changed();
    }
  }

  #resendLater(): void {
    this.#isResending = true;
    this.#wire.queue.after(this.#resendMs, () => {
      this.#isResending = false;
      this.#flush();
    });
    this.#resendMs = Math.min(2 * this.#resendMs, resendMaxMs);
  }

  #take(sent: Sent): void {
    if (this.#failure !== undefined) return;
    if (sent.kind === "end") this.#hasEnded = true;
    else if (!this.#isDiscarding) this.#unread.push(sent.frame);
    this.#changed();
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
  }

  #broken(): NetworkError {
    return new NetworkError("unreachable", `The stream with node ${this.#peer.id} broke.`);
  }
}
