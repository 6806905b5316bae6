import { z } from "zod";
import { NetworkError } from "./errors.ts";

/** What a token tells its holder: which cluster, and the secret that this cluster knows by hash. */
export type ClusterToken = {
  readonly clusterId: string;
  /** `node` admits a machine, `admin` lets a client use the API. */
  readonly role: "node" | "admin";
  readonly tokenId: string;
  readonly secret: string;
  /** The cluster's Ed25519 public key, base64url: pins whom the secret may be told. */
  readonly clusterPublicKey: string;
  /** SHA-256 of the cluster's CA certificate (DER), hex: pins the API's TLS. */
  readonly caFingerprint: string;
  /** Wall clock, ms. */
  readonly expiresAtMs: number;
};

const prefix = "skein1_";
const maxTokenLength = 2_048;

const tokenSchema = z.tuple([
  z.string().min(1).max(64),
  z.enum(["node", "admin"]),
  z.string().regex(/^[0-9a-f]{1,64}$/),
  z.string().regex(/^[\w-]{16,64}$/),
  z.string().regex(/^[\w-]{43}$/),
  z.string().regex(/^[0-9a-f]{64}$/),
  z.number().int().positive(),
]);

/** The text form: a prefix that names the version, then base64url. */
export function encodeToken(token: ClusterToken): string {
  const { clusterId, role, tokenId, secret, clusterPublicKey, caFingerprint, expiresAtMs } = token;
  const fields = [clusterId, role, tokenId, secret, clusterPublicKey, caFingerprint, expiresAtMs];
  return (
    prefix +
    new TextEncoder()
      .encode(JSON.stringify(fields))
      .toBase64({ alphabet: "base64url", omitPadding: true })
  );
}

/** @throws NetworkError `bad_token` for anything that {@link encodeToken} did not make. */
export function decodeToken(text: string): ClusterToken {
  const trimmed = text.trim();
  if (!trimmed.startsWith(prefix) || trimmed.length > maxTokenLength) throw unreadable();
  let fields: unknown;
  try {
    const bytes = Uint8Array.fromBase64(trimmed.slice(prefix.length), { alphabet: "base64url" });
    fields = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw unreadable(error);
  }
  const parsed = tokenSchema.safeParse(fields);
  if (!parsed.success) throw unreadable(parsed.error);
  const [clusterId, role, tokenId, secret, clusterPublicKey, caFingerprint, expiresAtMs] =
    parsed.data;
  return { clusterId, role, tokenId, secret, clusterPublicKey, caFingerprint, expiresAtMs };
}

function unreadable(cause?: unknown): NetworkError {
  return new NetworkError(
    "bad_token",
    "The token cannot be read: it is cut off or altered. Copy it again, or make a new one with: skein token create",
    { cause },
  );
}
