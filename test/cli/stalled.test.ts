import t from "tap";
import { ApiClient, type ServiceView, type TaskView } from "../../src/api/index.ts";
import type { Session } from "../../src/cli/session.ts";
import { StallWatch } from "../../src/cli/stalled.ts";
import { serviceSpec, template } from "../builders.ts";

function service(overrides: Partial<ServiceView> = {}): ServiceView {
  return {
    namespace: "shop",
    name: "web",
    mode: "replicated",
    desired: 2,
    running: 0,
    updated: 0,
    stopping: 0,
    revision: 1,
    version: 1,
    standby: 0,
    pauseCause: null,
    rollout: "normal",
    image: "web:1",
    endpoints: [],
    pending: [],
    createdAt: "1970-01-01T00:00:00Z",
    updatedAt: "1970-01-01T00:00:00Z",
    spec: serviceSpec(),
    job: null,
    ...overrides,
  };
}

function task(overrides: Partial<TaskView>): TaskView {
  return {
    id: "t1",
    name: "web.1",
    namespace: "shop",
    service: "web",
    slot: 1,
    revision: 1,
    desired: "running",
    status: "starting",
    phase: "Pending",
    run: null,
    placement: "",
    createdAtIndex: 1,
    health: "none",
    restarts: 0,
    node: "n1",
    nodeId: "n1",
    image: "web:1",
    containerId: null,
    containers: [],
    ports: [],
    exitCode: null,
    message: "",
    reason: "",
    createdAt: "1970-01-01T00:00:00Z",
    ...overrides,
  };
}

/** A watch over tasks that stay as they are, looked at every second of a clock that is turned. */
function watching(tasks: readonly TaskView[]) {
  let nowMs = 0;
  const client = new ApiClient({
    send: async () => ({
      status: 200,
      lines: (async function* () {
        yield JSON.stringify(tasks);
      })(),
    }),
  });
  const session: Session = {
    client,
    output: "table",
    environment: {},
    workingDirectory: "/",
    namespace: undefined,
    print: () => undefined,
    note: () => undefined,
    setExitCode: () => undefined,
    now: () => nowMs,
    signal: new AbortController().signal,
  };
  const stall = new StallWatch(session, "shop");
  /** Looks every second for so long, at what the service is at each second. */
  return async (seconds: number, at: (second: number) => ServiceView) => {
    for (let second = 0; second < seconds; second += 1) {
      nowMs += 1_000;
      await stall.look([at(second)]);
    }
  };
}

t.test("tasks that die over and over are given up on, with their words", async (t) => {
  const look = watching([
    task({ restarts: 5, message: "The container exited (exit code 1)." }),
    task({ name: "web.2", node: "n2", status: "failed", message: "no such image" }),
  ]);
  // Up for a moment now and then, which is no progress.
  await t.rejects(
    look(120, (second) => service({ running: second % 2, updated: second % 2 })),
    {
      code: "failed",
      message:
        /do not stay up.*web\.1 on n1: starting, .*exit code 1.*web\.2 on n2: failed, no such image/s,
    },
  );
});

t.test("what says nothing is given up on later, and its health check has its time", async (t) => {
  await t.rejects(
    watching([task({})])(120, () => service()),
    { code: "timed_out", message: /come no further for 6\d s: 0 of 2 run/ },
  );
  const healthCheck = {
    test: { kind: "tcp", port: 80 },
    intervalMs: 1_000,
    timeoutMs: 1_000,
    retries: 3,
    startPeriodMs: 300_000,
    startIntervalMs: 1_000,
  } as const;
  const spec = serviceSpec({ template: template({ healthCheck }) });
  const slow = watching([task({ status: "running", health: "starting" })]);
  await slow(300, () => service({ spec }));
  await t.rejects(
    slow(100, () => service({ spec })),
    { code: "timed_out" },
  );
});

t.test("an image that is being pulled, and tasks that come one by one, have time", async (t) => {
  await watching([task({ status: "preparing" })])(500, () => service());
  const steady = watching([task({})]);
  const at = (second: number) => {
    const updated = Math.floor(second / 50);
    return service({ desired: 10, running: updated, updated });
  };
  await t.resolves(steady(500, at));
});
