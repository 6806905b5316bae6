import t from "tap";
import type { TaskStatus } from "../../src/cluster/index.ts";
import {
  logStatusEvents,
  MemberWatch,
  PendingWatch,
  quorumEvent,
  taskStatusEvents,
} from "../../src/events/index.ts";
import { nodeId, serviceKey, taskId } from "../../src/kernel/index.ts";
import { clusterOf } from "../builders.ts";

const startedAtMs = 1_000;

function status(changes: Partial<TaskStatus> = {}): TaskStatus {
  return {
    taskId: taskId("a"),
    phase: "running",
    health: "none",
    restarts: 0,
    endpoints: [],
    hostPorts: [],
    message: "",
    sinceMs: 2_000,
    containerId: "0123456789abcdef",
    ...changes,
  };
}

const about = (id: string) => ({ object: { kind: "task", name: "web.1", id }, node: "n1" });

function told(...steps: readonly (TaskStatus | undefined)[]): string[] {
  let before: readonly TaskStatus[] = [];
  return steps.flatMap((step) => {
    const after = step === undefined ? [] : [step];
    const drafts = taskStatusEvents(before, after, about, { startedAtMs });
    before = after;
    return drafts.map(({ reason, message }) => `${reason}: ${message}`);
  });
}

t.test(
  "[G3] unhealthy with the last probe, restarted with the reason, healthy again",
  async (t) => {
    const unhealthy = "The container is unhealthy: The command ended with exit code 7. no disk";
    t.strictSame(
      told(
        status({ phase: "preparing", sinceMs: 1_500 }),
        status({ health: "starting" }),
        status({ health: "healthy" }),
        status({ health: "unhealthy", message: "The command ended with exit code 7. no disk" }),
        status({ phase: "preparing", restarts: 1, message: unhealthy, sinceMs: 3_000 }),
        status({ restarts: 1, health: "starting", message: unhealthy, sinceMs: 3_100 }),
        status({ restarts: 1, health: "healthy", message: unhealthy, sinceMs: 3_100 }),
      ),
      [
        "Started: Container 0123456789ab runs.",
        "Healthy: The health check passes.",
        "Unhealthy: The command ended with exit code 7. no disk",
        `Restarted: ${unhealthy} Restart 1, at once.`,
        "Started: Container 0123456789ab runs.",
        "Healthy: The health check passes.",
      ],
    );
  },
);

t.test("[B6] an end is told with exit code and back-off, giving up too", async (t) => {
  const message = "The container exited (exit code 3).";
  const waiting = { phase: "preparing", message, exitCode: 3, sinceMs: 3_000 } as const;
  t.strictSame(
    told(
      status(),
      status({ ...waiting, restarts: 2, retryAtMs: 7_000 }),
      status({ restarts: 2, message, exitCode: 3, sinceMs: 7_000 }),
      status({ phase: "failed", restarts: 2, message, exitCode: 3, sinceMs: 8_000 }),
    ),
    [
      "Started: Container 0123456789ab runs.",
      `Restarted: ${message} Restart 2, in 4 s.`,
      "Started: Container 0123456789ab runs.",
      `Failed: ${message}`,
    ],
  );
});

t.test("what could not be started, what is done, and what was stopped", async (t) => {
  const message = "There is no image web:9.";
  t.strictSame(
    told(
      status({ phase: "preparing" }),
      status({ phase: "preparing", restarts: 1, message, retryAtMs: 3_000, sinceMs: 2_000 }),
    ),
    [`StartFailed: ${message} Attempt 2, in 1 s.`],
  );
  t.strictSame(told(status(), status({ phase: "completed", exitCode: 0 }), undefined), [
    "Started: Container 0123456789ab runs.",
    "Completed: It ended (exit code 0).",
  ]);
  t.strictSame(told(status(), status({ phase: "stopping" }), undefined), [
    "Started: Container 0123456789ab runs.",
    "Stopped: The container has ended.",
  ]);
});

