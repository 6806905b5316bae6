import {
  Cell,
  codeOf,
  messageOf,
  type NodeId,
  type Random,
  randomBelow,
} from "../../src/kernel/index.ts";
import { NetworkError, type PeerNetwork, type PeerStream } from "../../src/network/index.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Machine } from "./machine.ts";
import { SimStreamPair } from "./streams.ts";

type Handler = Parameters<PeerNetwork["handle"]>[1];
type StreamHandler = Parameters<PeerNetwork["handleStream"]>[1];
type Listener = Parameters<PeerNetwork["subscribe"]>[1];

/** As in production: everybody is linked up to here, and beyond a random graph carries gossip. */
const fullMeshNodes = 30;
const maxLinks = 8;
const redialMinMs = 200;
const redialMaxMs = 10_000;
/** After so long TCP gives a silent connection up. */
const brokenAfterMs = 15_000;

export type Weather = {
  readonly lossRate: number;
  readonly duplicateRate: number;
  readonly maxDelayMs: number;
  /** Whether members turn away whom they do not admit, before gossip sees a word of theirs. */
  readonly hasGate: boolean;
};

/** One life of a node on the network. */
class End implements PeerNetwork {
  readonly self: NodeId;
  readonly machine: Machine;
  readonly connected = new Cell<ReadonlySet<NodeId>>(new Set());
  readonly handlers = new Map<string, Handler>();
  readonly streamHandlers = new Map<string, StreamHandler>();
  readonly listeners = new Map<string, Listener[]>();
  readonly admits: (node: NodeId) => boolean;
  /** Who it is linked with, though it may learn of that later. */
  readonly links = new Set<NodeId>();
  redials = 0;
  isRedialling = false;
  readonly #net: SimNetwork;

  constructor(net: SimNetwork, machine: Machine, admits: (node: NodeId) => boolean) {
    this.#net = net;
    this.machine = machine;
    this.self = machine.id;
    this.admits = admits;
  }

  drop(peer: NodeId): void {
    this.#net.unlink(this, peer);
  }

