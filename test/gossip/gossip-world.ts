import {
  type Gossip,
  type GossipTiming,
  gossipTimings,
  type MemberStatus,
  startGossip,
} from "../../src/gossip/index.ts";
import {
  Cell,
  type Clock,
  type NodeId,
  nodeId,
  type Random,
  randomBelow,
  seededRandom,
  silentLogger,
} from "../../src/kernel/index.ts";
import { createMemoryNetwork, type PeerNetwork } from "../../src/network/index.ts";
import { VirtualClock } from "../agent/virtual-clock.ts";
import { type PlantedRule, plantedIn } from "./planted.ts";

export const timing = gossipTimings.lan;
/** From silence until everybody has given a member up, with all that may have to be waited for. */
export function failedWithin(preset: GossipTiming): number {
  return (
    preset.silenceMs +
    2 * preset.pingIntervalMs +
    preset.pingTimeoutMs +
    preset.indirectTimeoutMs +
    preset.suspicionMaxMs
  );
}
export const failedWithinMs = failedWithin(timing);

type Faults = {
  /** Of requests, of answers, and of each receiver's copy of a message. */
  readonly lossRate: number;
  readonly duplicateRate: number;
};

/** Faults of the code, which the checks below must notice. */
export type PlantedBug = "incarnation_not_kept" | "digests_not_exchanged" | PlantedRule;

type Running = { readonly gossip: Gossip; readonly network: PeerNetwork };

/** Gossip of many nodes in one process, in virtual time, on a network that may lose things. */
export class GossipWorld implements AsyncDisposable {
  readonly clock = new VirtualClock();
  readonly ids: readonly NodeId[];
  readonly #random: Random;
  readonly #network;
  readonly #admitted: Cell<ReadonlySet<NodeId>>;
  /** Between these nothing is refused: it is silent, as behind a cable that is cut. */
  readonly #apart = new Set<string>();
  readonly #running = new Map<NodeId, Running>();
  readonly #incarnations = new Map<NodeId, number>();
  readonly #planted: PlantedBug | undefined;
  readonly #timing: GossipTiming;
  /** By how much the clocks that people read are wrong. */
  wallClockErrorMs = 0;
  /** What was sent, to whom and when: equal for equal seeds. */
  readonly trace: string[] = [];
  faults: Faults = { lossRate: 0, duplicateRate: 0 };
  /** Messages and requests sent since the start. */
  sent = 0;
  largestBytes = 0;

