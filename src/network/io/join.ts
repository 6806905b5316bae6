import { connect } from "node:net";
import type { Connection, Stream } from "@libp2p/interface";
import { Packr } from "msgpackr";
import { z } from "zod";
import { CodedError, messageOf, type NodeId, nodeId } from "../../kernel/index.ts";
import { NetworkError, type NetworkErrorCode } from "../errors.ts";
import { type ClusterToken, decodeToken } from "../token.ts";
import {
  type Credentials,
  caFingerprint,
  checkTlsKey,
  issue,
  newTlsKey,
  verifyMembership,
} from "./credentials.ts";
import { answer, ask } from "./exchange.ts";
import { createHost } from "./host.ts";
import type { Identity } from "./identity.ts";
import type { Libp2pNetwork } from "./libp2p-network.ts";
import { peerAddress, splitAddress } from "./peer-address.ts";
import { joinProtocol, strangerLimits } from "./strangers.ts";

/** For all that one seed has to do, the cluster's agreement included. */
const seedTimeoutMs = 20_000;
/** Join attempts that a seed works on at once: each costs signatures and a log entry. */
const maxParallelJoins = 8;
const maxJoinRequestsPerSecond = 50;

const packr = new Packr({ useRecords: false });

/**
 * First the seed proves that it is a member of the token's cluster; only then the joiner
 * tells it the token's secret.
 */
const requestSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("who_are_you") }),
  z.object({
    kind: z.literal("admit"),
    tokenId: z.string().max(64),
    secret: z.string().max(64),
    name: z.string().min(1).max(64),
    address: z.string().max(300),
    labels: z.record(z.string().max(128), z.string().max(256)),
    publicKeyPem: z.string().max(1_024),
  }),
]);

const seedSchema = z.object({ membership: z.string().max(2_048) });

const admittedSchema = z.object({
  membership: z.string(),
  tlsCertificatePem: z.string(),
  clusterId: z.string(),
  clusterKeyPem: z.string(),
  caPem: z.string(),
  caKeyPem: z.string(),
  members: z.array(z.object({ nodeId: z.string(), address: z.string() })).max(10_000),
});

type JoinRequest = z.infer<typeof requestSchema>;

export type JoinOptions = {
  readonly identity: Identity;
  /** `HOST:PORT` of members, tried in turn. */
  readonly seeds: readonly string[];
  readonly token: string;
  readonly name: string;
  /** Where others will reach this machine; found from the connection to the seed when absent. */
  readonly advertise: string | undefined;
  readonly port: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
};

const decisive: ReadonlySet<NetworkErrorCode> = new Set(["bad_token", "not_admitted", "refused"]);

export type Joined = { readonly credentials: Credentials; readonly address: string };

/**
 * Joins this machine to a cluster.
 * @throws NetworkError `unreachable` with every address that was tried, `bad_token` with the
 *   seed's reason, `not_admitted` when a seed is not of the token's cluster.
 */
export async function joinCluster(options: JoinOptions): Promise<Joined> {
  const token = decodeToken(options.token);
  if (token.role !== "node") {
    throw new NetworkError(
      "bad_token",
      "This token is for clients, not for machines. Make one with: skein token create",
    );
  }
  const host = await createHost({
    identity: options.identity,
    listen: undefined,
    isAdmitted: () => false,
  });
  const problems: string[] = [];
  try {
    for (const seed of options.seeds) {
      const signal = AbortSignal.any([options.signal, AbortSignal.timeout(seedTimeoutMs)]);
      try {
        const connection = await host.dial(peerAddress(seed), { signal });
        return await joinThrough(connection, { ...options, signal, seed, token });
      } catch (error) {
        options.signal.throwIfAborted();
        // A seed that answers has decided; one that does not leaves it to the next.
        if (error instanceof NetworkError && decisive.has(error.code)) throw error;
        problems.push(`${seed} (${messageOf(error)})`);
      }
    }
  } finally {
    await host.stop();
  }
  throw new NetworkError(
    "unreachable",
    `No member answers at ${problems.join(", ")}. Check the address, that its daemon runs, and that the port is open.`,
  );
}

async function joinThrough(
  connection: Connection,
  options: Omit<JoinOptions, "token"> & { readonly seed: string; readonly token: ClusterToken },
): Promise<Joined> {
  const { identity, token, seed, signal, name, labels } = options;
  const askSeed = async (request: JoinRequest): Promise<unknown> =>
    packr.unpack(await ask(connection, joinProtocol, packr.pack(request), signal));
  try {
    const { membership } = seedSchema.parse(await askSeed({ kind: "who_are_you" }));
    if (verifyMembership(membership, token.clusterPublicKey) !== connection.remotePeer.toString()) {
      throw new NetworkError("not_admitted", "It shows another node's certificate.");
    }
    const address = options.advertise ?? (await localAddressTowards(seed, options.port, signal));
    const tls = newTlsKey();
    const { tokenId, secret } = token;
    const { publicKeyPem } = tls;
    const wanted = { tokenId, secret, name, address, labels: { ...labels }, publicKeyPem };
    const reply = admittedSchema.parse(await askSeed({ kind: "admit", ...wanted }));
    const { members, ...admitted } = reply;
    if (caFingerprint(admitted.caPem) !== token.caFingerprint) {
      throw new NetworkError("not_admitted", "It gave a CA that is not the token's.");
    }
    if (verifyMembership(admitted.membership, token.clusterPublicKey) !== identity.nodeId) {
      throw new NetworkError("not_admitted", "It gave a certificate for another node.");
    }
    const { clusterPublicKey } = token;
    const own = { clusterPublicKey, tlsKeyPem: tls.privateKeyPem, seeds: members };
    return { credentials: { ...admitted, ...own }, address };
  } catch (error) {
    throw failed(seed, error);
  }
}