  request(
    to: NodeId,
    protocol: string,
    body: Uint8Array,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Uint8Array> {
    return this.#net.request(this, { to, protocol, body, signal });
  }

  handle(protocol: string, handler: Handler): void {
    this.handlers.set(protocol, handler);
  }

  openStream(
    to: NodeId,
    protocol: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<PeerStream> {
    return this.#net.openStream(this, { to, protocol, signal });
  }

  handleStream(protocol: string, handler: StreamHandler): void {
    this.streamHandlers.set(protocol, handler);
  }

  publish(topic: string, body: Uint8Array): Promise<void> {
    this.#net.publish(this, topic, body);
    return Promise.resolve();
  }

  subscribe(topic: string, listener: Listener): void {
    this.listeners.set(topic, [...(this.listeners.get(topic) ?? []), listener]);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

type Call = {
  readonly to: NodeId;
  readonly protocol: string;
  readonly signal: AbortSignal;
};
type Request = Call & { readonly body: Uint8Array };

/**
 * Requests and published messages between nodes, with delay, loss and links that are cut one way
 * or both. A process that is gone refuses at once, as its kernel does for it; a machine that is
 * gone, or behind a cut, is silent.
 */
export class SimNetwork {
  weather: Weather;
  readonly sent = { requests: 0, frames: 0, publications: 0, bytes: 0, largestBytes: 0 };
  readonly #queue: EventQueue;
  readonly #random: Random;
  readonly #note: (text: () => string) => void;
  readonly #ends = new Map<NodeId, End>();
  readonly #never = new AbortController();
  readonly #streams = new Set<SimStreamPair>();
  /** Machines without power: nothing refuses there. */
  readonly #dark = new Set<NodeId>();
  /** Of the form `from>to`. */
  readonly #cuts = new Set<string>();

  constructor(options: {
    readonly queue: EventQueue;
    readonly random: Random;
    readonly weather: Weather;
    readonly note: (text: () => string) => void;
  }) {
    this.#queue = options.queue;
    this.#random = options.random;
    this.weather = options.weather;
    this.#note = options.note;
  }

  join(machine: Machine, admits: (node: NodeId) => boolean): PeerNetwork {
    const end = new End(this, machine, admits);
    this.#ends.set(machine.id, end);
    this.#dark.delete(machine.id);
    this.#redial(end);
    // The others hear of the newcomer by its own dialling; where that fails, they try too.
    for (const other of this.#ends.values()) if (other !== end) this.#redial(other);
    return end;
  }

  /** The end of a life; `isDark` when the machine is gone with its process. */
  leave(id: NodeId, isDark: boolean): void {
    const end = this.#ends.get(id);
    if (end === undefined) return;
    this.#ends.delete(id);
    if (isDark) this.#dark.add(id);
    for (const peer of end.links) {
      const other = this.#ends.get(peer);
      if (other === undefined) continue;
      const forget = () => this.#forget(other, end);
      if (isDark || this.#isCut(id, peer)) this.#queue.after(brokenAfterMs, forget);
      else this.#queue.after(this.#delayMs(), forget);
    }
    for (const pair of this.#streams) {
      const peer = pair.peerOf(id);
      if (peer === undefined) continue;
      this.#streams.delete(pair);
      const isSilent = isDark || this.#isCut(id, peer);
      this.#queue.after(isSilent ? brokenAfterMs : this.#delayMs(), () => pair.breakAt(peer));
    }
  }

  /** What `from` says does not reach `to` any more. */
  cut(from: NodeId, to: NodeId): void {
    this.#cuts.add(`${from}>${to}`);
    this.#queue.after(brokenAfterMs * (0.2 + this.#random.next()), () => {
      const [end, other] = [this.#ends.get(from), this.#ends.get(to)];
      if (end === undefined || other === undefined || !this.#isCut(from, to)) return;
      this.#forget(end, other);
      this.#forget(other, end);
    });
  }

  heal(from: NodeId, to: NodeId): void {
    this.#cuts.delete(`${from}>${to}`);
  }

  healAll(): void {
    this.#cuts.clear();
  }

  /** Somebody hangs up: the other side learns of it, where anything reaches it. */
  unlink(end: End, peer: NodeId): void {
    const other = this.#ends.get(peer);
    this.#breakStreams(end.self, peer);
    if (other !== undefined && !this.#isCut(end.self, peer)) this.#forget(other, end);
    if (other !== undefined) this.#forget(end, other);
  }

  /** Whoever is admitted no more is shown out. */
  admissionChanged(id: NodeId): void {
    const end = this.#ends.get(id);
    if (end === undefined) return;
    if (this.weather.hasGate) {
      for (const peer of [...end.links]) if (!end.admits(peer)) this.unlink(end, peer);
    }
    this.#redial(end);
  }

  async request(end: End, { body, ...call }: Request): Promise<Uint8Array> {
    this.#count(body, "requests");
    return await this.#call(end, call, (target) => {
      const handler = target.handlers.get(call.protocol);
      if (handler === undefined) throw new Error(`${call.protocol} is not served`);
      return handler(end.self, body, { signal: this.#never.signal });
    });
  }

  async openStream(end: End, call: Call): Promise<PeerStream> {
    const pair = await this.#call(end, call, async (target) => {
      const handler = target.streamHandlers.get(call.protocol);
      if (handler === undefined) throw new Error(`${call.protocol} is not served`);
      const made = new SimStreamPair(end.machine, target.machine, {
        queue: this.#queue,
        onSend: (frame) => this.#count(frame, "frames"),
        delayMs: () => this.#delayMs(),
        isSwallowed: (from, to) => this.#isCut(from, to) || this.#isLost(),
        givenUpAfterMs: brokenAfterMs,
      });
      this.#streams.add(made);
      this.#forgetEndedStreams();
      const fail = (error: unknown) =>
        made.answerer.abort(error instanceof Error ? error : new Error(messageOf(error)));
      handler(end.self, made.answerer).catch(fail);
      const abandon = () => made.answerer.fail();
      call.signal.addEventListener("abort", abandon, { once: true });
      return { opener: made.opener, abandon };
    });
    call.signal.removeEventListener("abort", pair.abandon);
    return pair.opener;
  }

  /** Has something done at another node, and brings back what comes of it. */
  #call<Result>(
    end: End,
    { to, protocol, signal }: Call,
    serve: (target: End) => Promise<Result>,
  ): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    if (signal.aborted) {
      reject(signal.reason);
      return promise;
    }
    const from = end.self;
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    /** Whatever comes back has to pass the way back. */
    const answer = (settle: () => void) => {
      if (this.#isCut(to, from) || this.#isLost()) {
        this.#note(() => `${to} -> ${from} answer to ${protocol} LOST`);
        return;
      }
      this.#queue.after(this.#delayMs(), () => {
        end.machine.act(() => {
          signal.removeEventListener("abort", abort);
          settle();
        });
      });
    };
    if (this.#isCut(from, to) || this.#isLost()) {
      this.#note(() => `${from} -> ${to} ${protocol} LOST`);
      return promise;
    }
    this.#note(() => `${from} -> ${to} ${protocol}`);
    this.#queue.after(this.#delayMs(), () => {
      const target = this.#ends.get(to);
      if (target === undefined || !this.#lets(target, from)) {
        const refuse = () => reject(new NetworkError("unreachable", `Node ${to} is not there.`));
        if (!this.#dark.has(to)) answer(refuse);
        return;
      }
      target.machine.act(() => {
        this.#link(end, target);
        // What it throws at once is refused, too.
        const served = (async () => await serve(target))();
        served.then(
          (reply) => answer(() => resolve(reply)),
          (error: unknown) => answer(() => reject(refusal(error))),
        );
      });
    });
    return promise;
  }

  publish(end: End, topic: string, body: Uint8Array): void {
    this.#count(body, "publications");
    this.#note(() => `${end.self} publishes ${body.byteLength} bytes on ${topic}`);
    this.#relay(end, { author: end.self, topic, body, seen: new Set([end.self]) });
  }

