import t from "tap";
import { type Facts, serviceViews, taskViews } from "../../src/api/views-of-state.ts";
import { listTasks } from "../../src/cli/commands/see.ts";
import type { Session } from "../../src/cli/session.ts";
import type { Member, NodeReport, TaskStatus } from "../../src/cluster/index.ts";
import { nodeId, serviceKey, taskId } from "../../src/kernel/index.ts";
import { applyAll, clusterOf, serviceSpec, task, template } from "../builders.ts";

const n1 = nodeId("n1");
const companion = {
  ...template({ exposedPorts: [] }),
  name: "sidecar",
  role: "companion" as const,
};
const spec = serviceSpec({ template: template({ pod: { main: "web", others: [companion] } }) });

function facts(status: Partial<TaskStatus> | undefined, member: Member["status"]): Facts {
  const state = {
    ...applyAll([{ kind: "put_services", specs: [spec], nowMs: 0 }], clusterOf("n1")),
    tasks: new Map([[taskId("t1"), task()]]),
  };
  const known: TaskStatus = {
    taskId: taskId("t1"),
    phase: "running",
    health: "none",
    restarts: 0,
    endpoints: [],
    hostPorts: [],
    message: "",
    sinceMs: 0,
    ...status,
  };
  const report: NodeReport = {
    nodeId: n1,
    skeinVersion: "1",
    runtime: "memory",
    runtimeVersion: "1",
    platform: { os: "linux", arch: "amd64" },
    capacity: { cpuMillis: 1, memoryBytes: 1 },
    httpPort: 80,
    routesIndex: 0,
    appliedIndex: 0,
    tasks: status === undefined ? [] : [known],
  };
  const log = {
    term: 1,
    leader: n1,
    commitIndex: 1,
    appliedIndex: 1,
    voters: [n1],
    learners: [],
    hasQuorum: true,
  };
  return {
    self: n1,
    version: "1",
    state,
    observations: {
      members: new Map([[n1, { status: member, sinceMs: 0 }]]),
      reports: new Map([[n1, report]]),
    },
    log: log as unknown as Facts["log"],
    pending: new Map(),
  };
}

/** What `skein ps` prints of them. */
async function printed(of: Facts): Promise<string> {
  let text = "";
  const session = {
    output: "text",
    client: {
      call: async (route: string) => {
        if (route === "listTasks") return taskViews(of, {});
        return route === "listServices" ? serviceViews(of) : { quorum: { hasQuorum: true } };
      },
    },
    now: () => 0,
    print: (more: string) => {
      text += more;
    },
    note: () => undefined,
    signal: new AbortController().signal,
  };
  await listTasks(session as unknown as Session, undefined);
  return text;
}

const part = (name: string, state: "waiting" | "running" | "succeeded" | "failed") => ({
  name,
  role: name === "web" ? ("main" as const) : ("companion" as const),
  state,
  health: "none" as const,
});

const cases: readonly {
  readonly phase: string;
  readonly status: Partial<TaskStatus> | undefined;
  readonly member?: Member["status"];
  /** For how long it has been so. */
  readonly forMs?: number;
  readonly ready?: string;
}[] = [
  { phase: "Pending", status: undefined, ready: "0/2" },
  { phase: "Pending", status: { phase: "preparing" }, ready: "0/2" },
  {
    phase: "Pending",
    status: { phase: "starting", containers: [part("web", "running")] },
    ready: "1/2",
  },
  {
    phase: "Running",
    status: { containers: [part("web", "running"), part("sidecar", "running")] },
    ready: "2/2",
  },
  { phase: "Succeeded", status: { phase: "completed" } },
  { phase: "Failed", status: { phase: "failed" } },
  { phase: "Unknown", status: {}, member: "failed" },
  { phase: "Unknown", status: {}, member: "left" },
  { phase: "Running", status: {}, member: "suspect" },
  { phase: "Unknown", status: {}, member: "suspect", forMs: 60_000 },
];

for (const { phase, status, member = "alive", forMs = 0, ready = "" } of cases) {
  const what = `${status?.phase ?? "unreported"} on a node that is ${member} for ${forMs} ms`;
  t.test(`[D2] a pod that is ${what} is shown as ${phase}`, async (t) => {
    const of = { ...facts(status, member), nowMs: forMs };
    t.equal(taskViews(of, {})[0]?.phase, phase);
    t.match(await printed(of), new RegExp(`web\\.1 +\\w+ ${ready}.*${phase}`));
  });
}

t.test("[C4] [D2] what waits for room is shown as Pending, with the reason", async (t) => {
  const of = facts({}, "alive");
  const mode = { kind: "replicated", replicas: 3 } as const;
  const wanted = serviceSpec({ ...spec, mode });
  const put = { kind: "put_services", specs: [wanted], nowMs: 0 } as const;
  const text = await printed({
    ...of,
    state: applyAll([put], of.state),
    pending: new Map([[serviceKey("shop", "web"), ["no node has 2 CPUs free"]]]),
  });
  t.match(text, /web \(2 more\) +pending +Pending .*no node has 2 CPUs free \(skein why web\)/);
});
