import t from "tap";
import { apply, type ClusterState, type Command } from "../../src/cluster/index.ts";
import { nodeId } from "../../src/kernel/index.ts";
import { applyAll, clusterNode, clusterOf } from "../builders.ts";

const n1 = nodeId("n1");

function label(labels: Readonly<Record<string, string | null>>): Command {
  return { kind: "label_node", nodeId: n1, labels };
}

/** The daemon of n1 starts with these labels, where it was a member before. */
function restart(labels: Readonly<Record<string, string>>): Command {
  return { kind: "admit_node", node: clusterNode("n1", { labels }), nowMs: 5 };
}

const labelsOf = (state: ClusterState) => state.nodes.get(n1)?.labels;

t.test("assigned labels come on top of the daemon's own, and outlive its restart", async (t) => {
  const own = { zone: "a", rack: "7" };
  const first = applyAll([restart(own)], clusterOf("n1", "n2"));
  const labelled = applyAll([label({ disk: "ssd", zone: "b", rack: null })], first);
  t.strictSame(labelsOf(labelled), { zone: "b", disk: "ssd" });
  t.strictSame(labelsOf(applyAll([restart(own)], labelled)), { zone: "b", disk: "ssd" });
  const other = applyAll([restart({ zone: "c", cpu: "fast" })], labelled);
  t.strictSame(labelsOf(other), { zone: "b", disk: "ssd", cpu: "fast" });
  t.strictSame(
    other.nodes.get(n1)?.assignedLabels,
    { disk: "ssd", zone: "b" },
    "rack is forgotten",
  );
});

t.test("a label that was taken away can be given again", async (t) => {
  const commands = [label({ disk: "ssd" }), label({ disk: null }), label({ disk: "nvme" })];
  t.strictSame(labelsOf(applyAll(commands, clusterOf("n1"))), { disk: "nvme" });
});

t.test("nobody else's node, and not without bound", async (t) => {
  const state = clusterOf("n1");
  const unknown: Command = { kind: "label_node", nodeId: nodeId("n9"), labels: { a: "b" } };
  t.match(apply(state, 2, unknown).outcome, { kind: "rejected", code: "not_found" });
  const many = Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`label-${i}`, "x"]));
  t.match(apply(state, 2, label(many)).outcome, { kind: "rejected", code: "invalid" });
});