  /** Floods: every node hands a message that is new to it on to those it is linked with. */
  #relay(
    end: End,
    message: {
      readonly author: NodeId;
      readonly topic: string;
      readonly body: Uint8Array;
      readonly seen: Set<NodeId>;
    },
  ): void {
    const { author, topic, body, seen } = message;
    for (const peer of end.links) {
      if (seen.has(peer) || this.#isCut(end.self, peer)) continue;
      if (this.#isLost()) {
        this.#note(() => `${end.self} -> ${peer} LOST a message of ${author} on ${topic}`);
        continue;
      }
      const deliver = () => {
        const other = this.#ends.get(peer);
        if (other === undefined || seen.has(peer)) return;
        seen.add(peer);
        other.machine.act(() => {
          if (!this.#lets(other, author)) return;
          const times = this.#random.next() < this.weather.duplicateRate ? 2 : 1;
          for (let time = 0; time < times; time += 1) {
            for (const listener of other.listeners.get(topic) ?? []) listener(author, body);
          }
          this.#relay(other, message);
        });
      };
      this.#queue.after(this.#delayMs(), deliver);
    }
  }

  #lets(end: End, from: NodeId): boolean {
    return !this.weather.hasGate || end.admits(from);
  }

  #count(body: Uint8Array, what: "requests" | "frames" | "publications"): void {
    this.sent[what] += 1;
    this.sent.bytes += body.byteLength;
    this.sent.largestBytes = Math.max(this.sent.largestBytes, body.byteLength);
  }

  #isLost(): boolean {
    const { lossRate } = this.weather;
    return lossRate > 0 && this.#random.next() < lossRate;
  }

  #delayMs(): number {
    return 1 + randomBelow(this.#random, this.weather.maxDelayMs);
  }

  #isCut(from: NodeId, to: NodeId): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(`${from}>${to}`);
  }

  #breakStreams(a: NodeId, b: NodeId): void {
    for (const pair of this.#streams) {
      if (!pair.isBetween(a, b)) continue;
      pair.breakAt(a);
      if (!this.#isCut(a, b)) this.#queue.after(this.#delayMs(), () => pair.breakAt(b));
    }
  }

  #forgetEndedStreams(): void {
    for (const pair of this.#streams) if (pair.isOver) this.#streams.delete(pair);
  }

  #forget(end: End, peer: End): void {
    for (const pair of this.#streams) {
      if (pair.isBetween(end.self, peer.self)) pair.breakAt(end.self);
    }
    if (!end.links.delete(peer.self)) return;
    this.#showLinks(end);
    this.#redial(end);
  }

  #showLinks(end: End): void {
    end.machine.act(() => end.connected.set(new Set(end.links)));
  }

  /** Dials who is missing, with growing pauses, for ever. */
  #redial(end: End): void {
    if (end.isRedialling) return;
    end.isRedialling = true;
    const pauseMs = Math.min(redialMaxMs, redialMinMs * 2 ** end.redials);
    const delayMs = end.redials === 0 ? this.#delayMs() : pauseMs * (0.5 + this.#random.next());
    this.#queue.after(delayMs, () => {
      end.isRedialling = false;
      if (this.#ends.get(end.self) !== end) return;
      const missing = end.machine.isPaused ? false : this.#dialMissing(end);
      end.redials = missing ? end.redials + 1 : 0;
      if (missing || end.machine.isPaused) this.#redial(end);
    });
  }

  /** Whether anybody is still missing. */
  #dialMissing(end: End): boolean {
    const others = [...this.#ends.values()].filter(
      (other) => other !== end && end.admits(other.self),
    );
    const missing = others.filter((other) => !end.links.has(other.self));
    const wanted = others.length < fullMeshNodes ? missing.length : maxLinks - end.links.size;
    let lacking = wanted;
    const start = missing.length === 0 ? 0 : randomBelow(this.#random, missing.length);
    for (const other of [...missing.slice(start), ...missing.slice(0, start)]) {
      if (lacking <= 0) break;
      if (!this.#canLink(end, other)) continue;
      lacking -= 1;
      end.links.add(other.self);
      other.links.add(end.self);
      this.#showLinks(other);
    }
    if (lacking < wanted) this.#showLinks(end);
    return lacking > 0;
  }

  /** A connection that somebody needed stays, as in production: watchers link the whole ring. */
  #link(end: End, other: End): void {
    if (end.links.has(other.self) || !this.#canLink(end, other)) return;
    end.links.add(other.self);
    other.links.add(end.self);
    this.#showLinks(end);
    this.#showLinks(other);
  }

  #canLink(end: End, other: End): boolean {
    return (
      !other.machine.isPaused &&
      this.#lets(other, end.self) &&
      !this.#isCut(end.self, other.self) &&
      !this.#isCut(other.self, end.self)
    );
  }
}

/** As the asker sees what the other side's handler failed with. */
function refusal(error: unknown): NetworkError {
  return new NetworkError("refused", messageOf(error), { remoteCode: codeOf(error) ?? "failed" });
}
