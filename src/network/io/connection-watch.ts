import type { GossipSub } from "@chainsafe/libp2p-gossipsub";
import type { Connection, PeerId } from "@libp2p/interface";
import type { Clock } from "../../kernel/index.ts";

/** How long a stranger may stay connected without anything under way that could admit it. */
const strangerMs = 3_000;
/** How long it may stay at the most: an admission waits for the cluster's agreement. */
const admissionMs = 30_000;
/** Strangers at once; one more ends the oldest. Members never have to queue behind them. */
const maxStrangers = 64;
/** A peer that gossip lost while its connection stands is hung up after so long. */
const deafMs = 5_000;
/** A peer that gossip knows but could open no stream to, for instance in a storm of joins. */
const muteMs = 15_000;

export type ConnectionWatchOptions = {
  readonly isAdmitted: (peer: string) => boolean;
  /** Protocols by which a stranger can become a member. */
  readonly admitting: ReadonlySet<string>;
  /** A stranger's time is over, and it has not been admitted. */
  readonly onShownOut: (peer: PeerId) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
};

/** Knows since when each connection has been open, and shows strangers the door in time. */
export class ConnectionWatch {
  readonly #options: ConnectionWatchOptions;
  readonly #openedAtMs = new WeakMap<Connection, number>();
  /** Opened before the peer was admitted: gossip leaves these connections out for good. */
  readonly #fromStrangers = new WeakSet<Connection>();
  readonly #strangers = new Set<Connection>();

  constructor(options: ConnectionWatchOptions) {
    this.#options = options;
  }

  opened(connection: Connection): void {
    const { clock, isAdmitted } = this.#options;
    this.#openedAtMs.set(connection, clock.monotonic());
    if (isAdmitted(connection.remotePeer.toString())) return;
    this.#fromStrangers.add(connection);
    this.#strangers.add(connection);
    connection.addEventListener("close", () => this.#strangers.delete(connection));
    const [oldest] = this.#strangers;
    if (this.#strangers.size > maxStrangers) oldest?.abort(new Error("too many strangers"));
    void this.#watch(connection);
  }

  /** Whether the peer was a member when this connection opened, so that gossip takes part in it. */
  wasKnown(connection: Connection): boolean {
    return !this.#fromStrangers.has(connection);
  }

  /** Connections whose peer gossip has lost. Only a new connection mends that. */
  deaf(connections: readonly Connection[], pubsub: GossipSub): readonly Connection[] {
    const now = this.#options.clock.monotonic();
    const heard = new Set(pubsub.getPeers().map(String));
    const spokenTo = outboundStreams(pubsub);
    return connections.filter((connection) => {
      const ageMs = now - (this.#openedAtMs.get(connection) ?? now);
      const peer = connection.remotePeer.toString();
      if (this.#strangers.has(connection)) return false;
      if (ageMs > muteMs && spokenTo !== undefined && !spokenTo.has(peer)) return true;
      return ageMs > deafMs && !heard.has(peer);
    });
  }

  async #watch(connection: Connection): Promise<void> {
    const { clock, signal, admitting, isAdmitted, onShownOut } = this.#options;
    try {
      for (let waitedMs = strangerMs; ; waitedMs += strangerMs) {
        await clock.sleep(strangerMs, { signal });
        if (isAdmitted(connection.remotePeer.toString())) break;
        const isAtIt = connection.streams.some(({ protocol }) => admitting.has(protocol));
        if (isAtIt && waitedMs < admissionMs) continue;
        connection.abort(new Error("not admitted in time"));
        onShownOut(connection.remotePeer);
        break;
      }
    } catch {
      // The network closes, and all connections with it.
    }
    this.#strangers.delete(connection);
  }
}

/** No public field: without it, only the peers that gossip dropped altogether are found. */
function outboundStreams(pubsub: GossipSub): ReadonlyMap<unknown, unknown> | undefined {
  return "streamsOutbound" in pubsub && pubsub.streamsOutbound instanceof Map
    ? pubsub.streamsOutbound
    : undefined;
}
