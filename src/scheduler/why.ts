import type { ClusterState, Observations } from "../cluster/index.ts";
import { type NodeId, type ServiceKey, taskId } from "../kernel/index.ts";
import { countByNode, Draft } from "./draft.ts";
import type { Pending } from "./explain.ts";
import { defaultSchedulerSettings, Facts } from "./facts.ts";
import { describeLoad } from "./placement.ts";
import { plan } from "./plan.ts";
import { refusalOf } from "./refusal.ts";

/** What one node says to one more task of a service. */
export type NodeVerdict = {
  readonly nodeId: NodeId;
  readonly nodeName: string;
  readonly fits: boolean;
  readonly message: string;
};

export type ServiceExplanation = {
  readonly pending: readonly Pending[];
  readonly nodes: readonly NodeVerdict[];
};

/**
 * Why a service's tasks are where they are: what each node would say to one more, and why
 * some are not placed. Any node can tell, from the same facts that the leader decides by.
 */
export function explainService(
  input: {
    readonly state: ClusterState;
    readonly observations: Observations;
    /** Wall clock, ms. */
    readonly now: number;
  },
  key: ServiceKey,
): ServiceExplanation | undefined {
  const service = input.state.services.get(key);
  if (service === undefined) return undefined;
  const newTaskId = () => taskId("nobody");
  const { explanations } = plan({ ...input, newTaskId });
  const leaderSinceMs = Number.NEGATIVE_INFINITY;
  const facts = new Facts({ ...input, settings: defaultSchedulerSettings, leaderSinceMs });
  const draft = new Draft(facts, newTaskId);
  const siblings = countByNode(draft.activeOf(key));
  const slots = draft.runningOf(key).map(({ slot }) => slot);
  const request = {
    service,
    template: service.spec.template,
    slot: Math.max(0, ...slots) + 1,
    siblings,
    failures: new Map<NodeId, number>(),
    only: undefined,
    leaving: new Set<never>(),
  };
  const nodes = facts.nodesInOrder.map((node): NodeVerdict => {
    const refusal = refusalOf(facts, draft.usages, request, node);
    const message = refusal?.message ?? describeLoad(draft.usages, siblings, node);
    const { id, name } = node.node;
    return { nodeId: id, nodeName: name, fits: refusal === undefined, message };
  });
  return { pending: explanations.get(key) ?? [], nodes };
}
