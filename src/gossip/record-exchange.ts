import {
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type Random,
  randomBelow,
} from "../kernel/index.ts";
import type { PeerNetwork } from "../network/index.ts";
import { deadline } from "./deadline.ts";
import { decodeSync, encode, type Sync } from "./message.ts";
import type { GossipTiming } from "./presets.ts";
import type { RecordId } from "./record-table.ts";

const syncProtocol = "/skein/sync/1";
const syncTimeoutMs = 5_000;

export type RecordExchangeOptions = {
  readonly network: PeerNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly timing: GossipTiming;
  /** All claims, and the records that somebody with this digest lacks. */
  readonly offer: (digest: readonly RecordId[]) => Sync;
  readonly takeIn: (theirs: Sync, from: NodeId) => void;
  readonly signal: AbortSignal;
};

/**
 * Brings what a message failed to bring: two members compare what they hold, when they meet and
 * from time to time, and both end up with the newer of each record and claim.
 */
export class RecordExchange {
  readonly #options: RecordExchangeOptions;
  #linked: ReadonlySet<NodeId> = new Set();
  /** Exchanges under way, and whether another has been asked for since. */
  readonly #underWay = new Map<NodeId, { isWantedAgain: boolean }>();

  constructor(options: RecordExchangeOptions) {
    this.#options = options;
    options.network.handle(syncProtocol, async (from, body) => {
      const theirs = decodeSync(body);
      options.takeIn(theirs, from);
      return encode(options.offer(theirs.digest));
    });
  }

  /** Exchanges with whoever is newly connected. */
  meet(linked: ReadonlySet<NodeId>): void {
    for (const node of linked) if (!this.#linked.has(node)) this.begin(node);
    this.#linked = linked;
  }

  /** One exchange with each member at a time; however often it is asked for, one more follows. */
  begin(node: NodeId): void {
    const { signal, logger } = this.#options;
    const underWay = this.#underWay.get(node);
    if (underWay !== undefined) {
      underWay.isWantedAgain = true;
      return;
    }
    const exchange = { isWantedAgain: false };
    this.#underWay.set(node, exchange);
    this.#exchange(node)
      .catch((error: unknown) => {
        if (signal.aborted) return;
        logger.debug({ node, error: messageOf(error) }, "no exchange");
      })
      .finally(() => {
        this.#underWay.delete(node);
        if (exchange.isWantedAgain && !signal.aborted) this.begin(node);
      })
      .catch(() => undefined);
  }

  /** With one random member after the other, until the signal aborts; never rejects. */
  async run(): Promise<void> {
    const { clock, random, timing, network, signal } = this.#options;
    while (!signal.aborted) {
      const jitter = 0.75 + random.next() / 2;
      await clock.sleep(timing.syncIntervalMs * jitter, { signal }).catch(() => undefined);
      const peers = [...network.connected.get()].sort();
      const peer = peers[randomBelow(random, Math.max(1, peers.length))];
      if (peer !== undefined && !signal.aborted) this.begin(peer);
    }
  }

  async #exchange(node: NodeId): Promise<void> {
    const { network, clock, signal, offer, takeIn } = this.#options;
    using bounded = deadline(syncTimeoutMs, { clock, signal });
    const ask = async (what: Sync) =>
      decodeSync(
        await network.request(node, syncProtocol, encode(what), { signal: bounded.signal }),
      );
    const theirs = await ask({ ...offer([]), records: [] });
    takeIn(theirs, node);
    const lacking = offer(theirs.digest);
    if (lacking.records.length > 0) await ask(lacking);
  }
}