  constructor(count: number, seed: number, planted?: PlantedBug, preset: GossipTiming = timing) {
    this.#timing = preset;
    this.#random = seededRandom(seed);
    this.#planted = planted;
    this.ids = Array.from({ length: count }, (_, number) => nodeId(`node-${number}`));
    this.#admitted = new Cell<ReadonlySet<NodeId>>(new Set(this.ids));
    const delayMs = () => 1 + randomBelow(this.#random, 20);
    this.#network = createMemoryNetwork({ clock: this.clock, delayMs });
  }

  async start(id: NodeId): Promise<Gossip> {
    const network = this.#network.join(id);
    const gossip = await startGossip({
      network: this.#faulty(network),
      admitted: this.#admitted,
      incarnation: {
        load: () => this.#incarnations.get(id) ?? 0,
        save: (value) => {
          if (this.#planted !== "incarnation_not_kept") this.#incarnations.set(id, value);
        },
      },
      clock: this.#jumpyClock(),
      random: this.#random,
      logger: silentLogger,
      timing: this.#timing,
    });
    this.#running.set(id, { gossip, network });
    return gossip;
  }

  async startAll(): Promise<void> {
    for (const id of this.ids) await this.start(id);
  }

  /** Ends a node without a word. */
  async crash(id: NodeId): Promise<void> {
    const running = this.#running.get(id);
    this.#running.delete(id);
    await running?.network[Symbol.asyncDispose]();
    await running?.gossip[Symbol.asyncDispose]();
  }

  /** Loses what a node keeps on disk. */
  loseDisk(id: NodeId): void {
    this.#incarnations.delete(id);
  }

  gossip(id: NodeId): Gossip {
    const running = this.#running.get(id);
    if (running === undefined) throw new Error(`${id} does not run`);
    return running.gossip;
  }

  /** A node's own end of the network, without this world's faults. */
  networkOf(id: NodeId): PeerNetwork {
    const running = this.#running.get(id);
    if (running === undefined) throw new Error(`${id} does not run`);
    return running.network;
  }

  /** What a node believes of another. */
  view(of: NodeId, on: NodeId): MemberStatus | undefined {
    return this.gossip(on).members.get().get(of)?.status;
  }

  separate(left: readonly NodeId[], right: readonly NodeId[]): void {
    for (const a of left) {
      for (const b of right) {
        this.#network.cut(a, b);
        this.#apart.add(`${a} ${b}`).add(`${b} ${a}`);
      }
    }
  }

  join(left: readonly NodeId[], right: readonly NodeId[]): void {
    for (const a of left) {
      for (const b of right) {
        this.#network.heal(a, b);
        this.#apart.delete(`${a} ${b}`);
        this.#apart.delete(`${b} ${a}`);
      }
    }
  }

  /** Passes time until the condition holds; resolves with how long it took, undefined past the limit. */
  async until(limitMs: number, test: () => boolean): Promise<number | undefined> {
    const from = this.clock.now();
    while (!test()) {
      if (this.clock.now() - from >= limitMs) return undefined;
      await this.clock.advance(100);
    }
    return this.clock.now() - from;
  }

  /** Whether all running nodes believe the same of each: alive where it runs, failed elsewhere. */
  isTrueEverywhere(): boolean {
    return [...this.#running.keys()].every((on) =>
      this.ids.every((of) => this.view(of, on) === (this.#running.has(of) ? "alive" : "failed")),
    );
  }

  /** Notes whoever is called failed while it runs. Returns what was noted. */
  watchForSlander(): readonly string[] {
    const slander: string[] = [];
    for (const [on, { gossip }] of this.#running) {
      gossip.members.subscribe(() => {
        for (const [of, { status }] of gossip.members.get()) {
          if (status === "failed" && this.#running.has(of)) slander.push(`${on} of ${of}`);
        }
      });
    }
    return slander;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of [...this.#running.keys()]) await this.crash(id);
  }

  #jumpyClock(): Clock {
    return {
      now: () => this.clock.now() + this.wallClockErrorMs,
      monotonic: () => this.clock.monotonic(),
      sleep: (ms, options) => this.clock.sleep(ms, options),
    };
  }

  /** The network as one node sees it, with this world's faults. */
  #faulty(network: PeerNetwork): PeerNetwork {
    switch (this.#planted) {
      case "incarnations_ignored":
      case "never_refutes":
      case "older_record_wins":
        return plantedIn(this.#lossy(network), this.#planted);
      default:
        return this.#lossy(network);
    }
  }

  #lossy(network: PeerNetwork): PeerNetwork {
    const isLost = () => this.#random.next() < this.faults.lossRate;
    const count = (what: string, body: Uint8Array) => {
      this.sent += 1;
      this.trace.push(`${this.clock.now()} ${network.self} ${what} ${body.byteLength}`);
      this.largestBytes = Math.max(this.largestBytes, body.byteLength);
    };
    return {
      self: network.self,
      connected: network.connected,
      drop: (peer) => network.drop(peer),
      request: async (to, protocol, body, options) => {
        count(`${protocol} ${to}`, body);
        const isForbidden =
          this.#planted === "digests_not_exchanged" && protocol.startsWith("/skein/sync");
        if (isLost() || isForbidden) return await silence(options.signal);
        const link = `${network.self} ${to}`;
        const answer = await network
          .request(to, protocol, body, options)
          .catch((error: unknown) => {
            if (this.#apart.has(link)) return silence(options.signal);
            throw error;
          });
        if (isLost()) return await silence(options.signal);
        this.largestBytes = Math.max(this.largestBytes, answer.byteLength);
        return answer;
      },
      handle: (protocol, handler) => network.handle(protocol, handler),
      openStream: (to, protocol, options) => network.openStream(to, protocol, options),
      handleStream: (protocol, handler) => network.handleStream(protocol, handler),
      publish: async (topic, body) => {
        count(topic, body);
        await network.publish(topic, body);
      },
      subscribe: (topic, listener) => {
        network.subscribe(topic, (from, body) => {
          if (isLost()) return;
          listener(from, body);
          if (this.#random.next() < this.faults.duplicateRate) listener(from, body);
        });
      },
      [Symbol.asyncDispose]: () => network[Symbol.asyncDispose](),
    };
  }
}

/** No answer, for as long as the asker waits. */
function silence(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}
