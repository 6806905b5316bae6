import { Packr } from "msgpackr";
import t from "tap";
import { GossipWorld } from "./gossip-world.ts";

const packr = new Packr({ useRecords: false });

t.test("a record with fields of a newer version is handed on whole", async (t) => {
  const world = new GossipWorld(3, 7);
  const [newer, older, late] = world.ids;
  if (newer === undefined || older === undefined || late === undefined) throw new Error("three");
  const author = await world.start(newer);
  await world.start(older);
  const body = packr.pack({ nodeId: newer, gpus: [{ name: "a", memoryBytes: 5 }] });
  author.publish(body);
  await world.clock.advance(5_000);
  world.crash(newer);
  const reader = await world.start(late);
  await world.clock.advance(5_000);
  t.strictSame(
    Buffer.from(reader.records.get().get(newer)?.body ?? []).toString("hex"),
    Buffer.from(body).toString("hex"),
    "from a node that cannot read it, after its author is gone",
  );
});
