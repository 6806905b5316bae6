import { failedWithinMs as failedWithin } from "../../sim/gossip/checker.ts";
import { GossipCluster, type SimNode } from "../../sim/gossip/cluster.ts";
import {
  type Gossip,
  type GossipTiming,
  gossipTimings,
  type MemberStatus,
} from "../../src/gossip/index.ts";
import { type NodeId, seededRandom } from "../../src/kernel/index.ts";
import type { PeerNetwork } from "../../src/network/index.ts";

export const timing = gossipTimings.lan;
export const failedWithinMs = failedWithin({ timing });

/** A cluster of the simulator that does what a test says, and nothing else happens to it. */
export class GossipWorld {
  readonly ids: readonly NodeId[];
  /** What was sent, to whom. */
  readonly trace: string[] = [];
  readonly clock = {
    now: () => 1_700_000_000_000 + this.#cluster.queue.now,
    advance: (ms: number) => this.#cluster.passUntil(this.#cluster.queue.now + ms),
  };
  readonly #cluster: GossipCluster;

  constructor(count: number, seed: number, preset: GossipTiming = timing) {
    this.#cluster = new GossipCluster({
      random: seededRandom(seed),
      timing: preset,
      weather: { lossRate: 0, duplicateRate: 0, maxDelayMs: 20, hasGate: false },
      clockSkew: 0,
      maxLagMs: 1,
      note: (text) => this.trace.push(text()),
    });
    const nodes = Array.from({ length: count }, (_, at) => this.#cluster.admit(`node-${at}`));
    this.ids = nodes.map(({ id }) => id);
  }

  get sent(): number {
    const { requests, frames, publications } = this.#cluster.network.sent;
    return requests + frames + publications;
  }

  get checkedSignatures(): number {
    return this.#cluster.checkedSignatures;
  }

  get largestBytes(): number {
    return this.#cluster.network.sent.largestBytes;
  }

  set faults({ lossRate, duplicateRate }: { lossRate: number; duplicateRate: number }) {
    const { network } = this.#cluster;
    network.weather = { ...network.weather, lossRate, duplicateRate };
  }

  /** By how much the clocks that people read are wrong. */
  set wallClockErrorMs(errorMs: number) {
    for (const { machine } of this.#cluster.running) {
      if (machine !== undefined) machine.wallErrorMs = errorMs;
    }
  }

  async start(id: NodeId): Promise<Gossip> {
    this.#cluster.start(this.#node(id));
    await this.clock.advance(0);
    return this.gossip(id);
  }

  async startAll(): Promise<void> {
    for (const id of this.ids) await this.start(id);
  }

  /** Ends a node without a word. */
  crash(id: NodeId): void {
    this.#cluster.crash(this.#node(id));
  }

  /** Loses what a node keeps on disk. */
  loseDisk(id: NodeId): void {
    Object.assign(this.#node(id), { incarnation: 0, usedIncarnation: 0 });
  }

  gossip(id: NodeId): Gossip {
    const { gossip } = this.#node(id);
    if (gossip === undefined) throw new Error(`${id} does not run`);
    return gossip;
  }

  networkOf(id: NodeId): PeerNetwork {
    const { network } = this.#node(id);
    if (network === undefined) throw new Error(`${id} does not run`);
    return network;
  }

  /** What a node believes of another. */
  view(of: NodeId, on: NodeId): MemberStatus | undefined {
    return this.gossip(on).members.get().get(of)?.status;
  }

  /** Between these nothing is refused: it is silent, as behind a cable that is cut. */
  separate(left: readonly NodeId[], right: readonly NodeId[]): void {
    this.#eachWay(left, right, (from, to) => this.#cluster.network.cut(from, to));
  }

  join(left: readonly NodeId[], right: readonly NodeId[]): void {
    this.#eachWay(left, right, (from, to) => this.#cluster.network.heal(from, to));
  }

  /** Passes time until the condition holds; resolves with how long it took, undefined past the limit. */
  until(limitMs: number, test: () => boolean): Promise<number | undefined> {
    return this.#cluster.until(limitMs, test);
  }

  /** Whether all running nodes believe the same of each: alive where it runs, failed elsewhere. */
  isTrueEverywhere(): boolean {
    const running = new Set(this.#cluster.running.map(({ id }) => id));
    return [...running].every((on) =>
      this.ids.every((of) => this.view(of, on) === (running.has(of) ? "alive" : "failed")),
    );
  }

  /** Notes whoever is called failed while it runs. Returns what was noted. */
  watchForSlander(): readonly string[] {
    const slander: string[] = [];
    for (const { id: on, gossip } of this.#cluster.running) {
      gossip?.members.subscribe(() => {
        for (const [of, { status }] of gossip.members.get()) {
          const isRunning = this.#node(of).state === "running";
          if (status === "failed" && isRunning) slander.push(`${on} of ${of}`);
        }
      });
    }
    return slander;
  }

  #node(id: NodeId): SimNode {
    const node = this.#cluster.nodes.get(id);
    if (node === undefined) throw new Error(`there is no ${id}`);
    return node;
  }

  #eachWay(
    left: readonly NodeId[],
    right: readonly NodeId[],
    change: (from: NodeId, to: NodeId) => void,
  ): void {
    for (const a of left) {
      for (const b of right) {
        change(a, b);
        change(b, a);
      }
    }
  }
}
