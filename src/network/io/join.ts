import { connect } from "node:net";
import type { Connection } from "@libp2p/interface";
import { z } from "zod";
import { messageOf } from "../../kernel/index.ts";
import { NetworkError, type NetworkErrorCode } from "../errors.ts";
import { PeerCodec } from "../peer-codec.ts";
import { type ClusterToken, decodeToken } from "../token.ts";
import { type Credentials, caFingerprint, newTlsKey, verifyMembership } from "./credentials.ts";
import { ask } from "./exchange.ts";
import { createHost } from "./host.ts";
import type { Identity } from "./identity.ts";
import {
  admittedSchema,
  type JoinRequest,
  joinPurpose,
  type SealedJoin,
  seedSchema,
} from "./join-messages.ts";
import { peerAddress, splitAddress } from "./peer-address.ts";
import { seal } from "./seal.ts";
import { joinProtocol } from "./strangers.ts";

/** For all that one seed has to do, the cluster's agreement included. */
const seedTimeoutMs = 20_000;
const packr = new PeerCodec();

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
 * @throws NetworkError `unreachable` with every address that was tried, `no_quorum`, `bad_token` with the
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
  let isUndecided = false;
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
        if (error instanceof NetworkError && error.code === "no_quorum") isUndecided = true;
        problems.push(`${seed} (${messageOf(error)})`);
      }
    }
  } finally {
    await host.stop();
  }
  if (isUndecided) {
    throw new NetworkError(
      "no_quorum",
      `The cluster has no quorum and can let nobody in now: ${problems.join(", ")}. Start its other voters, then try again; or see: skein recover`,
    );
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
    const wanted: SealedJoin = {
      nodeId: identity.nodeId,
      ...{ tokenId, secret, name, address, labels: { ...labels }, publicKeyPem },
    };
    const clusterKey = Buffer.from(token.clusterPublicKey, "base64url");
    const sealed = seal(clusterKey, packr.pack(wanted), joinPurpose(token.clusterId));
    const reply = admittedSchema.parse(await askSeed({ kind: "admit", sealed }));
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
const passing: ReadonlySet<string | undefined> = new Set(["not_served", "busy"]);

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
  if (remoteCode === "no_quorum") return new NetworkError("no_quorum", message, { cause: error });
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
