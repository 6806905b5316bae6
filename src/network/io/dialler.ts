import type { Connection, Stream } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import { z } from "zod";
import {
  CodedError,
  codeOf,
  type Logger,
  messageOf,
  type NodeId,
  nodeId,
} from "../../kernel/index.ts";
import { type DialPlace, DialSlots } from "../dial-slots.ts";
import { NetworkError } from "../errors.ts";
import { PeerCodec } from "../peer-codec.ts";
import type { ConnectionWatch } from "./connection-watch.ts";
import { type Credentials, hasEnded, readMembership } from "./credentials.ts";
import { answer, ask } from "./exchange.ts";
import { dialTimeoutMs, type Host } from "./host.ts";
import { peerAddress } from "./peer-address.ts";
import { helloProtocol, strangerLimits } from "./strangers.ts";

const packr = new PeerCodec();

/** Answers the greeting of a node that is no member any more. */
const removedCode = "removed";

const helloSchema = z.object({ membership: z.string().max(2_048) });
const helloAnswerSchema = helloSchema.extend({ wasKnown: z.boolean() });

export type DiallerOptions = {
  readonly host: Host;
  readonly watch: ConnectionWatch;
  readonly credentials: Credentials;
  readonly addressOf: (node: NodeId) => string | undefined;
  readonly isRemoved: (peer: string) => boolean;
  /** Whether the agreed state names it: then it is a member, however old its certificate. */
  readonly isAgreed: (peer: string) => boolean;
  readonly now: () => number;
  readonly onRemoved?: (by: NodeId, message: string) => void;
  /** Told of every peer that has shown a certificate of this cluster. */
  readonly certify: (node: NodeId) => void;
  readonly logger: Logger;
  readonly signal: AbortSignal;
};

type UnderWay = Pick<DialPlace, "hurry"> & { readonly connection: Promise<Connection> };

/** Opens connections to members. Both sides show their certificates before anything else. */
export class Dialler {
  readonly #options: DiallerOptions;
  #credentials: Credentials;
  /** At most one for each member. */
  readonly #underWay = new Map<NodeId, UnderWay>();
  readonly #slots = new DialSlots();
  /** Those whose last dial failed. */
  readonly #doubtful = new Set<NodeId>();

