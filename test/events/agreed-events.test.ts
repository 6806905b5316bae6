import t from "tap";
import {
  apply,
  type ClusterState,
  type Command,
  emptyClusterState,
  type Task,
} from "../../src/cluster/index.ts";
import { agreedEvents, eventReasons, objectText } from "../../src/events/index.ts";
import { nodeId, serviceKey, taskId } from "../../src/kernel/index.ts";
import { clusterNode, clusterOf, serviceSpec, task, template } from "../builders.ts";

/** Plays commands and gives, of each, "REASON OBJECT: message". */
function told(commands: readonly Command[], from: ClusterState = emptyClusterState): string[] {
  let before = from;
  const lines: string[] = [];
  for (const command of commands) {
    const { state: after, outcome } = apply(before, before.index + 1, command);
    if (outcome.kind === "rejected") throw new Error(outcome.message);
    for (const event of agreedEvents({ before, after, command }, { timeMs: 5_000 })) {
      lines.push(`${event.reason} ${objectText(event.object)}: ${event.message}`);
    }
    before = after;
  }
  return lines;
}

const web = serviceKey("shop", "web");
const nowMs = 1_000;

function update(changes: Partial<Extract<Command, { kind: "update_tasks" }>>): Command {
  return {
    kind: "update_tasks",
    basedOn: {},
    create: [],
    stop: [],
    forget: [],
    rollouts: [],
    ...changes,
  };
}

function put(...specs: Parameters<typeof serviceSpec>[0][]): Command {
  return { kind: "put_services", specs: specs.map((spec) => serviceSpec(spec)), nowMs };
}

const one = { mode: { kind: "replicated", replicas: 1 } } as const;
const place = (id: string, node: string, more: Partial<Task> = {}) =>
  task({ id: taskId(id), nodeId: nodeId(node), reason: "Fills a free place.", ...more });

t.test("machines", async (t) => {
  const token = {
    id: "t1",
    role: "node",
    secretHash: "0".repeat(64),
    expiresAtMs: 9_000,
    createdAtMs: 0,
  } as const;
  t.strictSame(
    told([
      { kind: "bootstrap", clusterId: "c1", node: clusterNode("n1") },
      { kind: "put_token", token },
      { kind: "admit_node", node: clusterNode("n2"), tokenId: "t1", nowMs },
      { kind: "admit_node", node: clusterNode("n2"), nowMs },
      { kind: "admit_node", node: clusterNode("n2", { address: "n2:1" }), nowMs },
      { kind: "label_node", nodeId: nodeId("n2"), labels: { disk: "ssd" } },
      { kind: "set_eligibility", nodeId: nodeId("n2"), eligibility: "drain" },
      { kind: "set_eligibility", nodeId: nodeId("n2"), eligibility: "active" },
      { kind: "revoke_token", tokenId: "t1" },
      { kind: "set_max_voters", maxVoters: 3 },
      { kind: "recover", lost: [nodeId("n2")] },
    ]),
    [
      "ClusterCreated cluster: Cluster c1 was made.",
      "NodeJoined node/n1: n1 joined at n1:7946.",
      "TokenCreated cluster: Token t1 for role node was made.",
      "NodeJoined node/n2: n2 joined at n2:7946.",
      "NodeChanged node/n2: n2 at n2:7946 is now n2 at n2:1.",
      "NodeLabelled node/n2: Labels: disk is ssd.",
      "NodeDraining node/n2: Its tasks move elsewhere.",
      "NodeDrained node/n2: No task should run on it any more.",
      "NodeResumed node/n2: It gets work again.",
      "TokenRevoked cluster: Token t1 was revoked.",
      "VoterLimitChanged cluster: At most 3 nodes vote.",
      "NodeRemoved node/n2: n2 (n2:1) is no member any more. It was given up to recover the quorum.",
    ],
  );
});

t.test("a service comes, changes and goes, with revisions", async (t) => {
  t.strictSame(
    told(
      [
        put({}),
        put({}),
        put({ template: template({ image: "web:2" }) }),
        { kind: "scale_service", service: web, replicas: 5, nowMs },
        { kind: "roll_back_service", service: web, nowMs },
        { kind: "remove_services", services: [web] },
      ],
      clusterOf("n1"),
    ),
    [
      "ServiceCreated service/shop/web: Revision 1: image web:1, mode replicated, 3 replicas.",
      "ServiceUpdated service/shop/web: Revision 2: image web:1 -> web:2",
      "ServiceScaled service/shop/web: 3 -> 5 replicas.",
      "RollbackRequested service/shop/web: Revision 3 is revision 1 again.",
      "ServiceRemoved service/shop/web: shop/web was removed.",
    ],
  );
});

