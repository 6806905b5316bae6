import t from "tap";
import { ApiClient, type ServiceView, type TaskView } from "../../src/api/index.ts";
import { StallWatch } from "../../src/cli/stalled.ts";
import { serviceSpec, template } from "../builders.ts";
import { quietSession, serviceView, taskView } from "./views.ts";

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
  const session = quietSession(client, { now: () => nowMs });
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
    taskView({ restarts: 5, message: "The container exited (exit code 1)." }),
    taskView({ name: "web.2", node: "n2", status: "failed", message: "no such image" }),
  ]);
  // Up for a moment now and then, which is no progress.
  await t.rejects(
    look(120, (second) => serviceView({ running: second % 2, updated: second % 2 })),
    {
      code: "failed",
      message:
        /do not stay up.*web\.1 on n1: starting, .*exit code 1.*web\.2 on n2: failed, no such image/s,
    },
  );
});

t.test("what says nothing is given up on later, and its health check has its time", async (t) => {
  await t.rejects(
    watching([taskView()])(120, () => serviceView()),
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
  const slow = watching([taskView({ status: "running", health: "starting" })]);
  await slow(300, () => serviceView({ spec }));
  await t.rejects(
    slow(100, () => serviceView({ spec })),
    { code: "timed_out" },
  );
});

t.test("an image that is being pulled, and tasks that come one by one, have time", async (t) => {
  await watching([taskView({ status: "preparing" })])(500, () => serviceView());
  const steady = watching([taskView()]);
  const at = (second: number) => {
    const updated = Math.floor(second / 50);
    return serviceView({ desired: 10, running: updated, updated });
  };
  await t.resolves(steady(500, at));
});
