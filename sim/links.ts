import { type NodeId, type Random, randomBelow } from "../src/kernel/index.ts";
import { NetworkError, type PeerNetwork, type PeerStream } from "../src/network/index.ts";
import { type MemoryStreamPair, memoryStreamPair } from "../src/network/memory-stream.ts";
import type { PeerMessage, RaftTransport } from "../src/raft/index.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Machine } from "./gossip/machine.ts";
import { SimNetwork, type Weather } from "./gossip/network.ts";

const proposeProtocol = "/skein/propose/1";
/** How soon TCP sends again what did not arrive. */
const resendMs = 300;
/** After so long TCP gives a silent connection up. */
const brokenAfterMs = 15_000;

type Stream = { readonly ends: readonly [Machine, Machine]; readonly pair: MemoryStreamPair };

type Sent = {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly messages: readonly PeerMessage[];
};

/** What one life of a node serves to others. */
type Served = {
  readonly machine: Machine;
  onMessages: (from: NodeId, messages: readonly PeerMessage[]) => void;
  onStream: (from: NodeId, stream: PeerStream) => Promise<void>;
};

export type LinksOptions = {
  readonly queue: EventQueue;
  readonly random: Random;
  readonly weather: Weather;
  readonly note: (text: () => string) => void;
};

/** What may happen to the log's messages besides loss and delay: nothing, when there is none. */
export type Disorder = {
  readonly duplicateRate: number;
  /** How often a message arrives long after those that follow it. */
  readonly lateRate: number;
  readonly maxLateMs: number;
};

/**
 * The network of the whole ring: requests and published messages as in the simulation of gossip,
 * and beside them the messages and streams of the log.
 */
export class Links {
  readonly #options: LinksOptions;
  readonly #gossip: SimNetwork;
  readonly #served = new Map<NodeId, Served>();
  readonly #arrivals = new Map<string, number>();
  readonly #cuts = new Set<string>();
  disorder: Disorder | undefined;
  #streams = new Set<Stream>();

  constructor(options: LinksOptions) {
    this.#options = options;
    this.#gossip = new SimNetwork({ ...options, note: () => undefined });
  }

  get weather(): Weather {
    return this.#gossip.weather;
  }

  set weather(weather: Weather) {
    this.#gossip.weather = weather;
  }

  get requests(): number {
    return this.#gossip.sent.requests;
  }

  join(machine: Machine, admits: (node: NodeId) => boolean): PeerNetwork {
    return this.#gossip.join(machine, admits);
  }

  admissionChanged(id: NodeId): void {
    this.#gossip.admissionChanged(id);
  }

  leave(machine: Machine, isDark: boolean): void {
    if (this.#served.get(machine.id)?.machine === machine) this.#served.delete(machine.id);
    this.#gossip.leave(machine.id, isDark);
    for (const stream of this.#streams) {
      if (!stream.ends.includes(machine)) continue;
      this.#breakIn(isDark ? brokenAfterMs : this.#delayMs(), stream);
    }
  }

  cut(from: NodeId, to: NodeId): void {
    this.#gossip.cut(from, to);
    this.#cuts.add(`${from}>${to}`);
    for (const stream of this.#streams) {
      const ids = stream.ends.map(({ id }) => id);
      if (!ids.includes(from) || !ids.includes(to)) continue;
      this.#breakIn(brokenAfterMs * (0.2 + this.#options.random.next()), stream, () =>
        this.#isCut(from, to),
      );
    }
  }

  heal(from: NodeId, to: NodeId): void {
    this.#gossip.heal(from, to);
    this.#cuts.delete(`${from}>${to}`);
  }

  healAll(): void {
    this.#gossip.healAll();
    this.#cuts.clear();
  }

  isCut(a: NodeId, b: NodeId): boolean {
    return this.#isCut(a, b) || this.#isCut(b, a);
  }