t.test("a value whose name says that it is secret does not show", async (t) => {
  const lines = told(
    [
      put({ template: template({ environment: { DB_PASSWORD: "old-value" } }) }),
      put({ template: template({ environment: { DB_PASSWORD: "new-value" } }) }),
    ],
    clusterOf("n1"),
  );
  t.match(lines[1], /ServiceUpdated .*environment DB_PASSWORD changed/);
  t.notMatch(lines.join(), /old-value|new-value/);
});

t.test("a task is placed with the arithmetic, and moved when its node is lost", async (t) => {
  const lines = told(
    [
      put(one),
      update({ create: [place("a", "n1", { placement: "n1 has 0 of this service." })] }),
      update({
        stop: [{ id: taskId("a"), reason: "Its node was lost." }],
        create: [place("b", "n2", { reason: "Replaces a, whose node was lost." })],
      }),
      update({ stop: [{ id: taskId("b"), reason: "Scaled down to 0 replicas." }] }),
    ],
    clusterOf("n1", "n2"),
  );
  t.strictSame(lines.slice(1), [
    "Placed task/shop/web.1: Fills a free place. n1 has 0 of this service.",
    "Stopping task/shop/web.1: Its node was lost.",
    "Moved task/shop/web.1: From n1. Replaces a, whose node was lost.",
    "Stopping task/shop/web.1: Scaled down to 0 replicas.",
  ]);
});

t.test("a replica that comes back after scaling was not moved", async (t) => {
  const lines = told(
    [
      put({}),
      update({ create: [place("a", "n1", { slot: 3 })] }),
      { kind: "scale_service", service: web, replicas: 2, nowMs },
      update({ stop: [{ id: taskId("a"), reason: "Scaled down to 2 replicas." }] }),
      { kind: "scale_service", service: web, replicas: 3, nowMs },
      update({ create: [place("b", "n2", { slot: 3 })] }),
    ],
    clusterOf("n1", "n2"),
  );
  t.match(lines.at(-1), /^Placed task\/shop\/web\.3/);
});

t.test("a task of a service that runs on every node is named after the node", async (t) => {
  const lines = told(
    [put({ mode: { kind: "global" } }), update({ create: [place("a", "n1")] })],
    clusterOf("n1"),
  );
  t.match(lines[1], /^Placed task\/shop\/web\.n1/);
});

t.test("[B6] a roll-out that fails says why it was rolled back or paused", async (t) => {
  const failing = [
    put(one),
    update({ create: [place("a", "n1")] }),
    put({ ...one, template: template({ image: "web:bad" }) }),
    update({ create: [place("b", "n1", { revision: 2 })] }),
    update({ stop: [{ id: taskId("b"), reason: "Failed: exit code 3." }] }),
  ];
  const rolledBack = told(
    [...failing, update({ rollouts: [{ service: web, state: "rolled_back" }] })],
    clusterOf("n1"),
  );
  t.equal(
    rolledBack.at(-1),
    "RolledBack service/shop/web: Revision 2 failed: web.1: Failed: exit code 3. Revision 3 is revision 1 again.",
  );
  const paused = told(
    [...failing, update({ rollouts: [{ service: web, state: "paused" }] })],
    clusterOf("n1"),
  );
  t.equal(
    paused.at(-1),
    "RolloutPaused service/shop/web: Revision 2 goes no further: web.1: Failed: exit code 3.",
  );
});

t.test("a roll-out is halted, goes on, and its canary is judged", async (t) => {
  const steer = (action: "pause" | "resume"): Command => {
    return { kind: "steer_rollout", service: web, action, nowMs };
  };
  const canary = (promoted?: number): Command =>
    update({
      rollouts: [
        promoted === undefined
          ? { service: web, state: "paused", cause: "canary" }
          : { service: web, state: "normal", promoted },
      ],
    });
  const lines = told(
    [put(one), steer("pause"), steer("resume"), canary(), canary(1)],
    clusterOf("n1"),
  );
  t.strictSame(
    lines.slice(1).map((line) => line.replace(" service/shop/web", "")),
    [
      "RolloutHalted: Revision 1 goes no further. Let it go on with: skein rollout resume web",
      "RolloutResumed: Revision 1 goes on.",
      "CanaryWaits: Revision 1 waits. Let it go on with: skein rollout resume web",
      "CanaryProven: The canary of revision 1 is over; the rest follows.",
      "RolloutResumed: Revision 1 goes on.",
    ],
  );
});

t.test("blue-green: who has the traffic is told when it moves", async (t) => {
  const strategy = { kind: "blue-green", keepMs: 1_000 } as const;
  const blueGreen = { ...one, update: { ...serviceSpec().update, strategy } };
  const lines = told(
    [
      put(blueGreen),
      put({ ...blueGreen, template: template({ image: "web:2" }) }),
      update({ traffic: [{ service: web, revision: 2, atMs: nowMs }] }),
    ],
    clusterOf("n1"),
  );
  t.equal(lines.at(-1), "TrafficMoved service/shop/web: All requests go to revision 2.");
  t.equal(lines.filter((line) => line.startsWith("TrafficMoved")).length, 1);
});

