import t from "tap";
import { type NodeId, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import { failedWithinMs, GossipWorld } from "./gossip-world.ts";

/**
 * Gossip forgets after two minutes which messages it has carried: one that is sent again then
 * arrives again, its author's signature as good as ever.
 */
const forgottenAfterMs = 130_000;
const topics = ["skein/members/1", "skein/state/1"];

type Said = { readonly topic: string; readonly from: NodeId; readonly body: Uint8Array };

t.test("what was said minutes ago and is said again changes nothing", async (t) => {
  for (const seed of [1, 2, 3]) {
    const world = new GossipWorld(4, seed);
    const [observer, subject] = world.ids;
    if (observer === undefined || subject === undefined) throw new Error("there are four");
    await world.startAll();
    const said: Said[] = [];
    for (const topic of topics) {
      world.networkOf(observer).subscribe(topic, (from, body) => said.push({ topic, from, body }));
    }
    await world.until(5_000, () => world.isTrueEverywhere());
    for (const text of ["one", "two"]) {
      world.gossip(subject).publish(Buffer.from(text));
      await world.clock.advance(1_000);
      world.crash(subject);
      t.not(await world.until(failedWithinMs, () => world.isTrueEverywhere()), undefined);
      await world.start(subject);
      t.not(await world.until(10_000, () => world.isTrueEverywhere()), undefined);
    }
    world.gossip(subject).publish(Buffer.from("three"));
    await world.clock.advance(forgottenAfterMs);
    t.ok(
      said.some(({ from }) => from === subject),
      "the subject's own words are among them",
    );
    const heard = [...said];
    t.ok(heard.length > 10, `${heard.length} messages`);

    const random = seededRandom(seed);
    for (let round = 0; round < Math.min(2 * heard.length, 200); round += 1) {
      const message = heard[randomBelow(random, heard.length)];
      if (message === undefined) continue;
      await world.networkOf(message.from).publish(message.topic, message.body);
      await world.clock.advance(20);
      for (const node of world.ids) {
        const { body } = world.gossip(node).records.get().get(subject) ?? {};
        if (Buffer.from(body ?? []).toString() !== "three")
          t.fail(`${node} fell for an old record`);
        const status = world.gossip(node).members.get().get(subject)?.status;
        if (status !== "alive") t.fail(`${node} holds the subject for ${status}`);
      }
    }
    t.ok(world.isTrueEverywhere());
  }
});
