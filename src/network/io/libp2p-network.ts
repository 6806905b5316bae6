import { TopicValidatorResult } from "@chainsafe/libp2p-gossipsub";
import type { Connection, PeerId, Stream } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import {
  Cell,
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  nodeId,
  type Random,
  type ReadableCell,
} from "../../kernel/index.ts";
import { NetworkError } from "../errors.ts";
import { interruption, orInterrupted } from "../interruption.ts";
import { checkSize, maxMessageBytes } from "../limits.ts";
import type { PeerNetwork, PeerStream } from "../peer-network.ts";
import { ConnectionWatch } from "./connection-watch.ts";
import type { Credentials } from "./credentials.ts";
import { Dialler } from "./dialler.ts";
import { answer, ask, streamFailure } from "./exchange.ts";
import { FramedStream } from "./framed-stream.ts";
import { createHost, type Host } from "./host.ts";
import type { Identity } from "./identity.ts";
import { Links } from "./links.ts";
import { admittingProtocols } from "./strangers.ts";

/** How long the negotiation of a stream may take. */
const negotiationMs = 4_000;
/** Two that dial each other at once keep both connections; later than this is no coincidence. */
const crossedDialsMs = 5_000;
const streamLimits = { maxInboundStreams: 1_000, maxOutboundStreams: 1_000 };

