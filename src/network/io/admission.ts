import type { Connection, Stream } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import { z } from "zod";
import { CodedError, codeOf, messageOf, type NodeId, nodeId } from "../../kernel/index.ts";
import { NetworkError } from "../errors.ts";
import { PeerCodec } from "../peer-codec.ts";
import {
  type ClusterKey,
  clusterKeySeed,
  decodeClusterKey,
  encodeClusterKey,
} from "./cluster-key.ts";
import { type Credentials, checkTlsKey, issue } from "./credentials.ts";
import { answer } from "./exchange.ts";
import type { Identity } from "./identity.ts";
import { JoinGate } from "./join-gate.ts";
import {
  type Admission,
  type Issued,
  issuedSchema,
  joinPurpose,
  joinRequestSchema,
  sealedJoinSchema,
} from "./join-messages.ts";
import type { Libp2pNetwork } from "./libp2p-network.ts";
import { seal, unseal } from "./seal.ts";
import { joinProtocol, strangerLimits } from "./strangers.ts";

/** A member that does not vote hands a machine's request on to one that does. */
const admitProtocol = "/skein/admit/1";
const renewProtocol = "/skein/renew/1";
const clusterKeyProtocol = "/skein/cluster-key/1";

/** For one voter to answer, the agreement of the cluster included. */
const voterMs = 10_000;

/**
 * A machine asks who answers, and to be admitted. With the few connections that one host may
 * open in a second, no host alone can take all the places at the {@link JoinGate}.
 */
const maxRequestsPerConnection = 2;

const packr = new PeerCodec();

const handedOnSchema = z.object({ nodeId: z.string().max(128), sealed: z.instanceof(Uint8Array) });
const renewSchema = z.object({ publicKeyPem: z.string().max(1_024) });
const keyRequestSchema = z.object({ kind: z.enum(["get", "has"]) });
const keyAnswerSchema = z.object({
  hasKey: z.boolean(),
  sealed: z.instanceof(Uint8Array).optional(),
});

type Wanted = { readonly signal: AbortSignal };
type Member = { readonly nodeId: NodeId; readonly address: string };

export type AdmissionOptions = {
  readonly network: Libp2pNetwork;
  readonly identity: Identity;
  readonly credentials: () => Credentials;
  /** Where this node holds it: while it votes. */
  readonly clusterKey: () => ClusterKey | undefined;
  /** Who votes, as far as this node knows. */
  readonly voters: () => readonly NodeId[];
  /** Who votes or is about to: to whom the cluster key may be given. */
  readonly keyHolders: () => readonly NodeId[];
  readonly isMember: (node: NodeId) => boolean;
  /**
   * Agrees on it with the cluster and gives the members; throws a CodedError `token_invalid`
   * (or another) to refuse.
   */
  readonly admit: (admission: Admission, options: Wanted) => Promise<readonly Member[]>;
  readonly now: () => number;
  readonly lifetimeMs: number;
};

/**
 * Lets machines in and keeps their certificates fresh. Any member answers a machine that wants
 * to join; only one that holds the cluster key can read its request and issue certificates.
 */