  constructor(options: DiallerOptions) {
    this.#options = options;
    this.#credentials = options.credentials;
    const { host, logger } = options;
    const handler = (stream: Stream, connection: Connection): Promise<void> =>
      answer(stream, (body) => this.#hello(connection, body), strangerLimits);
    host.handle(helloProtocol, handler).catch((error: unknown) => {
      logger.error({ error: messageOf(error) }, "hello protocol not registered");
    });
  }

  /** What is shown to others from now on. */
  useCredentials(credentials: Credentials): void {
    this.#credentials = credentials;
  }

  isDialling(node: NodeId): boolean {
    return this.#underWay.has(node);
  }

  /**
   * A new connection. All who want one to the same peer at once share one attempt.
   * @param isAwaited Whether something is to be said to the peer now.
   * @throws NetworkError `unreachable`, `timed_out` when nothing came back at all, `not_admitted`
   */
  dial(
    node: NodeId,
    { isAwaited = false }: { readonly isAwaited?: boolean } = {},
  ): Promise<Connection> {
    // Anything can be asked for by a member's mistake or malice: it takes no place in the queue.
    if (this.#options.addressOf(node) === undefined) return Promise.reject(noAddress(node));
    const underWay = this.#underWay.get(node) ?? this.#begin(node);
    if (isAwaited) underWay.hurry();
    return underWay.connection;
  }

  #begin(node: NodeId): UnderWay {
    const { begun, hurry } = this.#slots.enter(this.#doubtful.has(node));
    const connection = this.#dialInTurn(node, begun).finally(() => this.#underWay.delete(node));
    const underWay = { connection, hurry };
    this.#underWay.set(node, underWay);
    return underWay;
  }

  async #dialInTurn(node: NodeId, begun: DialPlace["begun"]): Promise<Connection> {
    const leave = await begun;
    try {
      const connection = await this.#dialAnew(node);
      this.#doubtful.delete(node);
      return connection;
    } catch (error) {
      if (this.#options.addressOf(node) === undefined) this.#doubtful.delete(node);
      else this.#doubtful.add(node);
      throw error;
    } finally {
      leave();
    }
  }

  async #dialAnew(node: NodeId): Promise<Connection> {
    const { host, watch, addressOf, signal: closing } = this.#options;
    const address = addressOf(node);
    if (address === undefined) throw noAddress(node);
    const signal = AbortSignal.any([closing, AbortSignal.timeout(dialTimeoutMs)]);
    try {
      const target = peerAddress(address, node);
      const connection = await host.dial(target, { signal });
      const wasKnown = await this.#greet(connection, signal);
      if (wasKnown && watch.wasKnown(connection)) return connection;
      // Gossip left a stranger's connection out, on one side or both: begin anew as members.
      await host.hangUp(peerIdFromString(node), { signal });
      return await host.dial(target, { signal });
    } catch (error) {
      if (error instanceof NetworkError) throw error;
      const code = signal.aborted || isSilence(error) ? "timed_out" : "unreachable";
      throw new NetworkError(code, `Node ${node} cannot be reached: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** Shows both sides' certificates; resolves with whether the other side knew us before. */
  async #greet(connection: Connection, signal: AbortSignal): Promise<boolean> {
    const { membership } = this.#credentials;
    const reply = await this.#askHello(connection, packr.pack({ membership }), signal);
    const { membership: theirs, wasKnown } = helloAnswerSchema.parse(packr.unpack(reply));
    this.#admit(connection.remotePeer.toString(), theirs);
    return wasKnown;
  }

  async #askHello(
    connection: Connection,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    try {
      return await ask(connection, helloProtocol, body, signal);
    } catch (error) {
      const isRemoval = error instanceof NetworkError && error.remoteCode === removedCode;
      if (!isRemoval) throw error;
      this.#options.onRemoved?.(nodeId(connection.remotePeer.toString()), error.message);
      throw new NetworkError("not_admitted", error.message, { cause: error });
    }
  }

  async #hello(connection: Connection, body: Uint8Array): Promise<Uint8Array> {
    const { membership } = helloSchema.parse(packr.unpack(body));
    this.#admit(connection.remotePeer.toString(), membership);
    return packr.pack({
      membership: this.#credentials.membership,
      wasKnown: this.#options.watch.wasKnown(connection),
    });
  }

  /** @throws NetworkError `not_admitted`, CodedError {@link removedCode} */
  #admit(peer: string, text: string): void {
    const { isRemoved, isAgreed, now, certify } = this.#options;
    const membership = readMembership(text, this.#credentials.clusterPublicKey);
    if (membership.nodeId !== peer) {
      throw new NetworkError("not_admitted", "The membership certificate is another node's.");
    }
    if (isRemoved(peer)) {
      throw new CodedError(removedCode, `Node ${peer} was removed from the cluster.`);
    }
    if (isAgreed(peer)) return;
    if (hasEnded(membership, now())) {
      throw new NetworkError("not_admitted", `The membership certificate of ${peer} has ended.`);
    }
    certify(nodeId(peer));
  }
}

function noAddress(node: NodeId): NetworkError {
  return new NetworkError("unreachable", `No address of node ${node} is known.`);
}

/** Said by this machine or a router on the way, where the other machine says nothing. */
const silentCodes: ReadonlySet<unknown> = new Set([
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "ETIMEDOUT",
]);

/** Silence is no refusal: whoever watches the node takes only the latter for its end. */
export function isSilence(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ["AbortError", "TimeoutError"].includes(error.name) || silentCodes.has(codeOf(error));
}
