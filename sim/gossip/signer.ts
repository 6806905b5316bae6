import { crc32 } from "node:zlib";
import type { NodeId } from "../../src/kernel/index.ts";
import type { NodeSigner } from "../../src/network/index.ts";

/** Signatures that cost nothing: in the simulated world nobody knows how to make another's. */
export function simSigner(
  self: NodeId,
  { onVerify }: { readonly onVerify?: () => void } = {},
): NodeSigner {
  return {
    sign: (bytes) => signatureOf(self, bytes),
    verify: (author, bytes, signature) => {
      onVerify?.();
      return signatureOf(author, bytes).equals(signature);
    },
  };
}

function signatureOf(author: NodeId, bytes: Uint8Array): Buffer {
  const signature = Buffer.alloc(4);
  signature.writeUInt32BE(crc32(bytes, crc32(author)));
  return signature;
}