t.test("of a container from before the daemon only what changes is told", async (t) => {
  const old = { sinceMs: 500, health: "starting" } as const;
  t.strictSame(told(status(old), status({ ...old, health: "healthy" })), []);
  const proven = { ...old, sinceMs: 2_000, health: "healthy" } as const;
  t.strictSame(told(status(old), status(proven)), [], "it is up since its first probe");
  t.strictSame(told(status(old), status({ ...proven, restarts: 1 })).slice(1), [
    "Started: Container 0123456789ab runs.",
    "Healthy: The health check passes.",
  ]);
  t.strictSame(told(status({ phase: "completed", ...old })), []);
  t.strictSame(told(status(old), status({ ...old, health: "unhealthy", message: "no" })), [
    "Unhealthy: no",
  ]);
});

t.test(
  "machines that do not answer are told of, once, and the lonely one blames itself",
  async (t) => {
    const state = clusterOf("n1", "n2", "n3");
    const members = (statuses: Readonly<Record<string, string>>, incarnation = 4) =>
      new Map(
        Object.entries({ n1: "alive", ...statuses }).map(([name, each]) => [
          nodeId(name),
          { status: each as "alive", incarnation },
        ]),
      );
    const watch = new MemberWatch(nodeId("n1"), members({ n2: "alive", n3: "alive" }));
    const next = (statuses: Readonly<Record<string, string>>) =>
      watch
        .changes(members(statuses), state)
        .map(({ reason, object, key }) => `${reason} ${object.name} ${key ?? "own"}`);
    t.strictSame(next({ n2: "suspect", n3: "alive" }), ["NodeSuspect n2 NodeSuspect/n2/4"]);
    t.strictSame(next({ n2: "suspect", n3: "alive" }), []);
    t.strictSame(next({ n2: "failed", n3: "alive" }), ["NodeFailed n2 NodeFailed/n2/4"]);
    t.strictSame(next({ n2: "failed", n3: "suspect" }), ["NodeIsolated n1 own"]);
    t.strictSame(next({ n2: "alive", n3: "alive" }), [
      "NodeConnected n1 own",
      "NodeAlive n2 NodeAlive/n2/4",
    ]);
  },
);

t.test("a machine that was only admitted is not missed before it was heard of", async (t) => {
  const state = clusterOf("n1", "n2");
  const watch = new MemberWatch(nodeId("n1"), new Map());
  const reasons = ["failed", "failed", "alive", "suspect"].map((status) => {
    const members = new Map([[nodeId("n2"), { status: status as "alive", incarnation: 1 }]]);
    return watch.changes(members, state).map(({ reason }) => reason);
  });
  t.strictSame(reasons, [[], [], [], ["NodeSuspect"]]);
});

t.test("leaders and voters are told by voters, alike; the quorum by each for itself", async (t) => {
  const state = clusterOf("n1", "n2", "n3");
  const [n1, n2, n3] = [nodeId("n1"), nodeId("n2"), nodeId("n3")];
  const before = { leader: n1, term: 3, voters: [n1] };
  const after = { leader: n2, term: 4, voters: [n2, n1] };
  const drafts = logStatusEvents(before, after, { self: n1, state });
  t.strictSame(
    drafts.map(({ reason, message }) => `${reason}: ${message}`),
    ["LeaderChanged: n2 leads since term 4.", "VotersChanged: Voters are now n1, n2."],
  );
  t.strictSame(logStatusEvents(before, after, { self: n2, state }), drafts);
  t.strictSame(logStatusEvents(before, after, { self: n3, state }), []);
  t.strictSame(logStatusEvents(after, after, { self: n1, state }), []);
  t.equal(quorumEvent(false, { self: n1, state }).reason, "QuorumLost");
});

t.test("what waits is told once, not for every number that changes", async (t) => {
  const pending = (slot: number, message: string, code = "insufficient_cpu") => ({
    service: serviceKey("shop", "web"),
    slot,
    cause: "unplaceable" as const,
    message,
    nodes: [{ nodeName: "n1", code }],
  });
  const watch = new PendingWatch();
  t.match(watch.changes([pending(1, "n1: 0.5 needed"), pending(2, "n1: 0.5 needed")]), [
    {
      reason: "Pending",
      object: { name: "web.1" },
      message: "n1: 0.5 needed (And 1 more of the service.)",
    },
  ]);
  t.strictSame(watch.changes([pending(1, "n1: 0.4 needed")]), []);
  t.equal(watch.changes([pending(1, "n1: drained", "draining")]).length, 1);
  t.strictSame(watch.changes([]), []);
  t.equal(watch.changes([pending(1, "n1: drained", "draining")]).length, 1, "and again later");
});
