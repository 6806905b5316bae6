import { type Clock, codeOf, type NodeId } from "../kernel/index.ts";
import { NetworkError, type PeerNetwork } from "../network/index.ts";
import { deadline } from "./deadline.ts";
import { type Claim, claimOf } from "./member-table.ts";
import { decodeIndirect, decodePing, encode } from "./message.ts";
import type { GossipTiming } from "./presets.ts";
import { WatchStreams } from "./watch-streams.ts";

const pingProtocol = "/skein/ping/1";
const indirectProtocol = "/skein/indirect-ping/1";

export type ProberOptions = {
  readonly network: PeerNetwork;
  readonly clock: Clock;
  readonly timing: GossipTiming;
  readonly incarnation: () => number;
  /** What this node believes of a member. */
  readonly known: (node: NodeId) => Claim | undefined;
  /** A member asks, and says what it believes of this node where that is no good. */
  readonly onAsked: (about: Claim, from: NodeId) => void;
  /** A sign of life, with the incarnation that it is of. */
  readonly onHeard: (node: NodeId, incarnation: number) => void;
  /** What was open to a watched member broke: its process may have ended. */
  readonly onBroken: (node: NodeId) => void;
  readonly signal: AbortSignal;
};

/**
 * What came of trying a member through another. `refused`: its machine says that nothing listens
 * there, so its process has ended; `silent` may be anything.
 */
export type Reach = "answered" | "refused" | "silent";

/** Whether an attempt failed because somebody said so, not because nobody said anything. */
export function isRefusal(error: unknown): boolean {
  return codeOf(error) === "unreachable";
}

/** Asks members whether they live, directly and through others, and answers such questions. */
export class Prober {
  readonly #options: ProberOptions;
  readonly #streams: WatchStreams;

  constructor(options: ProberOptions) {
    this.#options = options;
    const { network, timing, onHeard, onBroken } = options;
    this.#streams = new WatchStreams({
      network,
      answer: (from, ping) => this.#answer(from, ping),
      onAnswer: (from, answer) => onHeard(from, decodePing(answer).incarnation),
      onBroken,
      signal: options.signal,
    });
    network.handle(pingProtocol, async (from, body) => this.#answer(from, body));
    network.handle(indirectProtocol, async (_, body, { signal }) => {
      const { target } = decodeIndirect(body);
      // Shorter than the asker's patience: a "no" in time is what confirms a failure.
      await this.askOnce(target, { atMostMs: timing.helperPingTimeoutMs, signal });
      return new Uint8Array();
    });
  }

  /** A ping to a member that is watched. @throws when the member does not answer in time. */
  async ping(node: NodeId, signal: AbortSignal): Promise<void> {
    const { clock, timing } = this.#options;
    using bounded = deadline(timing.pingTimeoutMs, { clock, signal });
    await this.#streams.ask(node, this.#pingTo(node), bounded.signal);
  }

  /** A ping to any member. @throws when the member does not answer in time. */
  async askOnce(
    node: NodeId,
    { atMostMs, signal }: { readonly atMostMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    const { network, clock, onHeard } = this.#options;
    using bounded = deadline(atMostMs, { clock, signal });
    const answer = await network.request(node, pingProtocol, this.#pingTo(node), bounded);
    onHeard(node, decodePing(answer).incarnation);
  }

  /** The member is watched no more. */
  release(node: NodeId): void {
    this.#streams.release(node);
  }

  #pingTo(node: NodeId): Uint8Array {
    const { incarnation, known } = this.#options;
    const entry = known(node);
    const about = entry?.status === "alive" ? undefined : entry;
    return encode({
      incarnation: incarnation(),
      ...(about === undefined ? {} : { about: claimOf(about) }),
    });
  }

  #answer(from: NodeId, body: Uint8Array): Uint8Array {
    const { incarnation, onAsked, onHeard } = this.#options;
    const ping = decodePing(body);
    if (ping.about !== undefined) onAsked(ping.about, from);
    onHeard(from, ping.incarnation);
    return encode({ incarnation: incarnation() });
  }

  /** How `helper` reached `target`; undefined when the helper itself did not answer. */
  async indirectPing(
    helper: NodeId,
    target: NodeId,
    signal: AbortSignal,
  ): Promise<Reach | undefined> {
    const { network, clock, timing } = this.#options;
    using bounded = deadline(timing.indirectTimeoutMs, { clock, signal });
    try {
      const body = encode({ target });
      await network.request(helper, indirectProtocol, body, { signal: bounded.signal });
      return "answered";
    } catch (error) {
      if (!(error instanceof NetworkError) || error.code !== "refused") return undefined;
      return error.remoteCode === "unreachable" ? "refused" : "silent";
    }
  }
}
