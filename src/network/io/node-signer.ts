import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { peerIdFromString } from "@libp2p/peer-id";
import type { NodeId } from "../../kernel/index.ts";
import type { NodeSigner } from "../node-signer.ts";
import type { Identity } from "./identity.ts";

const seedBytes = 32;
const signatureBytes = 64;
/** Far more than a cluster has members; nodes that are gone must not pile up. */
const maxKeys = 4_096;

const privatePrefix = Buffer.from("302e020100300506032b657004220420", "hex");
const publicPrefix = Buffer.from("302a300506032b6570032100", "hex");

/** Ed25519, by the keys that nodes are named after: their ids are all that is needed to check. */
export function nodeSigner({ privateKey }: Pick<Identity, "privateKey">): NodeSigner {
  const seed = privateKey.raw.subarray(0, seedBytes);
  const der = Buffer.concat([privatePrefix, seed]);
  const own = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const keys = new Map<NodeId, KeyObject | undefined>();
  const keyOf = (node: NodeId): KeyObject | undefined => {
    const known = keys.get(node);
    if (known !== undefined || keys.has(node)) return known;
    if (keys.size >= maxKeys) keys.clear();
    const key = publicKeyOf(node);
    keys.set(node, key);
    return key;
  };
  return {
    sign: (bytes) => sign(null, bytes, own),
    verify: (author, bytes, signature) => {
      const key = keyOf(author);
      if (key === undefined || signature.byteLength !== signatureBytes) return false;
      return verify(null, bytes, key, signature);
    },
  };
}

/** Undefined for an id that holds no such key. */
function publicKeyOf(node: NodeId): KeyObject | undefined {
  try {
    const { publicKey } = peerIdFromString(node);
    if (publicKey?.type !== "Ed25519") return undefined;
    const der = Buffer.concat([publicPrefix, publicKey.raw]);
    return createPublicKey({ key: der, format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}
