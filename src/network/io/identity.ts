import { existsSync } from "node:fs";
import { join } from "node:path";
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from "@libp2p/crypto/keys";
import type { PrivateKey } from "@libp2p/interface";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { type NodeId, nodeId } from "../../kernel/index.ts";
import { credentialsFileName } from "./credentials.ts";
import { lostFile, readWhole, writeSecretFile } from "./secret-file.ts";

/** Who this machine is: an Ed25519 key that never leaves it. */
export type Identity = { readonly nodeId: NodeId; readonly privateKey: PrivateKey };

const fileName = "identity.key";

/** The identity of this data directory, made at the first call. */
export async function loadOrCreateIdentity(directory: string): Promise<Identity> {
  const file = join(directory, fileName);
  if (existsSync(file)) return identityOf(readWhole(file, privateKeyFromProtobuf));
  // Another key would make it a stranger to its own log, and to everybody else.
  if (existsSync(join(directory, credentialsFileName))) throw lostFile(file);
  const key = await generateKeyPair("Ed25519");
  writeSecretFile(file, privateKeyToProtobuf(key));
  return identityOf(key);
}

function identityOf(privateKey: PrivateKey): Identity {
  return { nodeId: nodeId(peerIdFromPrivateKey(privateKey).toString()), privateKey };
}