/** Refusals that say nothing about this machine or its token: another seed may do better. */
const passing: ReadonlySet<string | undefined> = new Set(["not_served", "no_quorum", "busy"]);

function failed(seed: string, error: unknown): unknown {
  if (error instanceof z.ZodError) {
    return new NetworkError("not_admitted", `${seed} gives answers that make no sense.`, {
      cause: error,
    });
  }
  if (!(error instanceof NetworkError)) return error;
  const { code, remoteCode, message } = error;
  if (code === "not_admitted") {
    const text = `${seed} is not a member of the cluster that the token is for. ${message}`;
    return new NetworkError(code, text, { cause: error });
  }
  if (code !== "refused") return error;
  const meaning = passing.has(remoteCode)
    ? "unreachable"
    : remoteCode === "token_invalid"
      ? "bad_token"
      : "not_admitted";
  return new NetworkError(meaning, `${seed} refuses this machine: ${message}`, { cause: error });
}

/** The address of ours that the seed would see: what the system routes by. */
async function localAddressTowards(
  seed: string,
  port: number,
  signal: AbortSignal,
): Promise<string> {
  const { host, port: seedPort } = splitAddress(seed);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({ host, port: seedPort, signal });
  socket.on("error", reject);
  socket.on("connect", () => resolve(socket.localAddress ?? ""));
  const local = await promise.finally(() => socket.destroy());
  const plain = local.replace(/^::ffff:/, "");
  return plain.includes(":") ? `[${plain}]:${port}` : `${plain}:${port}`;
}

/** What a machine asks for when it joins. The secret is checked by whoever answers. */
export type Admission = {
  readonly nodeId: NodeId;
  readonly name: string;
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly tokenId: string;
  readonly secret: string;
};

type Member = { readonly nodeId: NodeId; readonly address: string };

/**
 * Answers machines that want to join. `admit` agrees on it with the cluster and gives the
 * members; it throws a CodedError `token_invalid` (or another) to refuse.
 */
export function handleJoin(
  network: Libp2pNetwork,
  options: {
    readonly credentials: Credentials;
    readonly now: () => number;
    readonly admit: (
      admission: Admission,
      options: { readonly signal: AbortSignal },
    ) => Promise<readonly Member[]>;
  },
): void {
  const { credentials, now, admit } = options;
  const gate = new JoinGate(now);

  async function reply(peer: NodeId, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const request = requestSchema.parse(packr.unpack(body));
    if (request.kind === "who_are_you") {
      return packr.pack({ membership: credentials.membership });
    }
    const { kind: _, publicKeyPem, ...wanted } = request;
    // Before the cluster agrees, and a use of the token is spent.
    checkTlsKey(publicKeyPem);
    const members = await admit({ nodeId: peer, ...wanted }, { signal });
    const issued = await issue(credentials, { nodeId: peer, publicKeyPem, nowMs: now() });
    network.certify(peer);
    const { clusterId, clusterKeyPem, caPem, caKeyPem } = credentials;
    return packr.pack({ ...issued, clusterId, clusterKeyPem, caPem, caKeyPem, members });
  }

  const handler = (stream: Stream, { remotePeer }: Connection): Promise<void> =>
    answer(
      stream,
      async (body, signal) => {
        using _ = gate.enter();
        return await reply(nodeId(remotePeer.toString()), body, signal);
      },
      strangerLimits,
    );
  network.host.handle(joinProtocol, handler, { maxInboundStreams: 4 }).catch(() => undefined);
}

/** Keeps strangers from keeping a member busy. */
class JoinGate {
  readonly #now: () => number;
  #underWay = 0;
  #second = 0;
  #inThisSecond = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @throws CodedError `busy` */
  enter(): Disposable {
    const second = Math.floor(this.#now() / 1_000);
    if (second !== this.#second) this.#inThisSecond = 0;
    this.#second = second;
    if (this.#underWay >= maxParallelJoins || this.#inThisSecond >= maxJoinRequestsPerSecond) {
      throw new CodedError("busy", "Too many machines join at once. Try again in a few seconds.");
    }
    this.#inThisSecond += 1;
    this.#underWay += 1;
    return {
      [Symbol.dispose]: () => {
        this.#underWay -= 1;
      },
    };
  }
}
