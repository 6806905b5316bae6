import t from "tap";
import { decodeReport, emptyClusterState, type TaskStatus } from "../../src/cluster/index.ts";
import { startReportLoop } from "../../src/daemon/report-loop.ts";
import { Cell, nodeId, taskId } from "../../src/kernel/index.ts";
import { VirtualClock } from "../agent/virtual-clock.ts";

const status: TaskStatus = {
  taskId: taskId("t1"),
  phase: "running",
  health: "none",
  restarts: 0,
  endpoints: [],
  hostPorts: [],
  message: "",
  sinceMs: 0,
};

t.test("a daemon says nothing of its tasks before it has seen its containers", async (t) => {
  const clock = new VirtualClock();
  const state = new Cell({ ...emptyClusterState, index: 7 });
  const statuses = new Cell<readonly TaskStatus[]>([]);
  const hasLooked = new Cell(false);
  const isEngineSilent = new Cell(false);
  const published: Uint8Array[] = [];
  using _loop = startReportLoop({
    self: nodeId("n1"),
    fixed: {
      skeinVersion: "0.1.0",
      runtime: "memory",
      runtimeVersion: "",
      platform: { os: "linux", arch: "amd64" },
      capacity: { cpuMillis: 1, memoryBytes: 1 },
      httpPort: 80,
    },
    state,
    statuses,
    hasLooked,
    isEngineSilent,
    routesIndex: new Cell(0),
    awaited: new Cell([]),
    log: new Cell({ appliedIndex: 7 }),
    usage: new Cell(undefined),
    isDialOutOnly: new Cell(false),
    digest: () => undefined,
    eventsHead: new Cell(0),
    pending: new Cell(new Map()),
    publish: (body) => published.push(body),
    clock,
  });
  await clock.advance(20_000);
  state.set({ ...state.get(), index: 8 });
  await clock.advance(100);
  t.equal(published.length, 0, "who hears of no tasks takes them for ended");
  statuses.set([status]);
  hasLooked.set(true);
  await clock.advance(100);
  const reports = published.map((body) => decodeReport(body, "n1"));
  t.match(reports, [{ appliedIndex: 8, tasks: [{ taskId: "t1", phase: "running" }] }]);
  isEngineSilent.set(true);
  await clock.advance(100);
  const last = decodeReport(published.at(-1) ?? new Uint8Array(), "n1");
  t.match(last, { isEngineSilent: true }, "at once, as nothing may be placed here then");
});
