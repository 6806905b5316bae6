import { spawnSync } from "node:child_process";
import { closeSync, readdirSync } from "node:fs";
import { rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { type Disk, nodeDisk } from "../../src/raft/io/disk.ts";
import { openFileLogStorage } from "../../src/raft/io/file-log-storage.ts";
import { encodeFrame } from "../../src/raft/io/segment-frame.ts";
import { MemoryLogStorage } from "../../src/raft/memory-log-storage.ts";
import {
  entries,
  entry,
  makeDirectory,
  openSmall,
  readAll,
  segmentNames,
  smallSegmentBytes,
  snapshotMeta,
} from "./log-fixtures.ts";

const hardState = { term: 3, vote: nodeId("b"), commitIndex: 2 };

t.test("an empty directory is an empty log", async (t) => {
  await using storage = await openSmall(join(await makeDirectory(t), "deep", "raft"));
  t.equal(storage.firstIndex(), 1);
  t.equal(storage.lastIndex(), 0);
  t.strictSame(storage.hardState(), { term: 0, vote: undefined, commitIndex: 0 });
  t.equal(storage.snapshotMeta(), undefined);
  t.equal(await storage.loadSnapshot(), undefined);
  t.equal(storage.term(0), undefined);
});

t.test("a restart finds everything that was saved, over many segments", async (t) => {
  const directory = await makeDirectory(t);
  {
    await using storage = await openSmall(directory);
    await storage.save({ hardState, entries: entries(1, 10) });
    for (let index = 11; index <= 500; index += 7) {
      await storage.save({ entries: entries(index, Math.min(index + 6, 500)) });
    }
  }
  t.ok((await segmentNames(directory)).length > 3, "it takes several segments");
  await using storage = await openSmall(directory);
  t.strictSame(storage.hardState(), hardState);
  t.strictSame(readAll(storage), entries(1, 500));
  await storage.save({ entries: entries(501, 520) });
  t.strictSame(readAll(storage, 400), entries(400, 520), "some from disk, some from memory");
});

t.test("every kind of entry and an absent vote come back as they were", async (t) => {
  const directory = await makeDirectory(t);
  const saved = [
    { ...entry(1), kind: "configuration" as const },
    { index: 2, term: 1, kind: "empty" as const, data: new Uint8Array() },
    entry(3),
  ];
  const voteless = { term: 7, vote: undefined, commitIndex: 1 };
  {
    await using storage = await openSmall(directory);
    await storage.save({ hardState, entries: saved });
    await storage.save({ hardState: voteless, entries: [] });
  }
  await using storage = await openSmall(directory);
  t.strictSame(readAll(storage), saved);
  t.strictSame(storage.hardState(), voteless);
});

t.test("an entry supersedes everything at and after its index, also after a restart", async (t) => {
  const directory = await makeDirectory(t);
  const expected = [...entries(1, 40), ...entries(41, 60, 2)];
  {
    await using storage = await openSmall(directory);
    await storage.save({ entries: entries(1, 100) });
    await storage.save({ entries: entries(41, 50, 2) });
    t.equal(storage.lastIndex(), 50);
    t.equal(storage.term(51), undefined);
    await storage.save({ entries: entries(51, 60, 2) });
    t.strictSame(readAll(storage), expected);
  }
  await using storage = await openSmall(directory);
  t.strictSame(readAll(storage), expected);
});

t.test("entries are read up to a number of bytes, but at least one", async (t) => {
  const directory = await makeDirectory(t);
  const memory = new MemoryLogStorage();
  memory.saveNow({ entries: entries(1, 50) });
  {
    await using storage = await openSmall(directory);
    await storage.save({ entries: entries(1, 50) });
  }
  await using fromDisk = await openSmall(directory);
  for (const range of [
    { from: 1, to: 50, maxBytes: 1 },
    { from: 5, to: 50, maxBytes: 3_000 },
    { from: 5, to: 9, maxBytes: 1_000_000 },
    { from: 50, to: 90, maxBytes: 1_000_000 },
    { from: 51, to: 90, maxBytes: 1_000_000 },
  ]) {
    const read = fromDisk.entries(range).map(({ index }) => index);
    t.strictSame(
      read,
      memory.entries(range).map(({ index }) => index),
      JSON.stringify(range),
    );
  }
});

t.test("a batch larger than a segment gets a segment of its own", async (t) => {
  const directory = await makeDirectory(t);
  const large = { ...entry(2), data: new Uint8Array(100_000).fill(9) };
  {
    await using storage = await openSmall(directory);
    await storage.save({ entries: [entry(1)] });
    await storage.save({ entries: [large] });
    await storage.save({ entries: [entry(3)] });
  }
  await using storage = await openSmall(directory);
  t.strictSame(readAll(storage), [entry(1), large, entry(3)]);
});

t.test(
  "a snapshot makes room: its segments are used again, and a restart finds the rest",
  async (t) => {
    const directory = await makeDirectory(t);
    const data = new Uint8Array(50_000).fill(5);
    {
      await using storage = await openSmall(directory);
      for (let round = 0; round < 10; round += 1) {
        const first = round * 200 + 1;
        for (let index = first; index < first + 200; index += 20) {
          await storage.save({ entries: entries(index, index + 19) });
        }
        await storage.saveSnapshot(snapshotMeta(first + 149), data);
        await storage.compact(first + 99);
      }
      t.equal(storage.firstIndex(), 1_901);
      const names = readdirSync(directory);
      t.ok(names.filter((name) => name.endsWith(".segment")).length <= 4, "old segments are gone");
      t.ok(names.filter((name) => name.endsWith(".blank")).length <= 2, "few are kept for reuse");
      t.equal(names.filter((name) => name.endsWith(".snapshot")).length, 2);
    }
    await using storage = await openSmall(directory);
    t.strictSame(storage.snapshotMeta(), snapshotMeta(1_950));
    t.strictSame(await storage.loadSnapshot(), {
      meta: snapshotMeta(1_950),
      data: Buffer.from(data),
    });
    t.ok(storage.firstIndex() <= 1_901);
    t.strictSame(readAll(storage, 1_901), entries(1_901, 2_000));
    t.equal(storage.term(1_950), 1);
  },
);

t.test("compaction never goes past the snapshot", async (t) => {
  await using storage = await openSmall(await makeDirectory(t));
  await storage.save({ entries: entries(1, 20) });
  await storage.compact(20);
  t.equal(storage.firstIndex(), 1);
  await storage.saveSnapshot(snapshotMeta(10), new Uint8Array(1));
  await storage.compact(20);
  t.equal(storage.firstIndex(), 11);
  t.throws(() => storage.entries({ from: 10, to: 11, maxBytes: 1 }), /not compacted/);
});

t.test("a leader's snapshot replaces a log that does not hold its entry", async (t) => {
  for (const [name, meta] of [
    ["past the end", snapshotMeta(1_000, 2)],
    ["of another term", snapshotMeta(150, 2)],
  ] as const) {
    const directory = await makeDirectory(t);
    {
      await using storage = await openSmall(directory);
      for (let index = 1; index <= 300; index += 50) {
        await storage.save({ entries: entries(index, index + 49) });
      }
      await storage.saveSnapshot(meta, new Uint8Array(10));
      t.equal(storage.firstIndex(), meta.index + 1, name);
      t.equal(storage.lastIndex(), meta.index);
      t.equal((await segmentNames(directory)).length, 1);
    }
    {
      await using storage = await openSmall(directory);
      t.equal(storage.firstIndex(), meta.index + 1, `${name}, after a restart`);
      t.equal(storage.lastIndex(), meta.index);
      t.equal(storage.term(meta.index), 2);
      await storage.save({ entries: entries(meta.index + 1, meta.index + 200, 2) });
    }
    await using storage = await openSmall(directory);
    t.strictSame(readAll(storage), entries(meta.index + 1, meta.index + 200, 2));
  }
});

t.test("a segment for which the disk has no room does not keep what it got", async (t) => {
  const directory = await makeDirectory(t);
  let made = 0;
  const full = new Set<number>();
  const disk: Disk = {
    ...nodeDisk,
    open: (path, mode) => {
      const descriptor = nodeDisk.open(path, mode);
      full.delete(descriptor);
      if (mode === "durable_new") made += 1;
      if (mode === "durable_new" && made > 1) full.add(descriptor);
      return descriptor;
    },
    write: async (descriptor, data, offset) => {
      if (full.has(descriptor) && offset > 0) throw new Error("ENOSPC");
      return await nodeDisk.write(descriptor, data.subarray(0, 4_096), offset);
    },
  };
  {
    await using storage = await openFileLogStorage({
      directory,
      segmentBytes: smallSegmentBytes,
      disk,
    });
    await storage.save({ entries: entries(1, 3) });
  }
  t.ok(made > 1);
  t.strictSame(
    readdirSync(directory).filter((name) => name.includes(".blank")),
    [],
  );
});

t.test("a snapshot that was not marked before a crash does not count", async (t) => {
  const directory = await makeDirectory(t);
  {
    await using storage = await openSmall(directory);
    await storage.save({ entries: entries(1, 20) });
    await storage.saveSnapshot(snapshotMeta(10), new Uint8Array(3));
  }
  await writeFile(join(directory, "0000000000000018-1.snapshot"), "half");
  await writeFile(join(directory, "0000000000000019-1.snapshot.tmp"), "half");
  await using storage = await openSmall(directory);
  t.strictSame(storage.snapshotMeta(), snapshotMeta(10));
  t.equal(readdirSync(directory).filter((name) => name.includes(".snapshot")).length, 1);
});

t.test(
  "an unreadable snapshot is replaced by the one before while the log reaches back",
  async (t) => {
    const directory = await makeDirectory(t);
    {
      await using storage = await openSmall(directory);
      await storage.save({ entries: entries(1, 30) });
      await storage.saveSnapshot(snapshotMeta(10), new Uint8Array(3));
      await storage.saveSnapshot(snapshotMeta(20), new Uint8Array(4));
    }
    const newest = join(directory, "0000000000000020-1.snapshot");
    await writeFile(newest, "rot");
    {
      await using storage = await openSmall(directory);
      t.strictSame(storage.snapshotMeta(), snapshotMeta(10));
      t.strictSame(readAll(storage, 11), entries(11, 30));
    }
    await rm(join(directory, "0000000000000010-1.snapshot"));
    await t.rejects(openSmall(directory), { code: "corrupt_log", message: newest });
  },
);

t.test("what is missing is noticed", async (t) => {
  const cases: readonly [string, (names: readonly string[]) => readonly string[]][] = [
    ["the first segment", (names) => names.slice(0, 1)],
    ["a segment in the middle", (names) => names.slice(1, 2)],
    ["every segment but the last", (names) => names.slice(0, -1)],
    ["the last segment", (names) => names.slice(-1)],
    ["the last two segments", (names) => names.slice(-2)],
  ];
  for (const [name, lost] of cases) {
    const directory = await makeDirectory(t);
    {
      await using storage = await openSmall(directory);
      for (let index = 1; index <= 300; index += 10) {
        const state = { term: 1, vote: undefined, commitIndex: index + 9 };
        // The commit index is written with the next batch, as the core does.
        await storage.save({ hardState: state, entries: entries(index, index + 9) });
      }
      await storage.save({
        hardState: { term: 1, vote: undefined, commitIndex: 300 },
        entries: [],
      });
    }
    for (const each of lost(await segmentNames(directory))) await rm(join(directory, each));
    await t.rejects(openSmall(directory), { code: "corrupt_log" }, name);
  }
});

t.test("a segment that was cut short is no torn write, wherever the cut is", async (t) => {
  const directory = await makeDirectory(t);
  {
    await using storage = await openSmall(directory);
    await storage.save({ hardState, entries: entries(1, 20) });
  }
  const [name = ""] = await segmentNames(directory);
  const path = join(directory, name);
  const { size } = await stat(path);
  for (const cut of [size - 1, 500, 1, 0]) {
    await truncate(path, cut);
    const message = `${name} at offset ${cut}: the file ends here`;
    await t.rejects(openSmall(directory), { code: "corrupt_log", message }, String(cut));
  }
});

t.test("a last segment that is all zeros was not always so", async (t) => {
  const directory = await makeDirectory(t);
  {
    await using storage = await openSmall(directory);
    await storage.save({ entries: entries(1, 300) });
    for (let index = 301; index <= 400; index += 1) await storage.save({ entries: [entry(index)] });
  }
  const names = await segmentNames(directory);
  t.ok(names.slice(0, -1).every((name) => name.endsWith(".full.log")));
  const path = join(directory, names.at(-1) ?? "");
  await writeFile(path, Buffer.alloc((await stat(path)).size));
  await t.rejects(openSmall(directory), { code: "corrupt_log", message: path });
});

t.test("a log from before full segments were marked is opened, and they are marked", async (t) => {
  const directory = await makeDirectory(t);
  {
    await using storage = await openSmall(directory);
    for (let index = 1; index <= 300; index += 1) await storage.save({ entries: [entry(index)] });
  }
  for (const name of await segmentNames(directory)) {
    await rename(join(directory, name), join(directory, name.replace(".full", "")));
  }
  {
    await using storage = await openSmall(directory);
    t.strictSame(readAll(storage), entries(1, 300));
  }
  const names = await segmentNames(directory);
  t.ok(names.length > 2 && names.slice(0, -1).every((name) => name.includes(".full")));
});

t.test("a log of format 1 is read, whatever stands behind it, and not written to", async (t) => {
  const directory = await makeDirectory(t);
  const nonce = 0x1f2e3d4c;
  const segment = Buffer.alloc(smallSegmentBytes, "an earlier use of the file ");
  let offset = 0;
  let previousCheck = nonce;
  for (let index = 1; index <= 20; index += 1) {
    const place = { format: 1, nonce, previousCheck, sequence: index } as const;
    const { data, check } = encodeFrame([{ kind: "entry", entry: entry(index) }], place);
    data.copy(segment, offset);
    offset += data.byteLength;
    previousCheck = check;
  }
  const path = join(directory, "0000000001-1f2e3d4c.segment");
  await writeFile(path, segment);
  {
    await using storage = await openSmall(directory);
    t.strictSame(readAll(storage), entries(1, 20));
    await storage.save({ entries: entries(21, 30) });
  }
  {
    await using storage = await openSmall(directory);
    t.strictSame(readAll(storage), entries(1, 30));
    await storage.saveSnapshot(snapshotMeta(25), new Uint8Array(3));
    await storage.compact(25);
  }
  t.strictSame(
    readdirSync(directory).filter((name) => name.endsWith(".segment")),
    [],
    "a compaction ends it",
  );
  await using storage = await openSmall(directory);
  t.strictSame(readAll(storage, 26), entries(26, 30));
});

t.test("snapshots without a log are not taken for a new node", async (t) => {
  const directory = await makeDirectory(t);
  {
    await using storage = await openSmall(directory);
    await storage.save({ entries: entries(1, 20) });
    await storage.saveSnapshot(snapshotMeta(10), new Uint8Array(3));
  }
  for (const each of await segmentNames(directory)) await rm(join(directory, each));
  await t.rejects(openSmall(directory), { code: "corrupt_log" });
});

t.test("a directory belongs to one process", async (t) => {
  const directory = await makeDirectory(t);
  const open = `import { openFileLogStorage } from ${JSON.stringify(new URL("../../src/raft/io/file-log-storage.ts", import.meta.url))};
    try { await openFileLogStorage({ directory: ${JSON.stringify(directory)}, segmentBytes: 16384 }); process.stdout.write("opened"); }
    catch (error) { process.stdout.write(error.code + " " + error.message); }
    process.kill(process.pid, "SIGKILL");`;
  const openElsewhere = () =>
    spawnSync(process.execPath, ["--input-type=module", "-e", open], { encoding: "utf8" }).stdout;
  {
    await using _storage = await openSmall(directory);
    await t.rejects(openSmall(directory), { code: "directory_in_use" });
    const refusal = openElsewhere();
    t.match(refusal, "directory_in_use");
    t.match(refusal, directory, "the message names the directory");
  }
  t.equal(openElsewhere(), "opened", "it is free when the holder closed it");
  await using storage = await openSmall(directory);
  t.ok(storage, "and when the holder was killed");
});

t.test("a failed write is final", async (t) => {
  const directory = await makeDirectory(t);
  const failures: unknown[] = [];
  const onFatal = (error: unknown) => failures.push(error);
  const storage = await openFileLogStorage({ directory, segmentBytes: 16_384, onFatal });
  await storage.save({ entries: entries(1, 3) });
  // Takes the file away under the log: the next write fails, as on a broken disk.
  closeSync(await descriptorOf(join(directory, (await segmentNames(directory))[0] ?? "")));
  await t.rejects(storage.save({ entries: entries(4, 5) }), { code: "storage_failed" });
  await t.rejects(storage.save({ entries: entries(4, 5) }), { code: "storage_failed" });
  await t.rejects(storage.saveSnapshot(snapshotMeta(2), new Uint8Array()), {
    code: "storage_failed",
  });
  await t.rejects(storage.loadSnapshot(), { code: "storage_failed" });
  t.equal(failures.length, 1, "the owner is told once");
  t.equal(storage.lastIndex(), 3, "nothing of the failed batch counts");
  t.strictSame(readAll(storage), entries(1, 3));
});

t.test("a closed log refuses every call", async (t) => {
  const storage = await openSmall(await makeDirectory(t));
  const last = storage.save({ entries: entries(1, 3) });
  await storage[Symbol.asyncDispose]();
  await last;
  await t.rejects(storage.save({ entries: entries(4, 5) }), { code: "storage_closed" });
  await t.rejects(storage.loadSnapshot(), { code: "storage_closed" });
});

/** The number under which this process has a file open. */
async function descriptorOf(path: string): Promise<number> {
  const { ino } = await stat(path);
  for (const name of readdirSync("/proc/self/fd")) {
    const found = await stat(`/proc/self/fd/${name}`).catch(() => undefined);
    if (found?.ino === ino) return Number(name);
  }
  throw new Error(`${path} is not open`);
}
