import type { ClusterNode, Command } from "../cluster/index.ts";
import type { Handlers } from "./contract.ts";
import type { DoctorView } from "./node-views.ts";
import { nodeDetail, nodeViews } from "./node-views-of-state.ts";
import { ApiError } from "./problem.ts";
import type { Facts } from "./views-of-state.ts";

type NodeBackend = {
  facts(): Facts;
  now(): number;
  doctor(options: { readonly signal: AbortSignal }): Promise<DoctorView>;
};

/** The handlers of the routes about machines. */
export function nodeHandlers(
  backend: NodeBackend,
  submit: (command: Command, signal: AbortSignal) => Promise<unknown>,
): Pick<Handlers, "listNodes" | "getNode" | "setEligibility" | "labelNode" | "doctor"> {
  const find = (text: string) => findNode(backend.facts(), text);
  const detail = (node: ClusterNode) => nodeDetail(backend.facts(), node.id, backend.now());
  return {
    listNodes: async () => nodeViews(backend.facts()),
    getNode: async ({ params }) => detail(find(params.node)),
    setEligibility: async ({ params, body, signal }) => {
      const node = find(params.node);
      const { eligibility } = body;
      if (node.eligibility !== eligibility) {
        await submit({ kind: "set_eligibility", nodeId: node.id, eligibility }, signal);
      }
      return detail(node);
    },
    labelNode: async ({ params, body, signal }) => {
      const node = find(params.node);
      if (Object.keys(body.labels).length > 0) {
        await submit({ kind: "label_node", nodeId: node.id, labels: body.labels }, signal);
      }
      return detail(node);
    },
    doctor: ({ signal }) => backend.doctor({ signal }),
  };
}

/** The node that a name or a whole id means. @throws ApiError `not_found` */
function findNode({ state }: Facts, text: string): ClusterNode {
  for (const node of state.nodes.values()) {
    if (node.name === text || node.id === text) return node;
  }
  const wasRemoved = [...state.removedNodes].some((id) => id === text);
  throw new ApiError(
    "not_found",
    wasRemoved
      ? `Node ${text} was removed from the cluster.`
      : `There is no node "${text}". See: skein node ls`,
  );
}
