import t from "tap";
import type { ClusterEvent } from "../../src/events/index.ts";
import { isSelected, NewestEvents, pastOf } from "../../src/events/index.ts";
import { nodeId } from "../../src/kernel/index.ts";

function event(
  timeMs: number,
  reason: string,
  name: string,
  changes: Partial<ClusterEvent> & { readonly id?: string } = {},
): ClusterEvent {
  const { id, ...more } = changes;
  const place = { namespace: "shop", service: "web" };
  const object =
    name === "web" ? { kind: "service", namespace: "shop" } : { kind: "task", ...place };
  return {
    by: "log",
    sequence: 0,
    index: timeMs,
    timeMs,
    type: "Normal",
    reason,
    object: { ...object, name, ...(id === undefined ? {} : { id }) },
    message: "",
    node: "n1",
    ...more,
  };
}

const history = [
  event(1, "ServiceCreated", "web"),
  event(2, "Placed", "web.1", { id: "a" }),
  event(3, "Started", "web.1", { id: "a" }),
  event(4, "Pending", "web.2"),
  event(10, "Restarted", "web.1", { id: "a" }),
  event(20, "Placed", "web.2", { id: "b" }),
  event(30, "Stopping", "web.1", { id: "a" }),
  event(30, "Moved", "web.1", { id: "c", node: "n2", sequence: 1 }),
  event(35, "Stopped", "web.1", { id: "a" }),
];

t.test("what was where at a time comes from the events up to it", async (t) => {
  const at = (atMs: number) => {
    const { tasks, pending, service } = pastOf(history.toReversed(), atMs);
    return {
      tasks: tasks.map(({ id, node, events }) => `${id} ${node} ${events.at(-1)?.reason}`),
      pending: pending.map(({ object }) => object.name),
      service: service.length,
    };
  };
  t.strictSame(at(0), { tasks: [], pending: [], service: 0 });
  t.strictSame(at(5), { tasks: ["a n1 Started"], pending: ["web.2"], service: 1 });
  t.strictSame(at(25), { tasks: ["a n1 Restarted", "b n1 Placed"], pending: [], service: 1 });
  t.strictSame(at(31).tasks, ["a n1 Stopping", "b n1 Placed", "c n2 Moved"]);
  t.strictSame(at(40).tasks, ["b n1 Placed", "c n2 Moved"]);
});

t.test("events are chosen by object, namespace, reason, type and time", async (t) => {
  const all = { sinceMs: 0, objects: [], reasons: [], types: [], limit: 10 };
  const count = (selection: object) =>
    history.filter((each) => isSelected(each, { ...all, ...selection })).length;
  t.equal(count({}), history.length);
  t.equal(count({ objects: ["web"] }), history.length, "a service means its tasks");
  t.equal(count({ objects: ["shop/web"] }), history.length);
  t.equal(count({ objects: ["web.2"] }), 2);
  t.equal(count({ objects: ["shop/web.2"] }), 2);
  t.equal(count({ objects: ["task/shop/web.2"] }), 2);
  t.equal(count({ objects: ["b", "c"] }), 2, "ids");
  t.equal(count({ objects: ["we"] }), 0);
  t.equal(count({ namespace: "other" }), 0);
  t.equal(count({ reasons: ["restarted", "MOVED"] }), 2);
  t.equal(count({ types: ["Warning"] }), 0);
  t.equal(count({ sinceMs: 10, untilMs: 20 }), 2);
});

t.test("the newest are kept, in the order of time and of the log, each once", async (t) => {
  const newest = new NewestEvents(3);
  const [n1, n2] = [nodeId("n1"), nodeId("n2")];
  const key = "NodeFailed/n3/4";
  newest.add(event(50, "NodeFailed", "n3", { by: n2, sequence: 9, key }));
  newest.add(event(48, "NodeFailed", "n3", { by: n1, sequence: 7, key }));
  for (const each of history.toReversed()) newest.add(each);
  newest.add(event(30, "Stopping", "web.1", { id: "a" }));
  t.strictSame(
    newest.list().map(({ reason, timeMs, by }) => [reason, timeMs, by]),
    [
      ["Moved", 30, "log"],
      ["Stopped", 35, "log"],
      ["NodeFailed", 48, "n1"],
    ],
  );
  t.ok(newest.isCut);
  const many = new NewestEvents(10);
  for (let i = 0; i < 20_000; i += 1) many.add(event(i, "Placed", "web.1", { id: `t${i}` }));
  t.strictSame([many.list().length, many.list()[0]?.timeMs], [10, 19_990]);
});