  /** How the log of this life reaches the others. */
  transport(machine: Machine, network: PeerNetwork): RaftTransport {
    const served: Served = {
      machine,
      onMessages: () => undefined,
      onStream: () => Promise.reject(new NetworkError("refused", "Nothing is served yet.")),
    };
    this.#served.set(machine.id, served);
    return {
      send: (to, messages) => this.#send(machine, to, messages),
      onMessages: (listener) => {
        served.onMessages = listener;
      },
      onDisconnect: (listener) => {
        let before = network.connected.get();
        network.connected.subscribe(() => {
          const now = network.connected.get();
          const gone = [...before].filter((node) => !now.has(node));
          before = now;
          for (const node of gone) listener(node);
        });
      },
      request: (to, body, { signal }) => network.request(to, proposeProtocol, body, { signal }),
      onRequest: (handler) => network.handle(proposeProtocol, handler),
      openStream: (to) => this.#open(machine, to),
      onStream: (handler) => {
        served.onStream = handler;
      },
    };
  }

  /** In the order in which they were sent, without disorder; what meets a cut is lost. */
  #send(machine: Machine, to: NodeId, messages: readonly PeerMessage[]): void {
    const { queue, random } = this.#options;
    const from = machine.id;
    if (this.#isCut(from, to) || random.next() < this.weather.lossRate) return;
    const lane = `${from}>${to}`;
    const at = Math.max(queue.now + this.#delayMs(), this.#arrivals.get(lane) ?? 0);
    const isLate = this.disorder !== undefined && random.next() < this.disorder.lateRate;
    if (!isLate) this.#arrivals.set(lane, at);
    const lateMs = isLate ? this.#lateMs() : 0;
    this.#arrive({ from, to, messages }, at - queue.now + lateMs);
    if (this.disorder === undefined || random.next() >= this.disorder.duplicateRate) return;
    this.#arrive({ from, to, messages }, at - queue.now + this.#lateMs());
  }

  #lateMs(): number {
    return 1 + randomBelow(this.#options.random, this.disorder?.maxLateMs ?? 1);
  }

  #arrive({ from, to, messages }: Sent, afterMs: number): void {
    this.#options.queue.after(afterMs, () => {
      const served = this.#served.get(to);
      if (served === undefined || this.#isCut(from, to)) return;
      served.machine.act(() => served.onMessages(from, messages));
    });
  }

  #open(machine: Machine, to: NodeId): Promise<PeerStream> {
    const { promise, resolve, reject } = Promise.withResolvers<PeerStream>();
    const { queue } = this.#options;
    const from = machine.id;
    queue.after(this.#delayMs(), () => {
      const served = this.#served.get(to);
      if (served === undefined || this.isCut(from, to)) {
        queue.after(this.isCut(from, to) ? resendMs * 10 : this.#delayMs(), () =>
          machine.act(() => reject(new NetworkError("unreachable", `Node ${to} is not there.`))),
        );
        return;
      }
      const ends = new Map([
        [from, machine],
        [to, served.machine],
      ]);
      const pair = memoryStreamPair(from, to, (sender, receiver) =>
        this.#transit(ends.get(sender) ?? machine, ends.get(receiver) ?? machine),
      );
      const stream: Stream = { ends: [machine, served.machine], pair };
      this.#streams.add(stream);
      served.machine.act(() => {
        served.onStream(from, pair.answerer).catch((error: unknown) => {
          pair.answerer.abort(error instanceof Error ? error : new Error(String(error)));
        });
      });
      machine.act(() => resolve(pair.opener));
    });
    return promise;
  }

  /** Resolves when a frame has arrived: sent again while the link is cut, in vain when it stays so. */
  #transit(from: Machine, to: Machine): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const attempt = () => {
      if (!from.isUp || !to.isUp) return;
      if (this.#isCut(from.id, to.id)) this.#options.queue.after(resendMs, attempt);
      else to.act(resolve);
    };
    const { random } = this.#options;
    const resent = random.next() < this.weather.lossRate ? resendMs : 0;
    this.#options.queue.after(this.#delayMs() + resent, attempt);
    return promise;
  }

  #breakIn(ms: number, stream: Stream, isStill: () => boolean = () => true): void {
    this.#options.queue.after(ms, () => {
      if (!this.#streams.has(stream) || !isStill()) return;
      this.#streams.delete(stream);
      const failure = new NetworkError("unreachable", "The connection broke.");
      const fail = () => stream.pair.fail(failure);
      const [opener, answerer] = stream.ends;
      if (opener.isUp) opener.act(fail);
      else answerer.act(fail);
    });
  }

  #delayMs(): number {
    return 1 + randomBelow(this.#options.random, this.weather.maxDelayMs);
  }

  #isCut(from: NodeId, to: NodeId): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(`${from}>${to}`);
  }
}
