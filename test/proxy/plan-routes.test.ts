import t from "tap";
import type {
  ClusterState,
  MemberStatus,
  NodeReport,
  Observations,
  Task,
  TaskStatus,
} from "../../src/cluster/index.ts";
import { nodeId, serviceKey, taskId } from "../../src/kernel/index.ts";
import { planRoutes } from "../../src/proxy/index.ts";
import { splitAddress } from "../../src/proxy/plan-routes.ts";
import type { ServiceSpec } from "../../src/spec/index.ts";
import { clusterOf, serviceSpec, task } from "../builders.ts";

const web = serviceKey("shop", "web");

type Replica = {
  readonly id: string;
  readonly node: string;
  readonly desired?: Task["desired"];
  readonly revision?: number;
  readonly phase?: TaskStatus["phase"];
  readonly health?: TaskStatus["health"];
};

function status({ id, phase = "running", health = "none" }: Replica): TaskStatus {
  return {
    taskId: taskId(id),
    phase,
    health,
    restarts: 0,
    endpoints: [{ target: 80, address: "172.17.0.2", port: 80 }],
    hostPorts: [],
    message: "",
    sinceMs: 0,
  };
}

function report(node: string, replicas: readonly Replica[]): NodeReport {
  return {
    nodeId: nodeId(node),
    skeinVersion: "0",
    runtime: "memory",
    runtimeVersion: "0",
    platform: { os: "linux", arch: "x64" },
    capacity: { cpuMillis: 1, memoryBytes: 1 },
    httpPort: 80,
    routesIndex: 0,
    appliedIndex: 0,
    tasks: replicas.map(status),
  };
}

/** Three nodes, of which n1 plans, and one service with these replicas. */
function facts(
  replicas: readonly Replica[],
  {
    members = {},
    traffic,
    spec = serviceSpec({ ports: [port(8080)] }),
  }: {
    members?: Readonly<Record<string, MemberStatus>>;
    traffic?: readonly number[];
    spec?: ServiceSpec;
  } = {},
): { state: ClusterState; observations: Observations; self: ReturnType<typeof nodeId> } {
  const nodes = ["n1", "n2", "n3"];
  const tasks = replicas.map(({ id, node, desired = "running", revision = 1 }) =>
    task({ id: taskId(id), nodeId: nodeId(node), desired, revision }),
  );
  const service = {
    spec,
    revision: 1,
    version: 1,
    createdAtMs: 0,
    updatedAtMs: 0,
    rollout: "normal" as const,
    templates: new Map(),
    ...(traffic && { traffic: { revisions: traffic, before: [], sinceMs: 0 } }),
  };
  return {
    self: nodeId("n1"),
    state: {
      ...clusterOf(...nodes),
      index: 7,
      services: new Map([[web, service]]),
      tasks: new Map(tasks.map((each) => [each.id, each])),
    },
    observations: {
      members: new Map(
        nodes.map((name) => [nodeId(name), { status: members[name] ?? "alive", sinceMs: 0 }]),
      ),
      reports: new Map(
        nodes.map((name) => [
          nodeId(name),
          report(
            name,
            replicas.filter((r) => r.node === name),
          ),
        ]),
      ),
    },
  };
}

function port(published: number, overrides: Partial<ServiceSpec["ports"][number]> = {}) {
  const defaults = { target: 80, protocol: "tcp", mode: "ingress", appProtocol: "auto" } as const;
  return { ...defaults, published, ...overrides };
}

function chosen(...args: Parameters<typeof facts>): readonly string[] | undefined {
  const { publishedPorts } = planRoutes(facts(...args));
  return publishedPorts[0]?.backend.endpoints.map((each) => each.taskId);
}

const cases: readonly {
  readonly name: string;
  readonly args: Parameters<typeof facts>;
  readonly expected: readonly string[];
}[] = [
  {
    name: "serving replicas take part, by task id",
    args: [
      [
        { id: "c", node: "n1" },
        { id: "a", node: "n2" },
        { id: "b", node: "n3" },
      ],
    ],
    expected: ["a", "b", "c"],
  },
  {
    name: "[E6] of two versions side by side only the one that has the traffic takes part",
    args: [
      [
        { id: "a", node: "n1" },
        { id: "b", node: "n2", revision: 2 },
        { id: "c", node: "n3" },
      ],
      { traffic: [1] },
    ],
    expected: ["a", "c"],
  },
  {
    name: "[E6] the traffic moves with the agreed state alone",
    args: [
      [
        { id: "a", node: "n1" },
        { id: "b", node: "n2", revision: 2 },
        { id: "c", node: "n3" },
      ],
      { traffic: [2] },
    ],
    expected: ["b"],
  },
  {
    name: "a node that knows none of those with the traffic sends it to what it knows",
    args: [
      [
        { id: "a", node: "n1" },
        { id: "b", node: "n2", revision: 2, health: "starting" },
      ],
      { traffic: [2] },
    ],
    expected: ["a"],
  },
  {
    name: "one that should stop gets nothing new",
    args: [
      [
        { id: "a", node: "n1", desired: "stopped" },
        { id: "b", node: "n2" },
      ],
    ],
    expected: ["b"],
  },
  {
    name: "one that is not running or not healthy gets nothing",
    args: [
      [
        { id: "a", node: "n1", phase: "starting" },
        { id: "b", node: "n2", health: "unhealthy" },
        { id: "c", node: "n2", health: "starting" },
        { id: "d", node: "n3", health: "healthy" },
        { id: "e", node: "n3", phase: "failed" },
      ],
    ],
    expected: ["d"],
  },
  {
    name: "a suspect node is passed over while there is another",
    args: [
      [
        { id: "a", node: "n2" },
        { id: "b", node: "n3" },
      ],
      { members: { n2: "suspect" } },
    ],
    expected: ["b"],
  },
  {
    name: "a suspect node is better than none",
    args: [
      [
        { id: "a", node: "n2" },
        { id: "b", node: "n3" },
      ],
      { members: { n2: "suspect", n3: "failed" } },
    ],
    expected: ["a"],
  },
  {
    name: "a failed node and one that left never take part",
    args: [
      [
        { id: "a", node: "n2" },
        { id: "b", node: "n3" },
      ],
      { members: { n2: "left", n3: "failed" } },
    ],
    expected: [],
  },
  {
    name: "a node serves its own replicas whatever the others think of it",
    args: [[{ id: "a", node: "n1" }], { members: { n1: "suspect" } }],
    expected: ["a"],
  },
];

