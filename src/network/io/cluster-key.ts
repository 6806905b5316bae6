import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Packr } from "msgpackr";
import { z } from "zod";
import { NetworkError } from "../errors.ts";
import { readWhole, writeSecretFile } from "./secret-file.ts";

const packr = new Packr({ useRecords: false });

/**
 * What admits machines: the key that signs membership certificates, and the CA's. Voters hold
 * it, in a file of its own, mode 0600; nobody else does.
 */
const clusterKeySchema = z.object({
  clusterKeyPem: z.string().max(1_024),
  caKeyPem: z.string().max(1_024),
});

export type ClusterKey = Readonly<z.infer<typeof clusterKeySchema>>;

const fileName = "cluster-key.json";
const remedy =
  "Where other machines vote, remove it and start the node again: it asks them for the key. Else put the file back as it was.";
/** Where all members held it before it was the voters' alone. */
const formerFileName = "credentials.json";

/** The key that this data directory holds, where it does. */
export function loadClusterKey(directory: string): ClusterKey | undefined {
  const file = join(directory, fileName);
  if (existsSync(file)) {
    return readWhole(
      file,
      (content) => clusterKeySchema.parse(JSON.parse(content.toString("utf8"))),
      remedy,
    );
  }
  const former = join(directory, formerFileName);
  if (!existsSync(former)) return undefined;
  const parsed = clusterKeySchema.safeParse(JSON.parse(readFileSync(former, "utf8")));
  return parsed.success ? parsed.data : undefined;
}

export function saveClusterKey(directory: string, key: ClusterKey): void {
  writeSecretFile(join(directory, fileName), JSON.stringify(key, undefined, 2));
}

export function dropClusterKey(directory: string): void {
  rmSync(join(directory, fileName), { force: true });
}

export function encodeClusterKey(key: ClusterKey): Uint8Array {
  return packr.pack(key);
}

/** @throws NetworkError `refused` for what is not the key of these credentials' cluster. */
export function decodeClusterKey(
  bytes: Uint8Array,
  { clusterPublicKey, caPem }: { readonly clusterPublicKey: string; readonly caPem: string },
): ClusterKey {
  try {
    const key = clusterKeySchema.parse(packr.unpack(bytes));
    const own = createPublicKey(createPrivateKey(key.clusterKeyPem)).export({ format: "jwk" }).x;
    if (own !== clusterPublicKey) throw new Error("it signs for another cluster");
    if (!new X509Certificate(caPem).checkPrivateKey(createPrivateKey(key.caKeyPem))) {
      throw new Error("its CA is another one");
    }
    return key;
  } catch (error) {
    throw new NetworkError("refused", "What was given as the cluster key is none.", {
      cause: error,
      remoteCode: "no_cluster_key",
    });
  }
}

/** The cluster key's 32 secret bytes, to open what was sealed to it. */
export function clusterKeySeed({ clusterKeyPem }: ClusterKey): Uint8Array {
  const { d } = createPrivateKey(clusterKeyPem).export({ format: "jwk" });
  return Buffer.from(d ?? "", "base64url");
}
