import t from "tap";
import type { IntentCommand } from "../../src/intents/index.ts";
import { serviceKey } from "../../src/kernel/index.ts";
import { serviceSpec, template } from "../builders.ts";
import { soon } from "../raft/runners.ts";
import { Ring, type RingNode, settled, startDesk, submit } from "./ring.ts";

const web = serviceKey("shop", "web");

function up(image: string, of: { readonly name?: string; readonly namespace?: string } = {}) {
  const specs = [serviceSpec({ ...of, template: template({ image }) })];
  return { kind: "put_services", specs, nowMs: 1_000 } as const;
}

function scale(replicas: number): IntentCommand {
  return { kind: "scale_service", service: web, replicas, nowMs: 1_000 };
}

async function ask({ desk }: RingNode, command: IntentCommand, mayQueue = true) {
  return await desk.change(command, { author: "local", mayQueue, ...soon() });
}

function images({ store }: RingNode): Record<string, string> {
  const { services } = store.state.get();
  return Object.fromEntries([...services].map(([key, { spec }]) => [key, spec.template.image]));
}

t.test("with a quorum a change is made at once, and nothing is kept", async (t) => {
  await using ring = await Ring.start();
  const node = ring.follower();
  t.match(await ask(node, up("web:1")), { kind: "accepted" });
  t.strictSame(images(node), { "shop/web": "web:1" });
  t.strictSame(node.disk, []);
});

t.test("without a quorum changes are kept in order, and made once when it is back", async (t) => {
  await using ring = await Ring.start();
  const node = ring.follower();
  await ask(node, up("web:1"));
  const { index } = node.store.state.get();
  await ring.isolate(node);
  t.match(await ask(node, up("web:2")), { kind: "queued", intent: { number: 1 } });
  t.match(await ask(node, scale(7)), { kind: "queued", intent: { number: 2 } });
  t.match(await ask(node, up("db:1", { name: "db" })), { kind: "queued", intent: { number: 3 } });
  t.equal(node.store.state.get().index, index, "nothing is agreed yet");
  await ring.heal(node);
  await settled(node);
  t.strictSame(node.queue.intents.get(), []);
  t.strictSame(images(node), { "shop/db": "db:1", "shop/web": "web:2" });
  const service = node.store.state.get().services.get(web);
  t.match(service?.spec.mode, { replicas: 7 });
  t.equal(service?.revision, 2, "one revision for the one change of the image");
});

t.test("who may not wait, or asks for nonsense, is told so at once", async (t) => {
  await using ring = await Ring.start();
  const node = ring.follower();
  await ask(node, up("web:1"));
  await ring.isolate(node);
  await t.rejects(ask(node, scale(2), false), { code: "no_quorum" });
  const nobody: IntentCommand = { kind: "scale_service", service: web, replicas: 2, nowMs: 0 };
  const other = { ...nobody, service: serviceKey("shop", "nobody") };
  t.match(await ask(node, other), { kind: "rejected", code: "not_found" });
  t.strictSame(node.queue.intents.get(), []);
});

t.test("a service that others changed since is left alone, until a person decides", async (t) => {
  await using ring = await Ring.start();
  const node = ring.follower();
  await ask(node, up("web:1"));
  await ring.isolate(node);
  await ask(node, up("web:mine"));
  await ask(node, up("db:mine", { name: "db" }));
  await ask(node, up("etl:mine", { name: "etl", namespace: "night" }));
  t.match(await submit(ring.other(node), up("web:theirs")), { kind: "accepted" });
  await ring.heal(node);
  await settled(node);
  t.strictSame(images(node), { "shop/web": "web:theirs", "night/etl": "etl:mine" });
  const [first, second] = node.queue.intents.get();
  t.match(first?.refusal, { code: "conflict", message: /shop\/web was changed since.*revision 2/ });
  t.equal(second?.refusal, undefined, "what follows in its namespace waits behind it");

  t.equal(await node.desk.release(1), undefined, "the person has it made all the same");
  await settled(node);
  t.strictSame(images(node), {
    "shop/web": "web:mine",
    "night/etl": "etl:mine",
    "shop/db": "db:mine",
  });
});

