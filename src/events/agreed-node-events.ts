import { type ClusterNode, type ClusterState, sameValue } from "../cluster/index.ts";
import type { NodeId } from "../kernel/index.ts";
import type { AgreedStep } from "./agreed-step.ts";
import { clusterObject, type EventDraft, nodeObject } from "./event.ts";

/** What became of the machines, and of who may join. */
export function nodeEvents(step: AgreedStep): readonly EventDraft[] {
  const { before, after, command } = step;
  const drafts: EventDraft[] = [];
  if (before.nodes !== after.nodes) {
    for (const node of after.nodes.values()) drafts.push(...changesOf(before, after, node));
    for (const node of before.nodes.values()) {
      if (after.nodes.has(node.id)) continue;
      const how = command.kind === "recover" ? "It was given up to recover the quorum." : "";
      const message = `${node.name} (${node.address}) is no member any more. ${how}`;
      drafts.push({ reason: "NodeRemoved", ...where(before, node), message });
    }
  }
  if (command.kind === "revoke_token" && !after.tokens.has(command.tokenId)) {
    const message = `Token ${command.tokenId} was revoked.`;
    drafts.push({ reason: "TokenRevoked", object: clusterObject, message });
  }
  return [...drafts, ...drainedNodes(step)];
}

function changesOf(before: ClusterState, after: ClusterState, node: ClusterNode): EventDraft[] {
  const known = before.nodes.get(node.id);
  if (known === node) return [];
  const about = where(after, node);
  if (known === undefined) {
    return [{ reason: "NodeJoined", ...about, message: `${node.name} joined at ${node.address}.` }];
  }
  const drafts: EventDraft[] = [];
  if (known.eligibility !== node.eligibility) {
    drafts.push(
      node.eligibility === "drain"
        ? { reason: "NodeDraining", ...about, message: "Its tasks move elsewhere." }
        : { reason: "NodeResumed", ...about, message: "It gets work again." },
    );
  }
  if (known.address !== node.address || known.name !== node.name) {
    const message = `${known.name} at ${known.address} is now ${node.name} at ${node.address}.`;
    drafts.push({ reason: "NodeChanged", ...about, message });
  }
  if (!sameValue(known.labels, node.labels)) {
    drafts.push({ reason: "NodeLabelled", ...about, message: labelChanges(known, node) });
  }
  return drafts;
}

function labelChanges(known: ClusterNode, node: ClusterNode): string {
  const names = new Set([...Object.keys(known.labels), ...Object.keys(node.labels)]);
  const changes = [...names].flatMap((name) => {
    const [old, now] = [known.labels[name], node.labels[name]];
    if (old === now) return [];
    return now === undefined ? [`${name} was taken away`] : [`${name} is ${now}`];
  });
  return `Labels: ${changes.join(", ")}.`;
}

/** Draining nodes whose last task was told to stop by this entry, or that had none. */
function drainedNodes({ before, after }: AgreedStep): readonly EventDraft[] {
  if (before.nodes === after.nodes && before.tasks === after.tasks) return [];
  const draining = [...after.nodes.values()].filter(({ eligibility }) => eligibility === "drain");
  if (draining.length === 0) return [];
  const busyNow = busyNodes(after);
  const busyBefore = busyNodes(before);
  return draining
    .filter(({ id }) => {
      const wasDrained = before.nodes.get(id)?.eligibility === "drain" && !busyBefore.has(id);
      return !busyNow.has(id) && !wasDrained;
    })
    .map((node) => ({
      reason: "NodeDrained",
      ...where(after, node),
      message: "No task should run on it any more.",
    }));
}

function busyNodes({ tasks }: ClusterState): ReadonlySet<NodeId> {
  const busy = new Set<NodeId>();
  for (const { desired, result, nodeId } of tasks.values()) {
    if (desired === "running" && result === undefined) busy.add(nodeId);
  }
  return busy;
}

function where(state: ClusterState, { id, name }: ClusterNode) {
  return { object: nodeObject(state, id), node: name };
}