export type NetworkOptions = {
  readonly identity: Identity;
  readonly credentials: Credentials;
  readonly listen: { readonly host: string; readonly port: number };
  /** `HOST:PORT` of a member, from the agreed state. */
  readonly addressOf: (node: NodeId) => string | undefined;
  /** Who is admitted by the agreed state, as far as this node knows it. */
  readonly members: ReadableCell<ReadonlySet<NodeId>>;
  /** Who was a member and is one no more: its certificate counts for nothing. */
  readonly removed?: ReadableCell<ReadonlySet<NodeId>>;
  /** A member says that this node was removed from the cluster. */
  readonly onRemoved?: (by: NodeId, message: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

/** Starts libp2p and links this node to the other members. */
export async function startLibp2pNetwork(options: NetworkOptions): Promise<Libp2pNetwork> {
  const certified = new Set<string>();
  const { identity, listen, members, removed } = options;
  const isRemoved = (peer: string) => removed?.get().has(nodeId(peer)) ?? false;
  const isAdmitted = (peer: string) =>
    !isRemoved(peer) && (certified.has(peer) || members.get().has(nodeId(peer)));
  const host = await createHost({ identity, listen, isAdmitted });
  return new Libp2pNetwork(options, { host, certified, isAdmitted, isRemoved });
}

type Parts = {
  readonly host: Host;
  /** Who has shown a membership certificate. */
  readonly certified: Set<string>;
  readonly isAdmitted: (peer: string) => boolean;
  readonly isRemoved: (peer: string) => boolean;
};

export class Libp2pNetwork implements PeerNetwork {
  readonly self: NodeId;
  readonly #options: NetworkOptions;
  readonly #parts: Parts;
  readonly #host: Host;
  readonly #connected = new Cell<ReadonlySet<NodeId>>(new Set());
  readonly #topics = new Map<string, Set<(from: NodeId, body: Uint8Array) => void>>();
  readonly #closing = new AbortController();
  readonly #watch: ConnectionWatch;
  readonly #dialler: Dialler;
  readonly #links: Links;
  readonly #unsubscribe: readonly (() => void)[];

  constructor(options: NetworkOptions, parts: Parts) {
    this.self = options.identity.nodeId;
    this.#options = options;
    this.#parts = parts;
    this.#host = parts.host;
    const { clock, random, logger, members, removed } = options;
    const { signal } = this.#closing;
    this.#watch = new ConnectionWatch({
      isAdmitted: parts.isAdmitted,
      admitting: admittingProtocols,
      onShownOut: (peer) => this.#forget(peer),
      clock,
      signal,
    });
    const update = () => this.#update();
    this.#host.addEventListener("peer:connect", update);
    this.#host.addEventListener("peer:disconnect", update);
    this.#host.addEventListener("connection:open", ({ detail }) => {
      this.#watch.opened(detail);
      this.#identify(detail);
      this.#dropLost(detail);
    });
    this.#host.services.pubsub.addEventListener("message", ({ detail }) => {
      if (detail.type !== "signed") return;
      const listeners = this.#topics.get(detail.topic) ?? [];
      for (const listener of listeners) listener(nodeId(detail.from.toString()), detail.data);
    });
    this.#dialler = new Dialler({
      ...options,
      host: this.#host,
      watch: this.#watch,
      isRemoved: parts.isRemoved,
      isAgreed: (peer) => members.get().has(nodeId(peer)),
      now: () => clock.now(),
      certify: (node) => this.certify(node),
      signal,
    });
    this.#links = new Links({
      others: () =>
        [...members.get()].filter((node) => node !== this.self && !parts.isRemoved(node)),
      isConnected: (node) => this.#connected.get().has(node),
      dial: (node) => this.#dialler.dial(node),
      onLook: () => {
        this.#update();
        this.#hangUpDeaf();
      },
      clock,
      random,
      logger,
      signal,
    });
    this.#unsubscribe = [
      members.subscribe(update),
      removed?.subscribe(update) ?? (() => undefined),
    ];
  }

  get connected(): ReadableCell<ReadonlySet<NodeId>> {
    return this.#connected;
  }

  /** Where libp2p listens on loopback: what the proxy hands connections to. */
  get listenPort(): number {
    for (const address of this.#host.getMultiaddrs()) {
      const match = /\/tcp\/(\d+)/.exec(address.toString());
      if (match?.[1] !== undefined) return Number(match[1]);
    }
    throw new Error("libp2p listens on no port");
  }

  /** The host below, for the one protocol that strangers may speak: joining. */
  get host(): Host {
    return this.#host;
  }

  /** Takes a machine for a member before the agreed state here says so: it has just been admitted. */
  certify(node: NodeId): void {
    this.#parts.certified.add(node);
    this.#update();
  }

  /** Renewed certificates: shown from the next connection on; open ones stay. */
  useCredentials(credentials: Credentials): void {
    this.#dialler.useCredentials(credentials);
  }

  async request(
    to: NodeId,
    protocol: string,
    body: Uint8Array,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Uint8Array> {
    return await ask(await this.#connectionTo(to, signal), protocol, body, signal);
  }

  handle(
    protocol: string,
    handler: (
      from: NodeId,
      body: Uint8Array,
      options: { readonly signal: AbortSignal },
    ) => Promise<Uint8Array>,
  ): void {
    this.#register(protocol, (stream, from) =>
      answer(stream, (body, signal) => handler(from, body, { signal })),
    );
  }

  async openStream(
    to: NodeId,
    protocol: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<PeerStream> {
    const connection = await this.#connectionTo(to, signal);
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(negotiationMs)]);
    try {
      const stream = await connection.newStream(protocol, {
        signal: bounded,
        negotiateFully: false,
        maxOutboundStreams: streamLimits.maxOutboundStreams,
      });
      return new FramedStream(stream, to);
    } catch (error) {
      throw bounded.aborted
        ? interruption(bounded, to)
        : streamFailure(error, { peer: to, protocol });
    }
  }

  handleStream(
    protocol: string,
    handler: (from: NodeId, stream: PeerStream) => Promise<void>,
  ): void {
    this.#register(protocol, async (stream, from) => {
      try {
        await handler(from, new FramedStream(stream, from));
      } catch (error) {
        stream.abort(error instanceof Error ? error : new Error(messageOf(error)));
      }
    });
  }

  async publish(topic: string, body: Uint8Array): Promise<void> {
    // A larger one would make receivers drop us from their router for good.
    checkSize(body, { what: "message", maxBytes: maxMessageBytes });
    this.#closing.signal.throwIfAborted();
    try {
      await this.#host.services.pubsub.publish(topic, body);
    } catch (error) {
      throw new NetworkError("unreachable", `Nothing was published: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  subscribe(topic: string, listener: (from: NodeId, body: Uint8Array) => void): void {
    const known = this.#topics.get(topic);
    if (known !== undefined) {
      known.add(listener);
      return;
    }
    this.#topics.set(topic, new Set([listener]));
    const { pubsub } = this.#host.services;
    pubsub.topicValidators.set(topic, (_, message) => {
      const isFine =
        message.type === "signed" &&
        this.#parts.isAdmitted(message.from.toString()) &&
        message.data.length <= maxMessageBytes;
      return isFine ? TopicValidatorResult.Accept : TopicValidatorResult.Ignore;
    });
    pubsub.subscribe(topic);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new NetworkError("unreachable", "This node is stopping."));
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    await this.#links.done;
    await this.#host.stop();
    this.#update();
  }

  #register(protocol: string, serve: (stream: Stream, from: NodeId) => Promise<void>): void {
    const handler = async (stream: Stream, { remotePeer }: Connection): Promise<void> => {
      const peer = remotePeer.toString();
      if (this.#parts.isAdmitted(peer)) await serve(stream, nodeId(peer));
      else stream.abort(new NetworkError("not_admitted", "Only members may speak this protocol."));
    };
    this.#host.handle(protocol, handler, streamLimits).catch((error: unknown) => {
      this.#options.logger.error({ protocol, error: messageOf(error) }, "protocol not registered");
    });
  }

  /** Brings `connected` up to date, and shows those out who have been removed. */
  #update(): void {
    const peers = new Set<NodeId>();
    for (const id of this.#host.getPeers()) {
      const peer = id.toString();
      const wasMember = this.#connected.get().has(nodeId(peer));
      if (this.#parts.isRemoved(peer)) {
        // One that comes back is told why it is not let in, so it may connect, as a stranger.
        if (wasMember) this.drop(nodeId(peer), "The node was removed from the cluster.");
      } else if (this.#parts.isAdmitted(peer)) peers.add(nodeId(peer));
    }
    if (peers.symmetricDifference(this.#connected.get()).size === 0) return;
    this.#connected.set(peers);
    this.#links?.wake();
  }

  async #connectionTo(to: NodeId, signal: AbortSignal): Promise<Connection> {
    if (signal.aborted) throw interruption(signal, to);
    const open = this.#host
      .getConnections()
      .find(({ status, remotePeer }) => status === "open" && remotePeer.toString() === to);
    if (open !== undefined && this.#parts.isAdmitted(to)) {
      // One of ours may still have to show its certificate.
      if (!this.#dialler.isDialling(to) || open.direction === "inbound") return open;
    }
    const connection = this.#dialler.dial(to, { isAwaited: true });
    return await orInterrupted(connection, { signal, peer: to });
  }

  /** A peer that gossip dropped (an oversized message, say) stays dropped until it is dialled anew. */
  #hangUpDeaf(): void {
    const connections = this.#host.getConnections();
    for (const { remotePeer } of this.#watch.deaf(connections, this.#host.services.pubsub)) {
      const peer = remotePeer.toString();
      this.#options.logger.debug({ peer }, "peer deaf to gossip, redialling");
      this.#hangUp(peer);
    }
  }

  drop(peer: NodeId, why = "The peer does not answer."): void {
    const reason = new NetworkError("unreachable", why);
    for (const connection of this.#host.getConnections(peerIdFromString(peer))) {
      // Not closed in good order: that would wait for the peer.
      connection.abort(reason);
    }
  }

  /**
   * A peer dials only when it has no connection: what was open to it before is lost, though
   * nothing may ever say so where a firewall swallows the packets of old connections.
   */
  #dropLost({ id, direction, remotePeer, timeline }: Connection): void {
    if (direction !== "inbound") return;
    const reason = new NetworkError("unreachable", "The peer has connected anew.");
    for (const other of this.#host.getConnections(remotePeer)) {
      const isOld = timeline.open - other.timeline.open > crossedDialsMs;
      if (other.id !== id && isOld) other.abort(reason);
    }
  }

  /** Gossip learns from it that the peer takes part. */
  #identify(connection: Connection): void {
    if (!this.#parts.isAdmitted(connection.remotePeer.toString())) return;
    this.#host.services.identify.identify(connection).catch(() => undefined);
  }

  /** The library remembers every peer that ever connected, which anybody can be many of. */
  #forget(peer: PeerId): void {
    this.#host.peerStore.delete(peer).catch(() => undefined);
  }

  #hangUp(peer: string): void {
    this.#host.hangUp(peerIdFromString(peer)).catch(() => undefined);
  }
}
