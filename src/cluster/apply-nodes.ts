import type { NodeId, TaskId } from "../kernel/index.ts";
import { type Applied, accepted, type CommandOf, rejected, withEntry } from "./applied.ts";
import {
  type ClusterNode,
  type ClusterState,
  effectiveLabels,
  maxNodeLabels,
  maxRemovedNodes,
  maxTokens,
  type Token,
  tokenMemoryMs,
} from "./cluster-state.ts";
import type { Task } from "./task.ts";
import { withoutHomesOn } from "./volume-homes.ts";

export function bootstrap(
  state: ClusterState,
  { clusterId, node, maxVoters }: CommandOf<"bootstrap">,
): Applied {
  if (state.clusterId !== "") {
    return rejected(state, "conflict", `This is cluster ${state.clusterId} already.`);
  }
  const chosen = maxVoters === undefined ? {} : { maxVoters };
  return accepted({ ...state, clusterId, nodes: withEntry(state.nodes, node.id, node), ...chosen });
}

export function admitNode(state: ClusterState, command: CommandOf<"admit_node">): Applied {
  const { node, tokenId, nowMs } = command;
  const namesake = [...state.nodes.values()].find(
    (other) => other.name === node.name && other.id !== node.id,
  );
  if (namesake !== undefined) {
    return rejected(
      state,
      "name_taken",
      `Another node is named "${node.name}" already. If it is this machine from before it was set up anew, remove that one on a member: skein node rm --force ${node.name}. Else start this daemon with --name and another name.`,
    );
  }
  const known = state.nodes.get(node.id);
  const merged: ClusterNode = known === undefined ? node : returned(node, known);
  const nodes = withEntry(state.nodes, node.id, merged);
  if (tokenId === undefined) {
    return known === undefined
      ? rejected(
          state,
          "not_found",
          `Node ${node.id} is not a member. It has to join with a token.`,
        )
      : accepted({ ...state, nodes });
  }
  const token = state.tokens.get(tokenId);
  // A machine that repeats its join, its first answer having been lost, takes no second use.
  const isRepeated = known !== undefined;
  const refusal = refusalOf(token, nowMs, { isRepeated });
  if (token === undefined || refusal !== undefined) {
    return rejected(state, "token_invalid", refusal ?? "The join token is not known.");
  }
  const tokens = isRepeated ? state.tokens : withEntry(state.tokens, token.id, used(token));
  const removedNodes = new Set(state.removedNodes);
  removedNodes.delete(node.id);
  return accepted({ ...state, nodes, tokens, removedNodes });
}

/** What was agreed about a node stays; what its daemon says of itself is taken over. */
function returned(node: ClusterNode, known: ClusterNode): ClusterNode {
  const { eligibility, admittedAtMs } = known;
  const merged = { ...node, eligibility, admittedAtMs };
  if (known.assignedLabels === undefined) return merged;
  // What was taken away and is not there any more need not be remembered.
  const kept = Object.entries(known.assignedLabels).filter(
    ([name, value]) => value !== null || Object.hasOwn(node.labels, name),
  );
  const assignedLabels = Object.fromEntries(kept);
  return { ...merged, assignedLabels, labels: effectiveLabels(node.labels, assignedLabels) };
}

function used(token: Token): Token {
  return token.usesLeft === undefined ? token : { ...token, usesLeft: token.usesLeft - 1 };
}

/** Why a token admits no machine now; undefined when it does. */
export function refusalOf(
  token: Token | undefined,
  nowMs: number,
  { isRepeated }: { readonly isRepeated: boolean },
): string | undefined {
  const remedy = "Make a new one with: skein token create";
  if (token === undefined)
    return `The join token is not known to this cluster, or was revoked. ${remedy}`;
  if (token.role !== "node") return `This token is for clients, not for machines. ${remedy}`;
  if (token.expiresAtMs <= nowMs) return `The join token has expired. ${remedy}`;
  if (!isRepeated && token.usesLeft !== undefined && token.usesLeft <= 0) {
    return `The join token has been used up. ${remedy}`;
  }
  return undefined;
}

