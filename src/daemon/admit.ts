import type { ClusterState, Command, Outcome } from "../cluster/index.ts";
import { type Clock, CodedError, type NodeId, type ReadableCell } from "../kernel/index.ts";
import type { Admission } from "../network/io/join-messages.ts";
import { hashSecret, joinRefusal } from "./tokens.ts";

type Member = { readonly nodeId: NodeId; readonly address: string };

/**
 * Agrees with the cluster that a machine is let in. The secret is checked here; the log
 * then checks again what may have changed meanwhile, and takes one use of the token.
 */
export function admitter(options: {
  readonly state: ReadableCell<ClusterState>;
  readonly submit: (
    command: Command,
    options: { readonly signal: AbortSignal },
  ) => Promise<Outcome>;
  readonly clock: Clock;
}): (
  admission: Admission,
  options: { readonly signal: AbortSignal },
) => Promise<readonly Member[]> {
  const { state, submit, clock } = options;
  return async ({ nodeId, name, address, labels, tokenId, secret }, { signal }) => {
    const nowMs = clock.now();
    const secretHash = hashSecret(secret);
    const refusal = joinRefusal(state.get(), { nodeId, tokenId, secretHash }, nowMs);
    if (refusal !== undefined) throw new CodedError("token_invalid", refusal);
    const node = {
      id: nodeId,
      name,
      address,
      labels,
      eligibility: "active",
      admittedAtMs: nowMs,
    } as const;
    const outcome = await submit({ kind: "admit_node", node, tokenId, nowMs }, { signal });
    if (outcome.kind === "rejected") throw new CodedError(outcome.code, outcome.message);
    return [...state.get().nodes.values()].map(({ id, address: where }) => ({
      nodeId: id,
      address: where,
    }));
  };
}
