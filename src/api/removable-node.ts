import { type ClusterNode, isFinal, memberStatus, statusOf } from "../cluster/index.ts";
import { ApiError } from "./problem.ts";
import type { Facts } from "./views-of-state.ts";

/**
 * The node that a name or a whole id means, where it may be removed. Force removes a machine
 * that is gone, or in use; but never one without which nothing could be decided any more.
 * @throws ApiError `not_found`, `conflict` with what has to be done first.
 */
export function removableNode(
  facts: Facts,
  text: string,
  { isForced }: { readonly isForced: boolean },
): ClusterNode {
  const node = [...facts.state.nodes.values()].find(({ id, name }) => id === text || name === text);
  if (node === undefined) {
    throw new ApiError("not_found", `There is no node "${text}". See: skein node ls`);
  }
  const refusal =
    voteRefusal(facts, node) ??
    selfRefusal(facts, node) ??
    (isForced ? undefined : useRefusal(facts, node));
  if (refusal !== undefined) throw new ApiError("conflict", refusal);
  return node;
}

/** The others have to be able to agree without it, at once and by themselves. */
function voteRefusal(
  { state, observations, log }: Facts,
  { id, name }: ClusterNode,
): string | undefined {
  if (state.nodes.size === 1) {
    return `${name} is the only machine of the cluster. To end the cluster, stop its daemon and delete its data directory.`;
  }
  const { voters } = log;
  if (!voters.includes(id)) return undefined;
  const others = voters.filter(
    (voter) => voter !== id && memberStatus(observations, voter) === "alive",
  );
  if (others.length > voters.length / 2) return undefined;
  return voters.length === 1
    ? `${name} is the only voter. Drain it first, so that another machine takes its place within seconds: skein node drain ${name}`
    : `Without ${name} only ${others.length} of ${voters.length} voters would answer, too few to decide anything. Start the others first.`;
}

/** It ends as soon as it learns of its removal: nobody would hear from it how that went. */
function selfRefusal({ self }: Facts, { id, name }: ClusterNode): string | undefined {
  if (id !== self) return undefined;
  return `${name} is the machine that you are asking, and ends once it is removed. Run this on another one: skein node rm ${name}`;
}

function useRefusal(
  { state, observations }: Facts,
  { id, name, eligibility }: ClusterNode,
): string | undefined {
  const status = memberStatus(observations, id);
  const isAlive = status === "alive" || status === "suspect";
  const tasks = [...state.tasks.values()].filter((task) => {
    if (task.nodeId !== id) return false;
    const observed = statusOf(observations, task);
    const isThere = isAlive && observed !== undefined && !isFinal(observed);
    return (task.desired === "running" && task.result === undefined) || isThere;
  });
  const count = `${tasks.length} task${tasks.length === 1 ? "" : "s"}`;
  if (!isAlive) {
    return tasks.length === 0
      ? undefined
      : `${name} does not answer, and ${count} of it have not been replaced yet. Wait, or remove it at once: skein node rm --force ${name}`;
  }
  if (eligibility !== "drain") {
    return `${name} is alive and takes work. Move its tasks elsewhere first: skein node drain ${name}. Or remove it at once, and its tasks with it: skein node rm --force ${name}`;
  }
  if (tasks.length === 0) return undefined;
  return `${name} still has ${count}, which are being moved. Wait for them: skein ps. Or remove it at once: skein node rm --force ${name}`;
}
