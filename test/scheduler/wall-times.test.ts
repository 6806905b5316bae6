import t from "tap";
import type { Observations } from "../../src/cluster/index.ts";
import { nodeId } from "../../src/kernel/index.ts";
import { WallTimes } from "../../src/scheduler/wall-times.ts";
import { clusterOf, task } from "../builders.ts";

const dayMs = 86_400_000;
const created = task({ createdAtMs: 10 * dayMs });

function factsAt(sinceMs: number) {
  const state = { ...clusterOf("n1"), tasks: new Map([[created.id, created]]) };
  const members = new Map([[nodeId("n1"), { status: "failed", sinceMs } as const]]);
  const observations: Observations = { members, reports: new Map() };
  return { state, observations };
}

t.test("facts whose times have passed are left as they are", async (t) => {
  const facts = factsAt(10 * dayMs);
  const now = { wallMs: 10 * dayMs, monotonicMs: 5_000 };
  const past = new WallTimes().inThePast(facts, now);
  t.equal(past.state, facts.state);
  t.equal(past.observations, facts.observations);
});

t.test("what began in the future counts from when it was first seen", async (t) => {
  const times = new WallTimes();
  const facts = factsAt(10 * dayMs);
  // The clock was set back by a day.
  const at = (ms: number) => {
    const now = { wallMs: 9 * dayMs + ms, monotonicMs: 5_000 + ms };
    const { state, observations } = times.inThePast(facts, now);
    const created = [...state.tasks.values()][0]?.createdAtMs ?? 0;
    const failed = [...observations.members.values()][0]?.sinceMs ?? 0;
    return [now.wallMs - created, now.wallMs - failed];
  };
  t.strictSame(at(0), [0, 0]);
  t.strictSame(at(4_000), [4_000, 4_000]);
  t.strictSame(at(9_000), [9_000, 9_000]);
});

t.test("what changes in the meantime counts anew", async (t) => {
  const times = new WallTimes();
  times.inThePast(factsAt(10 * dayMs), { wallMs: 9 * dayMs, monotonicMs: 0 });
  const later = { wallMs: 9 * dayMs + 3_000, monotonicMs: 3_000 };
  const { observations } = times.inThePast(factsAt(10 * dayMs + 1), later);
  t.equal([...observations.members.values()][0]?.sinceMs, later.wallMs);
});