t.test("a refused change that is cancelled makes way for those behind it", async (t) => {
  await using ring = await Ring.start();
  const node = ring.follower();
  await ask(node, up("web:1"));
  await ring.isolate(node);
  await ask(node, { kind: "remove_services", services: [web] });
  await ask(node, up("db:mine", { name: "db" }));
  await submit(ring.other(node), scale(5));
  await ring.heal(node);
  await settled(node);
  t.strictSame(images(node), { "shop/web": "web:1" });
  await node.desk.cancel(1);
  await settled(node);
  t.strictSame(images(node), { "shop/db": "db:mine", "shop/web": "web:1" });
  await t.rejects(node.desk.cancel(1), { code: "not_found" });
});

t.test(
  "a crash after it was agreed, and before that was noted, makes it no second time",
  async (t) => {
    await using ring = await Ring.start();
    const node = ring.follower();
    await ring.isolate(node);
    await ask(node, up("web:1"));
    const before = node.disk.at(-1);
    await ring.heal(node);
    await settled(node);
    t.strictSame(images(node), { "shop/web": "web:1" });
    await submit(node, { kind: "remove_services", services: [web] });
    await node.desk[Symbol.asyncDispose]();
    // The process died before its last write: the change is still on its disk.
    const again = startDesk(node, before);
    await settled(again);
    t.strictSame(again.queue.intents.get(), [], "known to be done");
    t.strictSame(images(node), {}, "and not made again");
    await again.desk[Symbol.asyncDispose]();
  },
);

t.test("a first attempt that had reached the log of a leader alone counts", async (t) => {
  await using ring = await Ring.start();
  const leader = ring.leader();
  await ask(leader, up("web:1"));
  await ask(leader, up("web:2"));
  // It still believes to lead: what is asked of it goes to its log, and no further.
  ring.cutOthers(leader);
  const back: IntentCommand = { kind: "roll_back_service", service: web, nowMs: 1_000 };
  t.match(await ask(leader, back), { kind: "queued" });
  // With one of the others, whose log is shorter, only it can lead.
  ring.network.down.delete(ring.other(leader).id);
  await settled(leader);
  t.strictSame(leader.queue.intents.get(), []);
  t.strictSame(images(leader), { "shop/web": "web:1" }, "back once, not there and back");
  t.equal(leader.store.state.get().services.get(web)?.revision, 3);
});

t.test("what is asked for while others wait does not overtake them", async (t) => {
  await using ring = await Ring.start();
  const node = ring.follower();
  await ring.isolate(node);
  for (const image of ["web:1", "web:2", "web:3"]) await ask(node, up(image));
  await ring.heal(node);
  t.match(await ask(node, up("web:4")), { kind: "accepted" });
  await settled(node);
  t.strictSame(node.queue.intents.get(), []);
  t.strictSame(images(node), { "shop/web": "web:4" });
});

t.test(
  "a namespace is removed with what was asked for in it before, and nothing newer",
  async (t) => {
    await using ring = await Ring.start();
    const node = ring.follower();
    await ask(node, up("web:1"));
    await ring.isolate(node);
    await ask(node, up("db:1", { name: "db" }));
    await ask(node, { kind: "remove_namespace", namespace: "shop" });
    await ask(node, up("web:2"));
    await ring.heal(node);
    await settled(node);
    t.strictSame(node.queue.intents.get(), []);
    t.strictSame(images(node), { "shop/web": "web:2" });

    await ring.isolate(node);
    await ask(node, { kind: "remove_namespace", namespace: "shop" });
    await submit(ring.other(node), up("api:theirs", { name: "api" }));
    await ring.heal(node);
    await settled(node);
    t.match(node.queue.intents.get(), [{ refusal: { code: "conflict", message: /shop\/api/ } }]);
  },
);