t.test("a roll-out is over when the last task of another version is forgotten", async (t) => {
  const lines = told(
    [
      put(one),
      update({ create: [place("a", "n1")] }),
      put({ ...one, template: template({ image: "web:2" }) }),
      update({ create: [place("b", "n1", { revision: 2 })] }),
      update({ stop: [{ id: taskId("a"), reason: "Replaced by revision 2." }] }),
      update({ forget: [taskId("a")] }),
    ],
    clusterOf("n1"),
  );
  t.strictSame(lines.slice(-2), [
    "Stopping task/shop/web.1: Replaced by revision 2.",
    "RolledOut service/shop/web: All tasks (1) are as revision 2 says, and serve.",
  ]);
});

t.test("runs of jobs and schedules", async (t) => {
  const schedule = {
    cron: "* * * * *",
    timezone: "UTC",
    overlap: "forbid",
    isSuspended: false,
  } as const;
  const job = { mode: { kind: "replicated-job", replicas: 1 }, schedule } as never;
  const run = { revision: 1, startedAtMs: nowMs, message: "" } as const;
  const changes = (...list: readonly object[]) =>
    update({ runs: list.map((change) => ({ service: web, change })) as never });
  const lines = told(
    [
      put(job),
      changes({
        kind: "start",
        run: { ...run, number: 1, trigger: "schedule", dueAtMs: 60_000, state: "active" },
      }),
      changes({
        kind: "start",
        run: {
          ...run,
          number: 2,
          trigger: "schedule",
          dueAtMs: 120_000,
          state: "skipped",
          message: "Run 1 was still going on.",
        },
      }),
      changes({ kind: "end", number: 1, state: "failed", atMs: nowMs, message: "exit code 4" }),
      { kind: "suspend_schedule", service: web, isSuspended: true, nowMs },
      { kind: "suspend_schedule", service: web, isSuspended: false, nowMs },
      { kind: "trigger_job", service: web, nowMs },
      changes({ kind: "end", number: 3, state: "succeeded", atMs: nowMs, message: "" }),
    ],
    clusterOf("n1"),
  );
  t.strictSame(
    lines.slice(1).map((line) => line.replace(" service/shop/web", "")),
    [
      "RunStarted: Run 1 began (it was due).",
      "RunSkipped: Run 2: Run 1 was still going on.",
      "RunFailed: Run 1: exit code 4",
      "ScheduleSuspended: Nothing is started for now.",
      "ScheduleResumed: What was due meanwhile is left out.",
      "RunStarted: Run 3 began (somebody asked for it).",
      "RunSucceeded: Run 3: all is done.",
    ],
  );
});

t.test(
  "tasks end with the membership of their node, and draining ends with the last",
  async (t) => {
    const lines = told(
      [
        put(one),
        update({ create: [place("a", "n1")] }),
        { kind: "set_eligibility", nodeId: nodeId("n1"), eligibility: "drain" },
        update({ stop: [{ id: taskId("a"), reason: "Its node is draining." }] }),
        { kind: "set_eligibility", nodeId: nodeId("n1"), eligibility: "active" },
        update({ create: [place("b", "n2")] }),
        { kind: "remove_node", nodeId: nodeId("n2") },
      ],
      clusterOf("n1", "n2"),
    ).map((line) => line.split(":")[0]);
    t.strictSame(lines.slice(2), [
      "NodeDraining node/n1",
      "NodeDrained node/n1",
      "Stopping task/shop/web.1",
      "NodeResumed node/n1",
      "Moved task/shop/web.1",
      "NodeRemoved node/n2",
      "Stopping task/shop/web.1",
    ]);
  },
);

t.test("every node tells the same of the same entry; a huge one is cut and says so", async (t) => {
  const before = apply(clusterOf("n1"), 2, put({ mode: { kind: "replicated", replicas: 9_999 } }));
  const create = Array.from({ length: 2_500 }, (_, i) => place(`t${i}`, "n1", { slot: i + 1 }));
  const command = update({ create });
  const { state: after } = apply(before.state, 3, command);
  const step = { before: before.state, after, command };
  const events = agreedEvents(step, { timeMs: 1 });
  t.strictSame(agreedEvents(step, { timeMs: 1 }), events);
  t.equal(events.length, 2_001);
  t.match(events.at(-1), { reason: "EventsLost", message: /^500 more/, by: "log", index: 3 });
  t.equal(new Set(events.map(({ sequence }) => sequence)).size, events.length);
});

t.test("an entry that changes nothing tells nothing", async (t) => {
  t.strictSame(told([put({}), put({})], clusterOf("n1")).length, 1);
  t.ok(Object.keys(eventReasons).every((reason) => /^[A-Z][A-Za-z]+$/.test(reason)));
});