export function setEligibility(
  state: ClusterState,
  command: CommandOf<"set_eligibility">,
): Applied {
  const node = state.nodes.get(command.nodeId);
  if (node === undefined) return rejected(state, "not_found", `No node ${command.nodeId}.`);
  const changed = { ...node, eligibility: command.eligibility };
  return accepted({ ...state, nodes: withEntry(state.nodes, node.id, changed) });
}

export function labelNode(state: ClusterState, command: CommandOf<"label_node">): Applied {
  const node = state.nodes.get(command.nodeId);
  if (node === undefined) return rejected(state, "not_found", `No node ${command.nodeId}.`);
  const assignedLabels = { ...node.assignedLabels, ...command.labels };
  const count = Object.keys(assignedLabels).length;
  if (count > maxNodeLabels) {
    return rejected(
      state,
      "invalid",
      `Node ${node.name} would have ${count} labels by command; ${maxNodeLabels} are allowed.`,
    );
  }
  const labels = effectiveLabels(node.labels, assignedLabels);
  const changed: ClusterNode = { ...node, assignedLabels, labels };
  return accepted({ ...state, nodes: withEntry(state.nodes, node.id, changed) });
}

export function removeNode(state: ClusterState, command: CommandOf<"remove_node">): Applied {
  const { nodeId, onlyIfUnused = false } = command;
  const node = state.nodes.get(nodeId);
  if (node === undefined) return rejected(state, "not_found", `No node ${nodeId}.`);
  const isUsed = [...state.tasks.values()].some(
    // A job's task that has ended is only remembered for its output.
    (task) => task.nodeId === nodeId && task.desired === "running" && task.result === undefined,
  );
  if (onlyIfUnused && isUsed) {
    return rejected(state, "conflict", `Node ${node.name} has got tasks. Try again.`);
  }
  return accepted(withoutNodes(state, [nodeId]));
}

export function recover(state: ClusterState, { lost }: CommandOf<"recover">): Applied {
  return accepted(withoutNodes(state, lost));
}

/** Neither they nor their tasks are part of the cluster any more. */
function withoutNodes(state: ClusterState, gone: readonly NodeId[]): ClusterState {
  const nodes = new Map<NodeId, ClusterNode>(state.nodes);
  const removed = new Set(state.removedNodes);
  for (const node of gone) {
    if (nodes.delete(node)) removed.add(node);
  }
  const tasks = new Map<TaskId, Task>(state.tasks);
  for (const task of state.tasks.values()) {
    if (gone.includes(task.nodeId)) tasks.delete(task.id);
  }
  const removedNodes = new Set([...removed].slice(-maxRemovedNodes));
  const volumeHomes = withoutHomesOn(state.volumeHomes, gone);
  return { ...state, nodes, tasks, removedNodes, volumeHomes };
}

/** Tokens that ended long ago make room: nobody has to be told any more why they are refused. */
export function putToken(state: ClusterState, { token }: CommandOf<"put_token">): Applied {
  const longAgoMs = token.createdAtMs - tokenMemoryMs;
  const tokens = new Map(
    [...state.tokens].filter(([id, each]) => each.expiresAtMs > longAgoMs || id === token.id),
  );
  if (tokens.size >= maxTokens && !tokens.has(token.id)) {
    return rejected(
      state,
      "conflict",
      `There are ${tokens.size} tokens already, the most there may be. Revoke some: skein token ls, skein token revoke`,
    );
  }
  return accepted({ ...state, tokens: tokens.set(token.id, token) });
}

export function revokeToken(state: ClusterState, { tokenId }: CommandOf<"revoke_token">): Applied {
  if (!state.tokens.has(tokenId)) {
    return rejected(state, "not_found", `There is no token ${tokenId}. See: skein token ls`);
  }
  const tokens = new Map(state.tokens);
  tokens.delete(tokenId);
  return accepted({ ...state, tokens });
}
