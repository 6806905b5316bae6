import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import { NetworkError } from "../errors.ts";

/**
 * A message that only the holder of an Ed25519 private key can open: X25519 with a key made
 * for the one message, HKDF-SHA-256, AES-256-GCM. The signing keys of nodes and of the cluster
 * serve as they are; the map between the two curves is that of RFC 7748, section 4.1.
 */

const keyBytes = 32;
const tagBytes = 16;
const cipherName = "aes-256-gcm";
/** Each key encrypts one message, so one nonce is enough. */
const nonce = Buffer.alloc(12);

const prime = 2n ** 255n - 19n;
const privatePrefix = Buffer.from("302e020100300506032b656e04220420", "hex");
const publicPrefix = Buffer.from("302a300506032b656e032100", "hex");

/**
 * @param publicKey Ed25519, raw.
 * @param purpose What it is for and between whom; the same has to be said when it is opened.
 */
export function seal(publicKey: Uint8Array, plain: Uint8Array, purpose: string): Uint8Array {
  const recipient = exchangePublicKey(publicKey);
  const once = generateKeyPairSync("x25519");
  const onceRaw = rawOf(once.publicKey);
  const shared = diffieHellman({ privateKey: once.privateKey, publicKey: importPublic(recipient) });
  const cipher = createCipheriv(cipherName, keyOf({ shared, onceRaw, recipient, purpose }), nonce);
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([onceRaw, cipher.getAuthTag(), body]);
}

/**
 * @param seed Ed25519 private key, the 32 bytes that it is made from.
 * @throws NetworkError `refused` for whatever was not sealed to this key for this purpose.
 */
export function unseal(seed: Uint8Array, sealed: Uint8Array, purpose: string): Uint8Array {
  try {
    if (sealed.length < keyBytes + tagBytes) throw new Error("it is too short");
    const onceRaw = sealed.subarray(0, keyBytes);
    const privateKey = exchangePrivateKey(seed);
    const recipient = rawOf(createPublicKey(privateKey));
    const shared = diffieHellman({ privateKey, publicKey: importPublic(onceRaw) });
    const key = keyOf({ shared, onceRaw, recipient, purpose });
    const decipher = createDecipheriv(cipherName, key, nonce);
    decipher.setAuthTag(sealed.subarray(keyBytes, keyBytes + tagBytes));
    const body = sealed.subarray(keyBytes + tagBytes);
    return Buffer.concat([decipher.update(body), decipher.final()]);
  } catch (error) {
    const message = "A sealed message cannot be opened: it is for another key, or was altered.";
    throw new NetworkError("refused", message, { cause: error, remoteCode: "unsealable" });
  }
}

function keyOf(parts: {
  readonly shared: Uint8Array;
  readonly onceRaw: Uint8Array;
  readonly recipient: Uint8Array;
  readonly purpose: string;
}): Uint8Array {
  const { shared, onceRaw, recipient, purpose } = parts;
  const salt = Buffer.concat([onceRaw, recipient]);
  return new Uint8Array(hkdfSync("sha256", shared, salt, `skein seal 1: ${purpose}`, 32));
}

/** `u = (1 + y) / (1 - y)`: public values only, so that the time it takes tells nothing. */
function exchangePublicKey(publicKey: Uint8Array): Uint8Array {
  if (publicKey.length !== keyBytes) throw new Error("an Ed25519 public key has 32 bytes");
  const y = fromLittleEndian(publicKey) & ((1n << 255n) - 1n);
  const u = (1n + y) * inverse((1n - y + prime) % prime);
  return toLittleEndian(((u % prime) + prime) % prime);
}

function exchangePrivateKey(seed: Uint8Array): KeyObject {
  if (seed.length !== keyBytes) throw new Error("an Ed25519 private key has 32 bytes");
  const scalar = createHash("sha512").update(seed).digest().subarray(0, keyBytes);
  const key = Buffer.concat([privatePrefix, scalar]);
  return createPrivateKey({ key, format: "der", type: "pkcs8" });
}

function importPublic(raw: Uint8Array): KeyObject {
  const key = Buffer.concat([publicPrefix, raw]);
  return createPublicKey({ key, format: "der", type: "spki" });
}

function rawOf(publicKey: KeyObject): Uint8Array {
  return publicKey.export({ format: "der", type: "spki" }).subarray(-keyBytes);
}

/** By Fermat's little theorem. */
function inverse(value: bigint): bigint {
  let result = 1n;
  let base = value % prime;
  for (let exponent = prime - 2n; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * base) % prime;
    base = (base * base) % prime;
  }
  return result;
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}

function toLittleEndian(value: bigint): Uint8Array {
  return Buffer.from(value.toString(16).padStart(keyBytes * 2, "0"), "hex").reverse();
}
