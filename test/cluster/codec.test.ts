import t from "tap";
import { decodeCommand, encodeCommand } from "../../src/cluster/command-codec.ts";
import {
  ClusterStore,
  type Command,
  decodeReport,
  encodeReport,
  type NodeReport,
} from "../../src/cluster/index.ts";
import { nodeId, seededRandom, serviceKey, taskId } from "../../src/kernel/index.ts";
import { clusterNode, serviceSpec, task } from "../builders.ts";

const commands: readonly Command[] = [
  { kind: "bootstrap", clusterId: "c1", node: clusterNode("n1"), maxVoters: 3 },
  { kind: "set_max_voters", maxVoters: 7 },
  { kind: "put_services", specs: [serviceSpec()], nowMs: 5 },
  {
    kind: "update_tasks",
    basedOn: { "shop/web": 3 },
    create: [task({ replaces: taskId("t0") })],
    stop: [],
    forget: [],
    rollouts: [],
  },
  {
    kind: "update_tasks",
    basedOn: {},
    create: [],
    stop: [],
    forget: [],
    rollouts: [],
    runs: [
      {
        service: serviceKey("shop", "web"),
        change: {
          kind: "start",
          run: {
            number: 1,
            trigger: "schedule",
            dueAtMs: 60_000,
            revision: 1,
            startedAtMs: 60_100,
            state: "active",
            message: "",
          },
        },
      },
      {
        service: serviceKey("shop", "web"),
        change: { kind: "end", number: 1, state: "failed", atMs: 70_000, message: "exit code 1" },
      },
    ],
    results: [
      {
        id: taskId("t1"),
        result: { outcome: "failed", exitCode: 1, message: "exited", atMs: 70_000 },
      },
    ],
  },
  { kind: "steer_rollout", service: serviceKey("shop", "web"), action: "resume", nowMs: 9 },
  {
    kind: "update_tasks",
    basedOn: {},
    create: [],
    stop: [],
    forget: [],
    rollouts: [
      { service: serviceKey("shop", "web"), state: "paused", cause: "canary" },
      { service: serviceKey("shop", "api"), state: "normal", promoted: 4 },
    ],
    traffic: [{ service: serviceKey("shop", "web"), revision: 3, atMs: 8 }],
  },
  { kind: "trigger_job", service: serviceKey("shop", "web"), nowMs: 80_000 },
  { kind: "set_quota", namespace: "shop", quota: { cpuMillis: 4_000, tasks: 20 } },
  { kind: "remove_namespace", namespace: "old", expected: { "old/web": [3] } },
  {
    kind: "scale_service",
    service: serviceKey("shop", "web"),
    replicas: 3,
    nowMs: 85_000,
    expected: { "shop/web": [0, 4] },
  },
  {
    kind: "suspend_schedule",
    service: serviceKey("shop", "web"),
    isSuspended: true,
    nowMs: 90_000,
  },
  { kind: "set_eligibility", nodeId: nodeId("n1"), eligibility: "drain" },
  { kind: "label_node", nodeId: nodeId("n1"), labels: { disk: "ssd", zone: null } },
];

t.test("a command reads back as it was written", async (t) => {
  for (const command of commands) t.strictSame(decodeCommand(encodeCommand(command)), command);
});

t.test("damaged bytes are no command, and never a crash", async (t) => {
  const random = seededRandom(7);
  const bytes = encodeCommand(commands[2] as Command);
  let crashes = 0;
  for (let round = 0; round < 2_000; round += 1) {
    const damaged = Buffer.from(bytes.subarray(0, Math.ceil(random.next() * bytes.length)));
    damaged[Math.floor(random.next() * damaged.length)] = Math.floor(random.next() * 256);
    try {
      decodeCommand(damaged);
    } catch {
      crashes += 1;
    }
  }
  t.equal(crashes, 0);
});

t.test("a snapshot restores the same state", async (t) => {
  const store = new ClusterStore();
  commands.forEach((command, i) => {
    store.apply({ index: i + 1, data: encodeCommand(command) });
  });
  store.apply({ index: commands.length + 1, data: new Uint8Array([1, 2, 3]) });
  const other = new ClusterStore();
  other.restore(store.snapshot(), commands.length + 1);
  t.strictSame(other.state.get(), store.state.get());
  t.equal(other.state.get().tasks.size, 1);
  t.equal(other.state.get().maxVoters, 7);
});

const report: NodeReport = {
  nodeId: nodeId("n1"),
  skeinVersion: "0.1.0",
  runtime: "memory",
  runtimeVersion: "",
  platform: { os: "linux", arch: "amd64" },
  capacity: { cpuMillis: 1, memoryBytes: 1 },
  usage: { cpuMillis: 1, memoryBytes: 1, diskBytes: 1, diskCapacityBytes: 2 },
  httpPort: 80,
  routesIndex: 0,
  appliedIndex: 0,
  feeder: nodeId("n2"),
  tasks: [],
};

t.test("a report counts only when it is of its owner", async (t) => {
  const bytes = encodeReport(report);
  t.strictSame(decodeReport(bytes, "n1"), report);
  t.equal(decodeReport(bytes, "n2"), undefined);
});

t.test("a newer daemon's report is read as far as it is understood", async (t) => {
  const newer = {
    ...report,
    runtime: "firecracker",
    usage: { ...report.usage, gpuMillis: 5 },
    gpus: [{ name: "a" }],
  };
  const read = decodeReport(encodeReport(newer as NodeReport), "n1");
  t.strictSame(read, { ...report, runtime: "firecracker" });
});
