import type { NodeId } from "../kernel/index.ts";

/** Says and checks by which node something was written, whichever way it came. */
export interface NodeSigner {
  /** With this node's own key. */
  sign(bytes: Uint8Array): Uint8Array;
  /** Whether the author's key signed just this; false for whatever is no signature. */
  verify(author: NodeId, bytes: Uint8Array, signature: Uint8Array): boolean;
}
