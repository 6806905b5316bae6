import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { type ClusterState, refusalOf, type Token } from "../cluster/index.ts";
import type { NodeId } from "../kernel/index.ts";

/** What the agreed state keeps of a secret. */
export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** A new token's id and secret: 60 bits to name it, 192 bits that nobody guesses. */
export function newSecret(): { readonly id: string; readonly secret: string } {
  return { id: randomBytes(8).toString("hex"), secret: randomBytes(24).toString("base64url") };
}

function isSecretOf(token: Token, secretHash: string): boolean {
  const given = Buffer.from(secretHash, "hex");
  const wanted = Buffer.from(token.secretHash, "hex");
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

/** Why a machine with this token is refused; undefined when it may join. */
export function joinRefusal(
  state: ClusterState,
  {
    nodeId,
    tokenId,
    secretHash,
  }: { readonly nodeId: NodeId; readonly tokenId: string; readonly secretHash: string },
  nowMs: number,
): string | undefined {
  const token = state.tokens.get(tokenId);
  const refusal = refusalOf(token, nowMs, { isRepeated: state.nodes.has(nodeId) });
  if (refusal !== undefined || token === undefined) return refusal;
  if (isSecretOf(token, secretHash)) return undefined;
  return "The join token's secret is wrong. Make a new token with: skein token create";
}

/** Whether `ID.SECRET` is a client's token that is valid now. */
export function isAdminBearer(
  state: ClusterState,
  bearer: string | undefined,
  nowMs: number,
): boolean {
  const dot = bearer?.indexOf(".") ?? -1;
  if (bearer === undefined || dot < 0) return false;
  const token = state.tokens.get(bearer.slice(0, dot));
  return (
    token !== undefined &&
    token.role === "admin" &&
    token.expiresAtMs > nowMs &&
    isSecretOf(token, hashSecret(bearer.slice(dot + 1)))
  );
}
