import { TopicValidatorResult } from "@chainsafe/libp2p-gossipsub";
import type { Connection, PeerId, Stream } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import { Packr } from "msgpackr";
import { z } from "zod";
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
import type { PeerNetwork, PeerStream } from "../peer-network.ts";
import { type Credentials, verifyMembership } from "./credentials.ts";
import { answer, ask } from "./exchange.ts";
import { FramedStream } from "./framed-stream.ts";
import { createHost, type Host, maxPublishBytes } from "./host.ts";
import type { Identity } from "./identity.ts";
import { peerAddress } from "./peer-address.ts";

const packr = new Packr({ useRecords: false });

/** Presents the membership certificate: for members that the other side has not heard of yet. */
const helloProtocol = "/skein/hello/1";
/** How long a stranger may stay connected. Long enough to join or to present itself. */
const strangerMs = 5_000;
const dialTimeoutMs = 4_000;
const redialMinMs = 200;
const redialMaxMs = 10_000;
const lookMs = 200;
/** A peer that gossip has lost while its connection stands is hung up after so long. */
const deafMs = 5_000;
/** All members are linked up to here; beyond, a bounded random graph carries gossip. */
const fullMeshNodes = 30;
const maxLinks = 8;
const streamLimits = { maxInboundStreams: 1_000, maxOutboundStreams: 1_000 };