t.test("the replicas behind a published port", async (t) => {
  for (const { name, args, expected } of cases) t.strictSame(chosen(...args), expected, name);
});

t.test(
  "a replica here is reached directly, one elsewhere through its node's one port",
  async (t) => {
    const { publishedPorts, stateIndex } = planRoutes(
      facts([
        { id: "a", node: "n1" },
        { id: "b", node: "n2" },
      ]),
    );
    t.equal(stateIndex, 7);
    t.strictSame(publishedPorts, [
      {
        port: 8080,
        appProtocol: "auto",
        backend: {
          service: web,
          endpoints: [
            { taskId: "a", target: 80, via: { kind: "local", address: "172.17.0.2", port: 80 } },
            {
              taskId: "b",
              target: 80,
              via: { kind: "node", nodeId: "n2", host: "n2", port: 7946 },
            },
          ],
        },
      },
    ]);
  },
);

t.test("only ingress TCP ports with a number are published", async (t) => {
  const spec = serviceSpec({
    ports: [
      port(9000, { mode: "host" }),
      port(9001, { protocol: "udp" }),
      { target: 80, protocol: "tcp", mode: "ingress", appProtocol: "auto" },
      port(9003, { appProtocol: "tcp" }),
      port(9002, { target: 81 }),
    ],
  });
  const { publishedPorts } = planRoutes(facts([{ id: "a", node: "n1" }], { spec }));
  t.match(publishedPorts, [
    { port: 9002, backend: { endpoints: [] } },
    { port: 9003, appProtocol: "tcp", backend: { endpoints: [{ taskId: "a" }] } },
  ]);
  t.equal(publishedPorts.length, 2);
});

t.test("ingress rules become host routes", async (t) => {
  const ingress = [
    { host: "b.example", path: "/", port: 80 },
    { host: "a.example", path: "/x", port: 80 },
  ];
  const spec = serviceSpec({ ingress });
  const { hostRoutes } = planRoutes(facts([{ id: "a", node: "n3" }], { spec }));
  t.match(hostRoutes, [
    { host: "a.example", path: "/x", backend: { service: web, endpoints: [{ taskId: "a" }] } },
    { host: "b.example", path: "/" },
  ]);
});

t.test("draining replicas are still lent to the neighbours, ended ones are not", async (t) => {
  const { local } = planRoutes(
    facts([
      { id: "a", node: "n1", desired: "stopped" },
      { id: "b", node: "n1", phase: "stopping" },
      { id: "c", node: "n1", phase: "completed" },
      { id: "d", node: "n2" },
    ]),
  );
  t.strictSame(
    local.map((each) => each.taskId),
    ["a", "b"],
  );
});

t.test("nodes that do not answer are named, those never heard of are not", async (t) => {
  const given = facts([], { members: { n2: "suspect", n3: "failed" } });
  t.strictSame(planRoutes(given).silentNodes, [
    { nodeId: "n2", isLost: false },
    { nodeId: "n3", isLost: true },
  ]);
  const nobody = { ...given, observations: { ...given.observations, members: new Map() } };
  t.strictSame(planRoutes(nobody).silentNodes, []);
});

t.test("addresses", async (t) => {
  t.strictSame(splitAddress("10.0.0.1:7946"), { host: "10.0.0.1", port: 7946 });
  t.strictSame(splitAddress("[fd00::1]:7946"), { host: "fd00::1", port: 7946 });
  for (const bad of ["", "host", "host:0", "host:70000", "fd00::1:7946", ":1"]) {
    t.equal(splitAddress(bad), undefined, bad);
  }
});

t.test("to a node that nobody can connect to leads a detour, from itself none", async (t) => {
  const before = facts([
    { id: "a", node: "n1" },
    { id: "b", node: "n2" },
  ]);
  const reports = new Map(before.observations.reports);
  for (const name of ["n1", "n2"]) {
    const known = reports.get(nodeId(name));
    if (known !== undefined) reports.set(nodeId(name), { ...known, isDialOutOnly: true });
  }
  const plan = planRoutes({ ...before, observations: { ...before.observations, reports } });
  t.match(plan.publishedPorts[0]?.backend.endpoints, [
    { taskId: "a", via: { kind: "local" } },
    { taskId: "b", via: { kind: "node", nodeId: "n2", isDetour: true } },
  ]);
  const direct = planRoutes(before).publishedPorts[0]?.backend.endpoints[1];
  t.notOk(direct?.via.kind === "node" && direct.via.isDetour);
});
