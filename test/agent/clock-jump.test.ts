import t from "tap";
import { planNode } from "../../src/agent/plan-node.ts";
import { newTaskRecord } from "../../src/agent/task-record.ts";
import { task, template } from "../builders.ts";

t.test("a wall clock that is set back keeps no task waiting", async (t) => {
  const wanted = task();
  const plan = (now: number, monotonicMs: number) =>
    planNode({
      tasks: [wanted],
      templateOf: () => template(),
      containers: [],
      records: new Map([[wanted.id, { ...newTaskRecord, startAtMs: 2_000 }]]),
      healthOf: () => undefined,
      isDrained: () => false,
      busy: new Set(),
      now,
      monotonicMs,
    });
  const dayMs = 86_400_000;
  t.strictSame(plan(10 * dayMs, 1_000).actions, [], "it rests");
  t.equal(plan(10 * dayMs, 1_000).nextWakeMs, 2_000);
  t.equal(plan(9 * dayMs, 2_000).actions[0]?.kind, "start", "a day back, a second later");
});