export type NetworkOptions = {
  readonly identity: Identity;
  readonly credentials: Credentials;
  readonly listen: { readonly host: string; readonly port: number };
  /** `HOST:PORT` of a member, from the agreed state. */
  readonly addressOf: (node: NodeId) => string | undefined;
  /** Who is admitted by the agreed state, as far as this node knows it. */
  readonly members: ReadableCell<ReadonlySet<NodeId>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

/** Starts libp2p and links this node to the other members. */
export async function startLibp2pNetwork(options: NetworkOptions): Promise<Libp2pNetwork> {
  const certified = new Set<string>();
  const isAdmitted = (peer: string) =>
    certified.has(peer) || options.members.get().has(nodeId(peer));
  const { identity, listen } = options;
  const host = await createHost({ identity, listen, isAdmitted });
  return new Libp2pNetwork(options, { host, certified, isAdmitted });
}

type Link = { failures: number; nextDialMs: number; isDialling: boolean };

const helloSchema = z.object({ membership: z.string().max(2_048) });
const helloAnswerSchema = helloSchema.extend({ wasKnown: z.boolean() });

export class Libp2pNetwork implements PeerNetwork {
  readonly self: NodeId;
  readonly #options: NetworkOptions;
  readonly #host: Host;
  readonly #certified: Set<string>;
  readonly #isAdmitted: (peer: string) => boolean;
  readonly #connected = new Cell<ReadonlySet<NodeId>>(new Set());
  readonly #links = new Map<NodeId, Link>();
  readonly #topics = new Map<string, Set<(from: NodeId, body: Uint8Array) => void>>();
  readonly #closing = new AbortController();
  readonly #linking: Promise<void>;
  readonly #openedAtMs = new WeakMap<Connection, number>();

  constructor(
    options: NetworkOptions,
    parts: {
      readonly host: Host;
      readonly certified: Set<string>;
      readonly isAdmitted: (peer: string) => boolean;
    },
  ) {
    this.self = options.identity.nodeId;
    this.#options = options;
    this.#host = parts.host;
    this.#certified = parts.certified;
    this.#isAdmitted = parts.isAdmitted;
    const update = () => this.#updateConnected();
    this.#host.addEventListener("peer:connect", update);
    this.#host.addEventListener("peer:disconnect", update);
    this.#host.addEventListener("connection:open", ({ detail }) => this.#onOpen(detail));
    this.#host.services.pubsub.addEventListener("message", ({ detail }) => {
      if (detail.type !== "signed") return;
      const listeners = this.#topics.get(detail.topic) ?? [];
      for (const listener of listeners) listener(nodeId(detail.from.toString()), detail.data);
    });
    this.#serveHello();
    this.#linking = this.#keepLinks();
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
    this.#certified.add(node);
    this.#updateConnected();
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
    try {
      const stream = await connection.newStream(protocol, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(dialTimeoutMs)]),
        negotiateFully: false,
        maxOutboundStreams: streamLimits.maxOutboundStreams,
      });
      return new FramedStream(stream);
    } catch (error) {
      throw unreachable(to, error);
    }
  }

  handleStream(
    protocol: string,
    handler: (from: NodeId, stream: PeerStream) => Promise<void>,
  ): void {
    this.#register(protocol, async (stream, from) => {
      try {
        await handler(from, new FramedStream(stream));
      } catch (error) {
        stream.abort(error instanceof Error ? error : new Error(messageOf(error)));
      }
    });
  }

  async publish(topic: string, body: Uint8Array): Promise<void> {
    if (body.length > maxPublishBytes) {
      // A larger one would make receivers drop us from their router for good.
      throw new NetworkError("too_large", `A message of ${body.length} bytes; 16 KiB is the most.`);
    }
    await this.#host.services.pubsub.publish(topic, body);
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
        this.#isAdmitted(message.from.toString()) &&
        message.data.length <= maxPublishBytes;
      return isFine ? TopicValidatorResult.Accept : TopicValidatorResult.Ignore;
    });
    pubsub.subscribe(topic);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new NetworkError("unreachable", "This node is stopping."));
    await this.#linking;
    await this.#host.stop();
  }

  #register(protocol: string, serve: (stream: Stream, from: NodeId) => Promise<void>): void {
    const handler = async (stream: Stream, { remotePeer }: Connection): Promise<void> => {
      const peer = remotePeer.toString();
      if (this.#isAdmitted(peer)) await serve(stream, nodeId(peer));
      else stream.abort(new NetworkError("not_admitted", "Only members may speak this protocol."));
    };
    this.#host.handle(protocol, handler, streamLimits).catch((error: unknown) => {
      this.#options.logger.error({ protocol, error: messageOf(error) }, "protocol not registered");
    });
  }

  #updateConnected(): void {
    const peers = new Set<NodeId>();
    for (const peer of this.#host.getPeers()) {
      if (this.#isAdmitted(peer.toString())) peers.add(nodeId(peer.toString()));
    }
    if (peers.symmetricDifference(this.#connected.get()).size > 0) this.#connected.set(peers);
  }

  #onOpen(connection: Connection): void {
    this.#openedAtMs.set(connection, this.#options.clock.monotonic());
    const peer = connection.remotePeer.toString();
    if (this.#isAdmitted(peer)) return;
    const check = () => {
      if (!this.#isAdmitted(peer)) connection.abort(new Error("not admitted in time"));
    };
    const { clock } = this.#options;
    clock.sleep(strangerMs, { signal: this.#closing.signal }).then(check, () => undefined);
  }

  #serveHello(): void {
    const { credentials } = this.#options;
    const handler = async (stream: Stream, { remotePeer }: Connection): Promise<void> => {
      await answer(stream, async (body) => {
        const peer = remotePeer.toString();
        const wasKnown = this.#isAdmitted(peer);
        this.#admitByCertificate(peer, helloSchema.parse(packr.unpack(body)).membership);
        return packr.pack({ membership: credentials.membership, wasKnown });
      });
    };
    this.#host.handle(helloProtocol, handler, streamLimits).catch(() => undefined);
  }

  /** @throws NetworkError `not_admitted` */
  #admitByCertificate(peer: string, membership: string): void {
    const { credentials } = this.#options;
    if (verifyMembership(membership, credentials.clusterPublicKey) !== peer) {
      throw new NetworkError("not_admitted", "The membership certificate is another node's.");
    }
    this.certify(nodeId(peer));
  }

  async #connectionTo(to: NodeId, signal: AbortSignal): Promise<Connection> {
    const peer = peerIdFromString(to);
    const open = this.#host.getConnections(peer).find(({ status }) => status === "open");
    return open ?? (await this.#dial(to, signal));
  }

  async #dial(to: NodeId, signal: AbortSignal): Promise<Connection> {
    const address = this.#options.addressOf(to);
    if (address === undefined)
      throw new NetworkError("unreachable", `No address of ${to} is known.`);
    const bounded = AbortSignal.any([
      signal,
      this.#closing.signal,
      AbortSignal.timeout(dialTimeoutMs),
    ]);
    try {
      const connection = await this.#host.dial(peerAddress(address, to), { signal: bounded });
      const wasKnown = await this.#greet(connection, bounded);
      if (wasKnown) return connection;
      // Its gossip has ignored what we said as strangers, and would go on to: begin anew.
      await connection.close();
      return await this.#host.dial(peerAddress(address, to), { signal: bounded });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw unreachable(to, error);
    }
  }

  /** Shows both sides' certificates; resolves with whether the other side knew us before. */
  async #greet(connection: Connection, signal: AbortSignal): Promise<boolean> {
    const { membership } = this.#options.credentials;
    const reply = await ask(connection, helloProtocol, packr.pack({ membership }), signal);
    const { membership: theirs, wasKnown } = helloAnswerSchema.parse(packr.unpack(reply));
    this.#admitByCertificate(connection.remotePeer.toString(), theirs);
    return wasKnown;
  }

  async #keepLinks(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.#updateConnected();
      for (const node of this.#wantedLinks()) this.#linkTo(node);
      this.#hangUpDeaf();
      await clock.sleep(lookMs, { signal }).catch(() => undefined);
    }
  }

  /** Whom to stay connected to: everybody in a small cluster, a bounded choice in a large one. */
  #wantedLinks(): readonly NodeId[] {
    const others = [...this.#options.members.get()].filter((node) => node !== this.self).sort();
    if (others.length < fullMeshNodes) return others;
    const connected = this.#connected.get();
    const missing = maxLinks - others.filter((node) => connected.has(node)).length;
    const unlinked = others.filter((node) => !connected.has(node));
    const start = Math.floor(this.#options.random.next() * unlinked.length);
    return [...unlinked, ...unlinked].slice(start, start + Math.max(0, missing));
  }

  #linkTo(node: NodeId): void {
    if (this.#connected.get().has(node)) {
      this.#links.delete(node);
      return;
    }
    const { clock, random, logger } = this.#options;
    const link = this.#links.get(node) ?? { failures: 0, nextDialMs: 0, isDialling: false };
    this.#links.set(node, link);
    if (link.isDialling || clock.monotonic() < link.nextDialMs) return;
    link.isDialling = true;
    this.#dial(node, this.#closing.signal)
      .then(
        () => {
          link.failures = 0;
          this.#updateConnected();
        },
        (error: unknown) => {
          link.failures += 1;
          const backoffMs = Math.min(redialMinMs * 2 ** link.failures, redialMaxMs);
          link.nextDialMs = clock.monotonic() + backoffMs * (0.5 + random.next());
          logger.debug({ peer: node, error: messageOf(error) }, "peer not reached");
        },
      )
      .finally(() => {
        link.isDialling = false;
      });
  }

  /** A peer that gossip dropped (an oversized message, say) stays dropped until it is dialled anew. */
  #hangUpDeaf(): void {
    const heard = new Set(this.#host.services.pubsub.getPeers().map((peer) => peer.toString()));
    const nowMs = this.#options.clock.monotonic();
    for (const connection of this.#host.getConnections()) {
      const { remotePeer } = connection;
      const age = nowMs - (this.#openedAtMs.get(connection) ?? nowMs);
      if (age < deafMs || heard.has(remotePeer.toString())) continue;
      this.#options.logger.debug(
        { peer: remotePeer.toString() },
        "peer deaf to gossip, redialling",
      );
      this.#hangUp(remotePeer);
    }
  }

  #hangUp(peer: PeerId): void {
    this.#host.hangUp(peer).catch(() => undefined);
  }
}

function unreachable(node: NodeId, error: unknown): NetworkError {
  if (error instanceof NetworkError) return error;
  return new NetworkError("unreachable", `Node ${node} cannot be reached: ${messageOf(error)}`, {
    cause: error,
  });
}
