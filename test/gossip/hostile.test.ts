import t from "tap";
import { simSigner } from "../../sim/gossip/signer.ts";
import type { Claim, StateRecord } from "../../src/gossip/index.ts";
import { encode, maxRecordBytes } from "../../src/gossip/message.ts";
import { signedBytes } from "../../src/gossip/record-table.ts";
import { type NodeId, nodeId, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import { failedWithinMs, GossipWorld } from "./gossip-world.ts";

/** An admitted member that lies, and what its lies are allowed to do: little, and not for long. */

const memberTopic = "skein/members/1";
const stateTopic = "skein/state/1";
const farthest = Number.MAX_SAFE_INTEGER;
const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();

function signed(
  record: Omit<StateRecord, "signature">,
  { by }: { readonly by: NodeId },
): StateRecord {
  return { ...record, signature: simSigner(by).sign(signedBytes(record)) };
}

class Stage {
  readonly world: GossipWorld;
  readonly honest: NodeId;
  readonly victim: NodeId;
  readonly liar: NodeId;

  constructor(world: GossipWorld) {
    this.world = world;
    const [honest, victim, liar] = world.ids;
    if (honest === undefined || victim === undefined || liar === undefined) {
      throw new Error("there are three");
    }
    [this.honest, this.victim, this.liar] = [honest, victim, liar];
  }

  bodyOf(owner: NodeId, on: NodeId): string {
    return text(this.world.gossip(on).records.get().get(owner)?.body);
  }

  async publish(topic: string, body: Uint8Array): Promise<void> {
    await this.world.networkOf(this.liar).publish(topic, body);
    await this.world.clock.advance(50);
  }

  async tell(...claims: Claim[]): Promise<void> {
    await this.publish(memberTopic, encode({ kind: "claims", claims }));
  }

  /** Whether the other answered; what it thinks of the body is its own business. */
  async ask(to: NodeId, protocol: string, body: Uint8Array): Promise<boolean> {
    const { signal } = new AbortController();
    const asked = this.world.networkOf(this.liar).request(to, protocol, body, { signal });
    const answered = asked.then(
      () => true,
      () => false,
    );
    await this.world.clock.advance(2_000);
    return await answered;
  }

  async exchange(
    to: NodeId,
    what: { claims?: Claim[]; records?: StateRecord[] },
  ): Promise<boolean> {
    const sync = { claims: [], digest: [], records: [], ...what };
    return await this.ask(to, "/skein/sync/1", encode(sync));
  }
}

async function set(seed: number): Promise<Stage> {
  const stage = new Stage(new GossipWorld(4, seed));
  const { world } = stage;
  await world.startAll();
  await world.until(5_000, () => world.isTrueEverywhere());
  world.gossip(stage.victim).publish(Buffer.from("mine"));
  await world.clock.advance(500);
  return stage;
}

const lies: readonly (readonly [string, (victim: NodeId) => Claim])[] = (
  ["failed", "left", "suspect", "alive"] as const
).flatMap((status) =>
  [2, 1_000, 2 ** 20, 2 ** 32, farthest - 1, farthest].map((incarnation) => {
    const lie = (victim: NodeId): Claim => ({ nodeId: victim, status, incarnation });
    return [`${status} of incarnation ${incarnation}`, lie] as const;
  }),
);

t.test("no lie about a member outlasts a moment, nor its next life", async (t) => {
  for (const [name, lie] of lies) {
    const stage = await set(5);
    const { world, victim } = stage;
    await stage.tell(lie(victim));
    await stage.exchange(stage.honest, { claims: [lie(victim)] });
    t.not(await world.until(5_000, () => world.isTrueEverywhere()), undefined, name);
    world.crash(victim);
    const isGivenUp = await world.until(failedWithinMs, () => world.isTrueEverywhere());
    t.not(isGivenUp, undefined, `${name}: its death is noticed`);
    await world.start(victim);
    t.not(await world.until(5_000, () => world.isTrueEverywhere()), undefined, `${name}: returns`);
  }
});

t.test("what is open to a member that answers stays open, whatever is said of it", async (t) => {
  const stage = await set(12);
  const { world, honest, victim } = stage;
  const { connected } = world.networkOf(honest);
  t.ok(connected.get().has(victim));
  let losses = 0;
  connected.subscribe(() => {
    if (!connected.get().has(victim)) losses += 1;
  });
  let beliefs = 0;
  const { members } = world.gossip(honest);
  members.subscribe(() => {
    if (members.get().get(victim)?.status === "failed") beliefs += 1;
  });
  for (let incarnation = 1; incarnation < 10; incarnation += 1) {
    await stage.tell({ nodeId: victim, status: "failed", incarnation });
  }
  await world.clock.advance(5_000);
  t.ok(beliefs > 0, "it was believed");
  t.equal(losses, 0);
});

t.test("a list of many lies about one member is answered once", async (t) => {
  const stage = await set(6);
  const { world, victim } = stage;
  const claims = Array.from({ length: 300 }, (_, at): Claim => {
    return { nodeId: victim, status: "failed", incarnation: at + 1 };
  });
  const refutations = () =>
    world.trace.filter(
      (line) => line.startsWith(`${victim} publishes`) && line.endsWith(memberTopic),
    ).length;
  const before = refutations();
  await stage.tell(...claims);
  t.equal(refutations() - before, 1);
  t.not(await world.until(5_000, () => world.isTrueEverywhere()), undefined);
});

t.test("nobody but the owner publishes its record", async (t) => {
  const stage = await set(7);
  const { world, victim, honest } = stage;
  const id = { owner: victim, epoch: 99, version: 99 };
  const record = signed({ ...id, body: Buffer.from("forged") }, { by: stage.liar });
  await stage.publish(stateTopic, encode({ kind: "record", record }));
  await stage.publish(stateTopic, encode({ kind: "announce", id }));
  await world.clock.advance(1_000);
  t.equal(stage.bodyOf(victim, honest), "mine");
});

t.test("a record forged in an exchange is refused by everybody", async (t) => {
  for (const [epoch, version] of [
    [1, 50],
    [99, 1],
    [99, farthest],
    [2 ** 20, farthest],
    [farthest, farthest],
  ] as const) {
    const stage = await set(8);
    const { world, victim, honest, liar } = stage;
    const forged = { owner: victim, epoch, version, body: Buffer.from("forged") };
    const own = world.gossip(honest).records.get().get(victim);
    for (const signature of [
      signed(forged, { by: liar }).signature,
      own?.signature ?? new Uint8Array(),
      new Uint8Array(64),
      new Uint8Array(),
    ]) {
      t.ok(await stage.exchange(honest, { records: [{ ...forged, signature }] }));
      for (const on of world.ids) t.equal(stage.bodyOf(victim, on), "mine");
    }
    world.gossip(victim).publish(Buffer.from("mine again"));
    await world.clock.advance(1_000);
    t.equal(stage.bodyOf(victim, honest), "mine again", `${epoch}.${version}`);
  }
});

t.test("what an owner signed cannot be changed by whoever hands it on", async (t) => {
  const stage = await set(8);
  const { world, victim, honest } = stage;
  const own = world.gossip(honest).records.get().get(victim);
  if (own === undefined) throw new Error("there is a record");
  for (const change of [
    { version: own.version + 1 },
    { epoch: own.epoch + 1 },
    { epoch: own.epoch + 1, body: Buffer.from("forged") },
    { owner: stage.liar, epoch: own.epoch + 1 },
  ]) {
    t.ok(await stage.exchange(honest, { records: [{ ...own, ...change }] }));
    t.strictSame(world.gossip(honest).records.get().get(victim), own);
  }
  t.not(stage.bodyOf(stage.liar, honest), "mine", "nor is it the record of another");
});

t.test("a long list of forgeries is looked at once", async (t) => {
  const stage = await set(8);
  const { victim, honest, liar } = stage;
  const forgeries = Array.from({ length: 2_000 }, (_, at) =>
    signed({ owner: victim, epoch: 50, version: at, body: Uint8Array.of(1) }, { by: liar }),
  );
  const checked = stage.world.checkedSignatures;
  t.ok(await stage.exchange(honest, { records: forgeries }));
  t.ok(stage.world.checkedSignatures - checked < 10);
  t.equal(stage.bodyOf(victim, honest), "mine");
});

t.test("a member's own record and number may be anything: that harms itself alone", async (t) => {
  const stage = await set(9);
  const { world, liar, victim, honest } = stage;
  const last = { owner: liar, epoch: farthest, version: farthest };
  const record = signed({ ...last, body: Buffer.from("end") }, { by: liar });
  await stage.publish(stateTopic, encode({ kind: "record", record }));
  await stage.tell({ nodeId: liar, status: "alive", incarnation: farthest });
  await world.clock.advance(5_000);
  t.equal(stage.bodyOf(liar, honest), "end");
  for (const on of [honest, victim]) {
    t.equal(world.view(honest, on), "alive");
    t.equal(world.view(victim, on), "alive");
  }
});

t.test("strangers are not kept, however many are named", async (t) => {
  const stage = await set(10);
  const { world, honest } = stage;
  const strangers = Array.from({ length: 5_000 }, (_, at) => nodeId(`stranger-${at}`));
  const claims = strangers.map((node): Claim => {
    return { nodeId: node, status: "alive", incarnation: 1 };
  });
  const records = strangers.slice(0, 1_000).map((owner) => {
    return signed({ owner, epoch: 1, version: 1, body: Uint8Array.of(1) }, { by: owner });
  });
  t.ok(await stage.exchange(honest, { claims, records }));
  t.equal(world.gossip(honest).members.get().size, world.ids.length);
  t.equal(world.gossip(honest).records.get().size, world.ids.length);
});

t.test("however often something is announced, few exchanges ask for it", async (t) => {
  const stage = await set(11);
  const { world, liar, honest } = stage;
  const asked = () =>
    world.trace.filter((line) => line.endsWith(`-> ${liar} /skein/sync/1`)).length;
  const before = asked();
  for (let version = 1; version <= 200; version += 1) {
    const id = { owner: liar, epoch: 50, version };
    await world.networkOf(liar).publish(stateTopic, encode({ kind: "announce", id }));
  }
  await world.clock.advance(1_000);
  const each = (asked() - before) / (world.ids.length - 1);
  t.ok(each >= 1 && each <= 3, `${each} exchanges of each member`);
  t.equal(stage.bodyOf(stage.victim, honest), "mine");
});

t.test("an own record that is too large is not taken, and harms no exchange", async (t) => {
  const stage = await set(12);
  const { world, victim, honest } = stage;
  world.gossip(victim).publish(new Uint8Array(maxRecordBytes + 1));
  await world.clock.advance(1_000);
  t.equal(stage.bodyOf(victim, victim), "mine", "the one before it stays");
  world.crash(honest);
  await world.start(honest);
  await world.clock.advance(1_000);
  t.equal(stage.bodyOf(victim, honest), "mine", "and reaches a newcomer");

  world.gossip(victim).publish(new Uint8Array(maxRecordBytes).fill(7));
  const isFetched = () =>
    world.gossip(honest).records.get().get(victim)?.body.length === maxRecordBytes;
  t.not(await world.until(3_000, isFetched), undefined, "the largest allowed one is fetched");
});

t.test("a large record of somebody else that is in an exchange costs only itself", async (t) => {
  const stage = await set(13);
  const { liar, victim, honest, world } = stage;
  const id = { epoch: 9, version: 9 };
  const tooLarge = new Uint8Array(maxRecordBytes + 1);
  const large = signed({ owner: victim, ...id, body: tooLarge }, { by: victim });
  const small = signed({ owner: liar, ...id, body: Buffer.from("small") }, { by: liar });
  t.ok(await stage.exchange(honest, { records: [large, small] }));
  t.equal(stage.bodyOf(liar, honest), "small");
  t.equal(stage.bodyOf(victim, honest), "mine");
  t.ok(world.isTrueEverywhere());
});

/** Bytes, shapes and numbers that no honest member sends. */
const shapes: readonly unknown[] = [
  null,
  7,
  "claims",
  [],
  {},
  { kind: "claims" },
  { kind: "claims", claims: {} },
  { kind: "claims", claims: [null, 1, "x", []] },
  { kind: "claims", claims: [{ nodeId: "", status: "alive", incarnation: 1 }] },
  { kind: "claims", claims: [{ nodeId: "x".repeat(5_000), status: "alive", incarnation: 1 }] },
  { kind: "claims", claims: [{ nodeId: "node-0", status: "dead", incarnation: 1 }] },
  { kind: "claims", claims: [{ nodeId: "node-0", status: "failed", incarnation: -1 }] },
  { kind: "claims", claims: [{ nodeId: "node-0", status: "failed", incarnation: Number.NaN }] },
  { kind: "claims", claims: [{ nodeId: "node-0", status: "failed", incarnation: 1e308 }] },
  { kind: "claims", claims: [{ nodeId: "__proto__", status: "failed", incarnation: 9 }] },
  { kind: "record", record: { owner: "node-2", epoch: 1, version: 1, body: "text" } },
  { kind: "record", record: { owner: "node-2", epoch: -1, version: 1, body: Uint8Array.of(1) } },
  { kind: "announce", id: { owner: "node-1", epoch: 9, version: 9 } },
  { kind: "unknown", claims: [] },
  { incarnation: -5 },
  { incarnation: 1, about: { nodeId: "node-0", status: "failed", incarnation: Number.NaN } },
  { target: "" },
  { target: "nobody" },
  { target: { toString: "node-0" } },
  { claims: [], digest: [] },
  { claims: [], digest: [{ owner: "node-0", epoch: 1 }], records: [] },
  { claims: [], digest: [], records: new Array(20_000).fill(null) },
  Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`field-${at}`, at])),
];

