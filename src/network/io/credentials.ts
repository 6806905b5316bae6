import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  X509Certificate as NodeX509,
  sign,
  verify,
} from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Packr } from "msgpackr";
import { z } from "zod";
import { type NodeId, nodeId } from "../../kernel/index.ts";
import { NetworkError } from "../errors.ts";
import type { ClusterKey } from "./cluster-key.ts";
import { readWhole, writeSecretFile } from "./secret-file.ts";

const packr = new Packr({ useRecords: false });

const dayMs = 86_400_000;
const caValidityMs = 20 * 365 * dayMs;
/** How long a node's certificates are good for, where nothing else is wished. */
export const certificateLifetimeMs = 90 * dayMs;
/** What certificates that do not say it themselves were good for. */
const formerLifetimeMs = 365 * dayMs;
/** Clocks of machines differ: what is issued now is valid a little earlier too. */
const clockSkewMs = 3_600_000;

/** What makes a machine a member. Kept in one file, mode 0600. */
const credentialsSchema = z.object({
  clusterId: z.string(),
  /** Ed25519, raw, base64url. */
  clusterPublicKey: z.string(),
  caPem: z.string(),
  /** Signed by the cluster key, base64url; see {@link readMembership}. */
  membership: z.string(),
  tlsKeyPem: z.string(),
  tlsCertificatePem: z.string(),
  /** Where other members were when this node joined: whom to dial before the log says more. */
  seeds: z.array(z.object({ nodeId: z.string(), address: z.string() })),
});

export type Credentials = Readonly<z.infer<typeof credentialsSchema>>;

export const credentialsFileName = "credentials.json";

/** What this data directory belongs to; undefined when it has joined nothing yet. */
export function loadCredentials(directory: string): Credentials | undefined {
  const file = join(directory, credentialsFileName);
  if (!existsSync(file)) return undefined;
  return readWhole(file, (content) =>
    credentialsSchema.parse(JSON.parse(content.toString("utf8"))),
  );
}

/** Written whole or not at all. */
export function saveCredentials(directory: string, credentials: Credentials): void {
  writeSecretFile(
    join(directory, credentialsFileName),
    // Only what belongs there: the cluster key has a file of its own.
    JSON.stringify(credentialsSchema.parse(credentials), undefined, 2),
  );
}

/** A new cluster's keys, and the first member's own credentials. */
export async function createCluster(options: {
  readonly clusterId: string;
  readonly self: NodeId;
  readonly nowMs: number;
  readonly lifetimeMs?: number;
}): Promise<Credentials & ClusterKey> {
  const { clusterId, self, nowMs, lifetimeMs = certificateLifetimeMs } = options;
  const cluster = generateKeyPairSync("ed25519");
  const { createAuthority } = await loadX509();
  const { caPem, caKeyPem } = await createAuthority({
    name: `CN=skein cluster ${clusterId}`,
    fromMs: nowMs - clockSkewMs,
    untilMs: nowMs + caValidityMs,
  });
  const trust = {
    clusterId,
    clusterPublicKey: cluster.publicKey.export({ format: "jwk" }).x ?? "",
    clusterKeyPem: cluster.privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    caPem,
    caKeyPem,
  };
  const tls = newTlsKey();
  const { publicKeyPem } = tls;
  const issued = await issue(trust, { nodeId: self, publicKeyPem, nowMs, lifetimeMs });
  return { ...trust, ...issued, tlsKeyPem: tls.privateKeyPem, seeds: [] };
}

/** Only who issues certificates needs the library, whose loading takes a tenth of a start. */
async function loadX509() {
  return await import("./x509.ts");
}

type Trust = Pick<Credentials, "clusterId" | "clusterPublicKey" | "caPem"> & ClusterKey;

