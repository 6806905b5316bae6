import t from "tap";
import { removableNode } from "../../src/api/removable-node.ts";
import type { Facts } from "../../src/api/server.ts";
import type { ClusterState, LogStatus, Member, TaskPhase } from "../../src/cluster/index.ts";
import { nodeId } from "../../src/kernel/index.ts";
import { clusterNode, clusterOf, task } from "../builders.ts";

type Case = {
  readonly name: string;
  readonly node?: string;
  readonly isForced?: boolean;
  readonly voters?: readonly string[];
  /** Everybody else is alive. */
  readonly failed?: readonly string[];
  readonly isDrained?: boolean;
  readonly task?: { readonly desired: "running" | "stopped"; readonly phase: TaskPhase };
  readonly nodes?: readonly string[];
  /** What the refusal says; absent where it is removed. */
  readonly refusal?: RegExp;
};

function factsOf(given: Case): Facts {
  const names = given.nodes ?? ["n1", "n2", "n3", "n4"];
  const target = clusterNode(given.node ?? "n4", {
    eligibility: given.isDrained ? "drain" : "active",
  });
  const base = clusterOf(...names);
  const owned = given.task && task({ nodeId: target.id, desired: given.task.desired });
  const state: ClusterState = {
    ...base,
    nodes: new Map([...base.nodes].map(([id, node]) => [id, id === target.id ? target : node])),
    tasks: new Map(owned === undefined ? [] : [[owned.id, owned]]),
  };
  const members = new Map(
    names.map((name): [ReturnType<typeof nodeId>, Member] => [
      nodeId(name),
      { status: given.failed?.includes(name) ? "failed" : "alive", sinceMs: 0 },
    ]),
  );
  const reports = new Map(
    owned === undefined
      ? []
      : [
          [
            target.id,
            {
              nodeId: target.id,
              skeinVersion: "",
              runtime: "memory" as const,
              runtimeVersion: "",
              platform: { os: "linux", arch: "amd64" },
              capacity: { cpuMillis: 1, memoryBytes: 1 },
              httpPort: 80,
              routesIndex: 0,
              appliedIndex: 0,
              tasks: [
                {
                  taskId: owned.id,
                  phase: given.task?.phase ?? "running",
                  health: "none" as const,
                  restarts: 0,
                  endpoints: [],
                  hostPorts: [],
                  message: "",
                  sinceMs: 0,
                },
              ],
            },
          ],
        ],
  );
  const log: LogStatus = {
    leader: nodeId("n1"),
    term: 1,
    commitIndex: 1,
    appliedIndex: 1,
    voters: (given.voters ?? ["n1", "n2", "n3"]).map(nodeId),
    learners: [],
    hasQuorum: true,
  };
  return {
    self: nodeId("n1"),
    version: "",
    state,
    observations: { members, reports },
    log,
    pending: new Map(),
  };
}

const running = { desired: "running", phase: "running" } as const;
const cases: readonly Case[] = [
  { name: "a drained node without tasks", isDrained: true },
  { name: "one that takes work", refusal: /alive and takes work.*node drain n4/ },
  { name: "the same by force", isForced: true },
  { name: "a draining one with a task", isDrained: true, task: running, refusal: /1 task,/ },
  {
    name: "a draining one whose container still stops",
    isDrained: true,
    task: { desired: "stopped", phase: "stopping" },
    refusal: /still has 1 task/,
  },
  {
    name: "a drained one whose container has ended",
    isDrained: true,
    task: { desired: "stopped", phase: "completed" },
  },
  { name: "a failed one without tasks", failed: ["n4"] },
  {
    name: "a failed one with tasks to replace",
    failed: ["n4"],
    task: running,
    refusal: /does not answer.*--force n4/,
  },
  {
    name: "a failed one whose tasks have been replaced",
    failed: ["n4"],
    task: { desired: "stopped", phase: "running" },
  },
  {
    name: "the one that is asked, even by force",
    node: "n1",
    isForced: true,
    refusal: /n1 is the machine that you are asking.*on another one/,
  },
  { name: "a voter of three", node: "n3", isForced: true },
  { name: "a failed voter of three", node: "n3", failed: ["n3"], isForced: true },
  {
    name: "a voter that the quorum needs, even by force",
    node: "n3",
    failed: ["n2"],
    isForced: true,
    refusal: /Without n3 only 1 of 3 voters would answer/,
  },
  {
    name: "the only voter, even by force",
    node: "n1",
    voters: ["n1"],
    isForced: true,
    refusal: /only voter. Drain it first/,
  },
  {
    name: "the only node",
    node: "n1",
    nodes: ["n1"],
    voters: ["n1"],
    isForced: true,
    refusal: /only machine/,
  },
];

for (const each of cases) {
  t.test(`node rm: ${each.name}`, async (t) => {
    const remove = () =>
      removableNode(factsOf(each), each.node ?? "n4", { isForced: each.isForced ?? false });
    if (each.refusal !== undefined) t.throws(remove, { code: "conflict", message: each.refusal });
    else t.equal(remove().id, each.node ?? "n4");
  });
}

t.test("a node is named by its name or its id", async (t) => {
  const facts = factsOf({ name: "" });
  t.throws(() => removableNode(facts, "n9", { isForced: true }), { code: "not_found" });
});
