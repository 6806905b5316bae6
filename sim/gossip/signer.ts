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
  let value = 0x811c9dc5;
  for (const part of [Buffer.from(author), bytes]) {
    for (const byte of part) value = Math.imul(value ^ byte, 0x01000193);
  }
  const signature = Buffer.alloc(4);
  signature.writeInt32BE(value);
  return signature;
}