t.test("what is no message changes nothing and ends nothing", async (t) => {
  const stage = await set(14);
  const { world, victim, honest } = stage;
  const random = seededRandom(14);
  const good = encode({ kind: "claims", claims: [] });
  const damaged = Array.from({ length: 50 }, () =>
    Uint8Array.from({ length: randomBelow(random, 60) }, () => randomBelow(random, 256)),
  );
  const packed = shapes.map((shape) => encode(shape as Parameters<typeof encode>[0]));
  const bodies = [...packed, ...damaged, new Uint8Array(), good.subarray(0, 3)];
  const before = world.sent;
  for (const body of bodies) {
    if (body.byteLength <= 16 * 1024) {
      await stage.publish(memberTopic, body);
      await stage.publish(stateTopic, body);
    }
    for (const name of ["ping", "indirect-ping", "sync"]) {
      await stage.ask(honest, `/skein/${name}/1`, body);
    }
  }
  t.ok(world.isTrueEverywhere());
  t.equal(stage.bodyOf(victim, honest), "mine");
  t.strictSame([...world.gossip(honest).members.get().keys()].sort(), [...world.ids].sort());
  const seconds = bodies.length * 6;
  t.ok((world.sent - before) / world.ids.length / seconds < 20, "nor does it cause much traffic");
});

t.test("lies without end from one member make nobody be given up who runs", async (t) => {
  const stage = await set(15);
  const { world, honest, victim } = stage;
  for (let round = 0; round < 60; round += 1) {
    const incarnation = 1 + (round % 5);
    await stage.tell({ nodeId: victim, status: "suspect", incarnation });
    await stage.tell({ nodeId: honest, status: "suspect", incarnation });
    await world.clock.advance(150);
  }
  const slander = world.watchForSlander();
  await world.clock.advance(failedWithinMs);
  t.strictSame(slander, []);
  t.ok(world.isTrueEverywhere());
});
