import { connect } from "node:net";
import type { Connection, Stream } from "@libp2p/interface";
import { Packr } from "msgpackr";
import { z } from "zod";
import { messageOf, type NodeId, nodeId } from "../../kernel/index.ts";
import { NetworkError } from "../errors.ts";
import { type ClusterToken, decodeToken } from "../token.ts";
import {
  type Credentials,
  caFingerprint,
  issue,
  newTlsKey,
  verifyMembership,
} from "./credentials.ts";
import { answer, ask } from "./exchange.ts";
import { createHost } from "./host.ts";
import type { Identity } from "./identity.ts";
import type { Libp2pNetwork } from "./libp2p-network.ts";
import { peerAddress, splitAddress } from "./peer-address.ts";

/**
 * The only protocol open to strangers, in two requests. First the seed proves that it is a
 * member of the token's cluster; only then the joiner tells it the token's secret.
 */
const protocol = "/skein/join/1";
const seedTimeoutMs = 8_000;
/** Join attempts that a seed works on at once: each costs signatures and a log entry. */
const maxParallelJoins = 8;

const packr = new Packr({ useRecords: false });

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
      let connection: Connection;
      try {
        connection = await host.dial(peerAddress(seed), { signal });
      } catch (error) {
        options.signal.throwIfAborted();
        problems.push(`${seed} (${messageOf(error)})`);
        continue;
      }
      return await joinThrough(connection, { ...options, signal, seed, token });
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
  const { token, seed, signal, name, labels } = options;
  const whoAreYou: JoinRequest = { kind: "who_are_you" };
  const proof = await ask(connection, protocol, packr.pack(whoAreYou), signal).catch((error) => {
    throw failed(seed, error);
  });
  const { membership } = seedSchema.parse(packr.unpack(proof));
  const vouchedFor = verifyMembership(membership, token.clusterPublicKey);
  if (vouchedFor !== connection.remotePeer.toString()) {
    throw new NetworkError("not_admitted", `${seed} shows another node's certificate.`);
  }
  const address = options.advertise ?? (await localAddressTowards(seed, options.port, signal));
  const tls = newTlsKey();
  const { tokenId, secret } = token;
  const admit: JoinRequest = {
    kind: "admit",
    tokenId,
    secret,
    name,
    address,
    labels: { ...labels },
    publicKeyPem: tls.publicKeyPem,
  };
  const reply = await ask(connection, protocol, packr.pack(admit), signal).catch((error) => {
    throw failed(seed, error);
  });
  const { members, ...admitted } = admittedSchema.parse(packr.unpack(reply));
  if (caFingerprint(admitted.caPem) !== token.caFingerprint) {
    throw new NetworkError("not_admitted", `${seed} gave a CA that is not the token's.`);
  }
  const credentials = {
    ...admitted,
    clusterPublicKey: token.clusterPublicKey,
    tlsKeyPem: tls.privateKeyPem,
    seeds: members,
  };
  return { credentials, address };
}

function failed(seed: string, error: unknown): unknown {
  if (!(error instanceof NetworkError) || error.code !== "refused") return error;
  const code = error.remoteCode === "token_invalid" ? "bad_token" : "not_admitted";
  return new NetworkError(code, `${seed} refuses this machine: ${error.message}`, { cause: error });
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
  let underWay = 0;

  async function reply(peer: NodeId, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const request = requestSchema.parse(packr.unpack(body));
    if (request.kind === "who_are_you") {
      return packr.pack({ membership: credentials.membership });
    }
    const { kind: _, publicKeyPem, ...wanted } = request;
    const members = await admit({ nodeId: peer, ...wanted }, { signal });
    const issued = await issue(credentials, { nodeId: peer, publicKeyPem, nowMs: now() });
    network.certify(peer);
    const { clusterId, clusterKeyPem, caPem, caKeyPem } = credentials;
    return packr.pack({ ...issued, clusterId, clusterKeyPem, caPem, caKeyPem, members });
  }

  const handler = async (stream: Stream, { remotePeer }: Connection): Promise<void> => {
    if (underWay >= maxParallelJoins) {
      stream.abort(new NetworkError("refused", "Too many machines join at once."));
      return;
    }
    underWay += 1;
    try {
      const peer = nodeId(remotePeer.toString());
      await answer(stream, (body, signal) => reply(peer, body, signal));
    } finally {
      underWay -= 1;
    }
  };
  network.host.handle(protocol, handler, { maxInboundStreams: 4 }).catch(() => undefined);
}