/** Makes a machine a member: a membership certificate, and an X.509 one for its TLS key. */
export async function issue(
  trust: Trust,
  of: {
    readonly nodeId: NodeId;
    readonly publicKeyPem: string;
    readonly nowMs: number;
    readonly lifetimeMs?: number;
  },
): Promise<{ readonly membership: string; readonly tlsCertificatePem: string }> {
  const expiresAtMs = of.nowMs + (of.lifetimeMs ?? certificateLifetimeMs);
  const body = packr.pack({
    nodeId: of.nodeId,
    clusterId: trust.clusterId,
    issuedAtMs: of.nowMs,
    expiresAtMs,
  });
  const signature = sign(null, body, createPrivateKey(trust.clusterKeyPem));
  const { createNodeCertificate } = await loadX509();
  const tlsCertificatePem = await createNodeCertificate({
    caPem: trust.caPem,
    caKeyPem: trust.caKeyPem,
    publicKeyPem: of.publicKeyPem,
    nodeId: of.nodeId,
    fromMs: of.nowMs - clockSkewMs,
    untilMs: expiresAtMs,
  });
  return {
    membership: Buffer.from(packr.pack({ body, signature })).toString("base64url"),
    tlsCertificatePem,
  };
}

/** When a node's certificates began, and when the first of them ends. */
export function validityOf(credentials: Credentials): {
  readonly fromMs: number;
  readonly untilMs: number;
} {
  const { membership, clusterPublicKey, tlsCertificatePem } = credentials;
  const { issuedAtMs, expiresAtMs } = readMembership(membership, clusterPublicKey);
  const tlsUntilMs = Date.parse(new NodeX509(tlsCertificatePem).validTo);
  return { fromMs: issuedAtMs, untilMs: Math.min(expiresAtMs, tlsUntilMs) };
}

/** A TLS key of one's own: only its public half leaves the machine. */
export function newTlsKey(): { readonly privateKeyPem: string; readonly publicKeyPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    privateKeyPem: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    publicKeyPem: publicKey.export({ format: "pem", type: "spki" }).toString(),
  };
}

/** @throws NetworkError `not_admitted` for a key that the CA would not sign. */
export function checkTlsKey(publicKeyPem: string): void {
  try {
    const { asymmetricKeyDetails } = createPublicKey(publicKeyPem);
    if (asymmetricKeyDetails?.namedCurve !== "prime256v1") throw new Error("it is not on P-256");
  } catch (error) {
    throw new NetworkError("not_admitted", "The machine's TLS key cannot be used.", {
      cause: error,
    });
  }
}

const membershipSchema = z.object({
  nodeId: z.string().max(128).transform(nodeId),
  clusterId: z.string().max(64),
  issuedAtMs: z.number(),
  expiresAtMs: z.number().optional(),
});

export type Membership = {
  readonly nodeId: NodeId;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
};

/** What a membership certificate says, however old. @throws NetworkError `not_admitted` */
export function readMembership(text: string, clusterPublicKey: string): Membership {
  try {
    const { body, signature } = packr.unpack(Buffer.from(text, "base64url")) as {
      body: Uint8Array;
      signature: Uint8Array;
    };
    const key = createPublicKey({
      key: { kty: "OKP", crv: "Ed25519", x: clusterPublicKey },
      format: "jwk",
    });
    if (!verify(null, body, key, signature)) throw new Error("the signature does not fit");
    const { nodeId: node, issuedAtMs, expiresAtMs } = membershipSchema.parse(packr.unpack(body));
    return { nodeId: node, issuedAtMs, expiresAtMs: expiresAtMs ?? issuedAtMs + formerLifetimeMs };
  } catch (error) {
    throw new NetworkError("not_admitted", "The membership certificate is not of this cluster.", {
      cause: error,
    });
  }
}

/** Whom a membership certificate vouches for, however old. @throws NetworkError `not_admitted` */
export function verifyMembership(text: string, clusterPublicKey: string): NodeId {
  return readMembership(text, clusterPublicKey).nodeId;
}

/** Whether it has ended, also by a clock that runs a little ahead. */
export function hasEnded({ expiresAtMs }: Membership, nowMs: number): boolean {
  return expiresAtMs + clockSkewMs < nowMs;
}

/** SHA-256 of the CA certificate's DER form, hex: what tokens pin. */
export function caFingerprint(caPem: string): string {
  return createHash("sha256").update(new NodeX509(caPem).raw).digest("hex");
}
