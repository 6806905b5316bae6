import t from "tap";
import { SimDisk } from "../../sim/raft/sim-disk.ts";
import { seededRandom } from "../../src/kernel/index.ts";

/** A disk whose work is done when the test says so. */
function makeDisk(seed: number) {
  const waiting: (() => void)[] = [];
  const disk = new SimDisk({
    random: seededRandom(seed),
    afterDelay: (run) => waiting.push(run),
    onSettled: () => undefined,
  });
  const finish = () => {
    for (const run of waiting.splice(0)) run();
  };
  return { disk, finish };
}

function read(disk: SimDisk, path: string): string {
  const target = Buffer.alloc(4_096);
  const count = disk.readNow(disk.open(path, "read"), target, 0);
  return target.subarray(0, count).toString();
}

const before = "a".repeat(2_000);
const after = "b".repeat(2_000);

async function makeFile({ disk, finish }: ReturnType<typeof makeDisk>): Promise<number> {
  const descriptor = disk.open("/raft/log", "durable_new");
  const written = disk.write(descriptor, Buffer.from(before), 0);
  const named = disk.syncDirectory();
  finish();
  await written;
  await named;
  return descriptor;
}

t.test("a finished durable write survives the loss of power, under its synced name", async (t) => {
  for (let seed = 1; seed <= 50; seed += 1) {
    const { disk, finish } = makeDisk(seed);
    await makeFile({ disk, finish });
    disk.crash({ losesPower: true });
    t.equal(read(disk, "/raft/log"), before);
  }
});

t.test("a write in progress is there wholly, in part or not at all", async (t) => {
  const found = { whole: 0, torn: 0, none: 0 };
  for (let seed = 1; seed <= 200; seed += 1) {
    const { disk, finish } = makeDisk(seed);
    const descriptor = await makeFile({ disk, finish });
    void disk.write(descriptor, Buffer.from(after), 0);
    disk.crash({ losesPower: true });
    const content = read(disk, "/raft/log");
    t.match(content, /^[ab]{2000}$/);
    found[content === after ? "whole" : content === before ? "none" : "torn"] += 1;
  }
  t.ok(found.whole > 10 && found.torn > 10 && found.none > 10, JSON.stringify(found));
});

t.test("the death of the process alone loses nothing, the power afterwards may", async (t) => {
  let lost = 0;
  for (let seed = 1; seed <= 100; seed += 1) {
    const { disk, finish } = makeDisk(seed);
    const descriptor = await makeFile({ disk, finish });
    void disk.write(descriptor, Buffer.from(after), 0);
    disk.crash({ losesPower: false });
    t.equal(read(disk, "/raft/log"), after);
    disk.crash({ losesPower: true });
    if (read(disk, "/raft/log") !== after) lost += 1;
  }
  t.ok(lost > 10, `${lost} of 100`);
});

t.test("a new name may be lost until its directory is synced, a synced file too", async (t) => {
  let lost = 0;
  for (let seed = 1; seed <= 50; seed += 1) {
    const { disk, finish } = makeDisk(seed);
    const descriptor = disk.open("/raft/new.tmp", "new");
    await disk.write(descriptor, Buffer.from(before), 0);
    const synced = disk.sync(descriptor);
    finish();
    await synced;
    await disk.rename("/raft/new.tmp", "/raft/new");
    disk.crash({ losesPower: true });
    const names = await disk.names("/raft");
    t.ok(names.length <= 1);
    if (names[0] === "new") t.equal(read(disk, "/raft/new"), before);
    else lost += 1;
  }
  t.ok(lost > 10, `${lost} of 50`);
});

t.test("who waited when the process died is never told", async (t) => {
  const { disk, finish } = makeDisk(1);
  const descriptor = await makeFile({ disk, finish });
  let isTold = false;
  void disk.write(descriptor, Buffer.from(after), 0).then(() => {
    isTold = true;
  });
  disk.crash({ losesPower: false });
  finish();
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(isTold);
  t.throws(() => disk.readNow(descriptor, Buffer.alloc(1), 0), /EBADF/);
});