export class AdmissionDesk {
  readonly #options: AdmissionOptions;
  readonly #gate: JoinGate;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#gate = new JoinGate(options.now);
    const { network, isMember } = options;
    network.handle(admitProtocol, async (_, body, { signal }) => {
      using _place = this.#gate.enter();
      const { nodeId: joiner, sealed } = handedOnSchema.parse(packr.unpack(body));
      return packr.pack(await this.#admit(nodeId(joiner), sealed, signal));
    });
    network.handle(renewProtocol, async (from, body) => {
      if (!isMember(from)) throw new CodedError("not_admitted", "Only members are certified.");
      const { publicKeyPem } = renewSchema.parse(packr.unpack(body));
      return packr.pack(await this.#issue(from, publicKeyPem));
    });
    network.handle(clusterKeyProtocol, async (from, body) => this.#giveKey(from, body));
    this.#handleStrangers();
  }

  /** New certificates for this node itself. @throws NetworkError, CodedError `no_quorum` */
  async renew(publicKeyPem: string, { signal }: Wanted): Promise<Issued> {
    const { identity, clusterKey } = this.#options;
    if (clusterKey() !== undefined) return await this.#issue(identity.nodeId, publicKeyPem);
    const body = packr.pack({ publicKeyPem });
    return await this.#askVoters(renewProtocol, body, { signal, schema: issuedSchema });
  }

  /** The cluster key, from another node that holds it. @throws CodedError `no_quorum` */
  async fetchClusterKey({ signal }: Wanted): Promise<ClusterKey> {
    const { identity, credentials } = this.#options;
    const schema = keyAnswerSchema.required({ sealed: true });
    const body = packr.pack({ kind: "get" });
    const { sealed } = await this.#askVoters(clusterKeyProtocol, body, { signal, schema });
    const seed = identity.privateKey.raw.subarray(0, 32);
    const { clusterId } = credentials();
    return decodeClusterKey(unseal(seed, sealed, keyPurpose(clusterId)), credentials());
  }

  /** Which of these nodes say that they hold the cluster key. */
  async holdersAmong(nodes: readonly NodeId[], { signal }: Wanted): Promise<readonly NodeId[]> {
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(voterMs)]);
    const asked = nodes.map(async (node): Promise<NodeId | undefined> => {
      const body = packr.pack({ kind: "has" });
      const reply = await this.#options.network.request(node, clusterKeyProtocol, body, {
        signal: bounded,
      });
      return keyAnswerSchema.parse(packr.unpack(reply)).hasKey ? node : undefined;
    });
    const answers = await Promise.all(asked.map((each) => each.catch(() => undefined)));
    return answers.filter((node) => node !== undefined);
  }

  #handleStrangers(): void {
    const { network } = this.#options;
    const asked = new WeakMap<Connection, number>();
    const handler = (stream: Stream, connection: Connection): Promise<void> => {
      const count = (asked.get(connection) ?? 0) + 1;
      asked.set(connection, count);
      if (count > maxRequestsPerConnection) {
        connection.abort(new NetworkError("not_admitted", "A stranger asks again and again."));
        return Promise.resolve();
      }
      const stranger = nodeId(connection.remotePeer.toString());
      return answer(
        stream,
        (body, signal) => this.#answerStranger(stranger, body, signal),
        strangerLimits,
      );
    };
    network.host.handle(joinProtocol, handler, { maxInboundStreams: 4 }).catch(() => undefined);
  }

  async #answerStranger(
    stranger: NodeId,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const { network, credentials, clusterKey } = this.#options;
    const request = joinRequestSchema.parse(packr.unpack(body));
    if (request.kind === "who_are_you") {
      return packr.pack({ membership: credentials().membership });
    }
    // Not before: whoever only asks who is here must not keep machines with a token out.
    using _place = this.#gate.enter();
    const { sealed } = request;
    const admitted =
      clusterKey() === undefined
        ? await this.#handOn(stranger, sealed, signal)
        : await this.#admit(stranger, sealed, signal);
    network.certify(stranger);
    return packr.pack(admitted);
  }

  async #handOn(stranger: NodeId, sealed: Uint8Array, signal: AbortSignal): Promise<unknown> {
    const body = packr.pack({ nodeId: stranger, sealed });
    return await this.#askVoters(admitProtocol, body, { signal, schema: z.unknown() });
  }

  /** Here the request is opened, by one that holds the cluster key. */
  async #admit(stranger: NodeId, sealed: Uint8Array, signal: AbortSignal): Promise<unknown> {
    const { admit, credentials, clusterKey } = this.#options;
    const key = clusterKey();
    if (key === undefined) throw noKey();
    const { clusterId, caPem } = credentials();
    const opened = unseal(clusterKeySeed(key), sealed, joinPurpose(clusterId));
    const { publicKeyPem, ...wanted } = sealedJoinSchema.parse(packr.unpack(opened));
    // A member that hands a request on cannot put another machine in the place of the one
    // that wrote it.
    if (wanted.nodeId !== stranger) {
      throw new CodedError("not_admitted", "The request to join is another machine's.");
    }
    // Before the cluster agrees, and a use of the token is spent.
    checkTlsKey(publicKeyPem);
    const members = await admit({ ...wanted, nodeId: stranger }, { signal });
    return { ...(await this.#issue(stranger, publicKeyPem)), clusterId, caPem, members };
  }

  async #issue(node: NodeId, publicKeyPem: string): Promise<Issued> {
    const { credentials, clusterKey, now, lifetimeMs } = this.#options;
    const key = clusterKey();
    if (key === undefined) throw noKey();
    checkTlsKey(publicKeyPem);
    const trust = { ...credentials(), ...key };
    return await issue(trust, { nodeId: node, publicKeyPem, nowMs: now(), lifetimeMs });
  }

  #giveKey(from: NodeId, body: Uint8Array): Uint8Array {
    const { clusterKey, keyHolders, credentials } = this.#options;
    const { kind } = keyRequestSchema.parse(packr.unpack(body));
    const key = clusterKey();
    if (kind === "has") return packr.pack({ hasKey: key !== undefined });
    if (!keyHolders().includes(from)) {
      throw new CodedError("not_admitted", "Only voters hold the cluster key.");
    }
    if (key === undefined) throw noKey();
    const { publicKey } = peerIdFromString(from);
    if (publicKey?.type !== "Ed25519") throw new Error(`node ${from} has no Ed25519 identity`);
    const purpose = keyPurpose(credentials().clusterId);
    return packr.pack({
      hasKey: true,
      sealed: seal(publicKey.raw, encodeClusterKey(key), purpose),
    });
  }

  /** The answer of the first voter that gives one. What one of them decides counts for all. */
  async #askVoters<T>(
    protocol: string,
    body: Uint8Array,
    { signal, schema }: Wanted & { readonly schema: z.ZodType<T> },
  ): Promise<T> {
    const { network, voters, identity } = this.#options;
    const problems: string[] = [];
    for (const voter of voters()) {
      if (voter === identity.nodeId) continue;
      const bounded = AbortSignal.any([signal, AbortSignal.timeout(voterMs)]);
      try {
        const reply = await network.request(voter, protocol, body, { signal: bounded });
        return schema.parse(packr.unpack(reply));
      } catch (error) {
        signal.throwIfAborted();
        const code = error instanceof NetworkError ? error.remoteCode : codeOf(error);
        if (code !== undefined && !passing.has(code)) throw new CodedError(code, messageOf(error));
        problems.push(messageOf(error));
      }
    }
    const reasons = problems.length === 0 ? "" : ` ${problems.join(" ")}`;
    throw new CodedError("no_quorum", `No voter answers that holds the cluster key.${reasons}`);
  }
}

/** What says nothing about the request itself: another voter may do better. */
const passing: ReadonlySet<string> = new Set(["no_cluster_key", "not_served", "busy", "failed"]);

function noKey(): CodedError<string> {
  return new CodedError("no_cluster_key", "This node does not hold the cluster key.");
}

function keyPurpose(clusterId: string): string {
  return `cluster key of ${clusterId}`;
}
