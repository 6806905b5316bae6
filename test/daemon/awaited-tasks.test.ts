import t from "tap";
import type { ClusterState, Observations, TaskStatus } from "../../src/cluster/index.ts";
import { maxAwaitedTasks } from "../../src/cluster/index.ts";
import { awaitedTasks, isAwaitedHere } from "../../src/daemon/awaited-tasks.ts";
import { nodeId, type TaskId, taskId } from "../../src/kernel/index.ts";
import { applyAll, clusterOf, serviceSpec, task, template } from "../builders.ts";

const n1 = nodeId("n1");

/** `web` at revision 2, with old and new tasks on n1. */
function rolling(
  tasks: readonly { readonly id: string; readonly revision: number }[],
): ClusterState {
  const put = (image: string) =>
    ({
      kind: "put_services",
      specs: [serviceSpec({ template: template({ image }) })],
      nowMs: 0,
    }) as const;
  const state = applyAll([put("web:1"), put("web:2")], clusterOf("n1"));
  const made = tasks.map(({ id, revision }, i) =>
    task({ id: taskId(id), revision, slot: i + 1, createdAtIndex: 10 + i }),
  );
  return { ...state, tasks: new Map(made.map((each) => [each.id, each])) };
}

function seen(serving: readonly string[], status: "alive" | "failed" = "alive"): Observations {
  const tasks = serving.map(
    (id): TaskStatus => ({
      taskId: taskId(id),
      phase: "running",
      health: "none",
      restarts: 0,
      endpoints: [],
      hostPorts: [],
      message: "",
      sinceMs: 0,
    }),
  );
  const report = {
    nodeId: n1,
    skeinVersion: "0",
    runtime: "memory",
    runtimeVersion: "0",
    platform: { os: "linux", arch: "amd64" },
    capacity: { cpuMillis: 1, memoryBytes: 1 },
    httpPort: 80,
    routesIndex: 0,
    appliedIndex: 0,
    tasks,
  };
  return {
    members: new Map([[n1, { status, sinceMs: 0 }]]),
    reports: new Map([[n1, report]]),
  };
}

const both = [
  { id: "old", revision: 1 },
  { id: "new", revision: 2 },
];

t.test("What a roll-out waits for", async (t) => {
  const cases: readonly (readonly [
    name: string,
    state: ClusterState,
    observations: Observations,
    expected: readonly string[],
  ])[] = [
    ["is a new task that is not known to serve", rolling(both), seen(["old"]), ["new"]],
    ["is nothing once it is known", rolling(both), seen(["old", "new"]), []],
    ["is a task whose node counts as failed", rolling(both), seen(["new"], "failed"), ["new"]],
    ["is nothing where all tasks are new", rolling([{ id: "new", revision: 2 }]), seen([]), []],
    ["is no old task", rolling(both), seen(["new"]), []],
  ];
  for (const [name, state, observations, expected] of cases) {
    t.test(name, async (t) => {
      t.strictSame(awaitedTasks(state, observations), expected as readonly TaskId[]);
    });
  }

  t.test("is told of up to a bound", async (t) => {
    const many = Array.from({ length: 200 }, (_, i) => ({ id: `t${i}`, revision: 2 }));
    const state = rolling([{ id: "old", revision: 1 }, ...many]);
    t.equal(awaitedTasks(state, seen([])).length, maxAwaitedTasks);
  });

  t.test("is told at once to who has not confirmed routes with a new task", async (t) => {
    t.equal(isAwaitedHere(rolling(both), 10), true);
    t.equal(isAwaitedHere(rolling(both), 11), false);
    t.equal(isAwaitedHere(rolling([{ id: "new", revision: 2 }]), 0), false);
  });
});
