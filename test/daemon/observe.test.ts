import t from "tap";
import type { Member, NodeReport, TaskStatus } from "../../src/cluster/index.ts";
import { observe } from "../../src/daemon/observe.ts";
import { Cell, type NodeId, nodeId, taskId } from "../../src/kernel/index.ts";

type Records = ReadonlyMap<NodeId, { readonly body: Uint8Array }>;

const n1 = nodeId("n1");

function reportOf(appliedIndex: number, phase: TaskStatus["phase"]): NodeReport {
  return {
    nodeId: n1,
    skeinVersion: "1",
    runtime: "memory",
    runtimeVersion: "1",
    platform: { os: "linux", arch: "x64" },
    capacity: { cpuMillis: 1_000, memoryBytes: 1_000 },
    httpPort: 80,
    routesIndex: 0,
    appliedIndex,
    tasks: [
      {
        taskId: taskId("t1"),
        phase,
        health: "none",
        restarts: 0,
        endpoints: [],
        hostPorts: [],
        message: "",
        sinceMs: 1,
      },
    ],
  };
}

t.test(
  "a report that says nothing new of its tasks keeps the list of the one before",
  async (t) => {
    const bodies: NodeReport[] = [];
    const records = new Cell<Records>(new Map());
    const members = new Cell<ReadonlyMap<NodeId, Member>>(new Map());
    const { cell } = observe({ members, records }, (body) => bodies[body[0] ?? 0]);
    const hear = (report: NodeReport) => {
      bodies.push(report);
      records.set(new Map([[n1, { body: new Uint8Array([bodies.length - 1]) }]]));
      return cell.get().reports.get(n1);
    };
    const first = hear(reportOf(1, "running"));
    const second = hear(reportOf(2, "running"));
    t.equal(second?.appliedIndex, 2);
    t.equal(second?.tasks, first?.tasks);
    t.strictSame(hear(reportOf(3, "stopping")), reportOf(3, "stopping"));
  },
);
