import { spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { codeOf, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import { applyMask, maskOf } from "../../src/raft/io/mask.ts";
import { encodeFrame } from "../../src/raft/io/segment-frame.ts";
import type { LogStorage } from "../../src/raft/log-storage.ts";
import {
  entries,
  makeDirectory,
  openSmall,
  readAll,
  segmentNames,
  snapshotMeta,
} from "./log-fixtures.ts";

const writer = fileURLToPath(new URL("./crash-writer.ts", import.meta.url));

/** Lets a process write until it has acknowledged `acknowledgements` saves, then kills it. */
async function writeAndKill(directory: string, acknowledgements: number): Promise<number> {
  const child = spawn(process.execPath, [writer, directory], { stdio: ["ignore", "pipe", 2] });
  const closed = new Promise((resolve) => child.once("close", resolve));
  let text = "";
  for await (const chunk of child.stdout?.setEncoding("utf8") ?? []) {
    text += chunk;
    if (text.split("\n").length > acknowledgements) child.kill("SIGKILL");
  }
  await closed;
  return Number(text.split("\n").at(-2));
}

t.test("kill -9 loses nothing that was acknowledged", async (t) => {
  const directory = await makeDirectory(t);
  for (const acknowledgements of [1, 60, 130, 210, 333]) {
    const last = await writeAndKill(directory, acknowledgements);
    await using storage = await openSmall(directory);
    const snapshotIndex = storage.snapshotMeta()?.index ?? 0;
    t.ok(storage.lastIndex() >= last, `${last} was acknowledged, ${storage.lastIndex()} is there`);
    t.equal(storage.hardState().commitIndex, storage.lastIndex(), "entries and state in one write");
    t.ok(storage.firstIndex() <= snapshotIndex + 1, "the log goes on from the snapshot");
    t.strictSame(readAll(storage), entries(storage.firstIndex(), storage.lastIndex()));
    if (snapshotIndex > 0) t.equal((await storage.loadSnapshot())?.data.byteLength, 5_000);
  }
});

type Written = {
  readonly directory: string;
  readonly path: string;
  readonly good: Buffer;
  /** Ends of the frames, the first one's start included. */
  readonly ends: readonly number[];
  readonly lastOfBatch: readonly number[];
};

/** A log of one segment with some batches in it, and where they stand. */
async function writeBatches(t: Parameters<typeof makeDirectory>[0]): Promise<Written> {
  const directory = await makeDirectory(t);
  const ends: number[] = [0];
  const lastOfBatch: number[] = [];
  {
    await using storage = await openSmall(directory);
    const path = join(directory, (await segmentNames(directory))[0] ?? "");
    for (let batch = 0; batch < 8; batch += 1) {
      const first = storage.lastIndex() + 1;
      await storage.save({ entries: entries(first, first + (batch % 4) + 1) });
      lastOfBatch.push(storage.lastIndex());
      ends.push(readFileSync(path).findLastIndex((byte) => byte !== 0) + 1);
    }
  }
  const path = join(directory, (await segmentNames(directory))[0] ?? "");
  return { directory, path, good: readFileSync(path), ends, lastOfBatch };
}

async function lastIndexOf(directory: string): Promise<number> {
  await using storage: LogStorage = await openSmall(directory);
  t.strictSame(readAll(storage), entries(1, storage.lastIndex()));
  return storage.lastIndex();
}

t.test("a torn last batch is cut, wherever it was torn", async (t) => {
  const { directory, path, good, ends, lastOfBatch } = await writeBatches(t);
  const [start = 0, end = 0] = ends.slice(-2);
  const [before, whole] = lastOfBatch.slice(-2);
  const wrong: string[] = [];
  const tryWith = async (torn: Buffer, what: string) => {
    writeFileSync(path, torn);
    const expected = torn.equals(good) ? whole : before;
    const found = await lastIndexOf(directory);
    if (found !== expected) wrong.push(`${what}: ${found}`);
  };
  for (let cut = start; cut < end; cut += cut < start + 32 ? 1 : 29) {
    await tryWith(Buffer.from(good).fill(0, cut), `cut at ${cut}`);
  }
  // At a power loss any of the sectors may be on the disk or not.
  const random = seededRandom(7);
  for (let round = 0; round < 60; round += 1) {
    const torn = Buffer.from(good);
    for (let sector = Math.floor(start / 512); sector * 512 < end; sector += 1) {
      if (random.next() < 0.4) {
        torn.fill(0, Math.max(start, sector * 512), Math.min(end, (sector + 1) * 512));
      }
    }
    await tryWith(torn, `sectors of round ${round}`);
  }
  t.strictSame(wrong, []);
});

t.test("a log goes on after a cut", async (t) => {
  const { directory, path, good, ends, lastOfBatch } = await writeBatches(t);
  writeFileSync(path, Buffer.from(good).fill(0, (ends.at(-1) ?? 0) - 10));
  const before = lastOfBatch.at(-2) ?? 0;
  {
    await using storage = await openSmall(directory);
    await storage.save({ entries: entries(before + 1, before + 200, 2) });
  }
  await using storage = await openSmall(directory);
  t.strictSame(readAll(storage), [...entries(1, before), ...entries(before + 1, before + 200, 2)]);
});

t.test(
  "a flipped bit in acknowledged data is refused, with the file, the place and the way out",
  async (t) => {
    const { directory, path, good, ends } = await writeBatches(t);
    const end = ends.at(-1) ?? 0;
    const random = seededRandom(11);
    const undetected: number[] = [];
    // Every bit of two headers, and bits all over. Nothing stands behind the last write.
    const [headerStart = 0, lastStart = 0] = [ends[3], ends.at(-2)];
    const bits = [
      ...Array.from({ length: 24 * 8 }, (_, bit) => headerStart * 8 + bit),
      ...Array.from({ length: 24 * 8 }, (_, bit) => lastStart * 8 + bit),
      ...Array.from({ length: 150 }, () => randomBelow(random, lastStart * 8)),
      ...Array.from({ length: 600 }, () => randomBelow(random, (end - lastStart) * 8)).map(
        (bit) => lastStart * 8 + bit,
      ),
    ];
    for (const bit of bits) {
      const damaged = Buffer.from(good);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      writeFileSync(path, damaged);
      const error = await errorOfOpening(directory);
      if (codeOf(error) !== "corrupt_log") undetected.push(bit);
      else if (bit === bits[0]) {
        const { message } = error as Error;
        t.match(message, `${path} at offset ${headerStart}`);
        t.match(message, "join anew");
      }
    }
    t.strictSame(undetected, []);
  },
);

t.test("a last write that is damaged in many places, but whole, is refused", async (t) => {
  const { directory, path, good, ends } = await writeBatches(t);
  const [start = 0, end = 0] = ends.slice(-2);
  const random = seededRandom(3);
  for (let round = 0; round < 40; round += 1) {
    const damaged = Buffer.from(good);
    const from = start + randomBelow(random, end - start);
    const to = Math.min(end, from + 2 + randomBelow(random, 600));
    for (let at = from; at < to; at += 1) damaged[at] = 1 + randomBelow(random, 255);
    writeFileSync(path, damaged);
    t.match(await errorOfOpening(directory), { code: "corrupt_log" }, `from ${from} to ${to}`);
  }
});

t.test("zeros at the end of a write do not hide a flipped bit, nor a cut", async (t) => {
  const directory = await makeDirectory(t);
  const data = new Uint8Array(2_000);
  data.fill(1, 0, 300);
  {
    await using storage = await openSmall(directory);
    await storage.save({ entries: entries(1, 3) });
    await storage.save({ entries: [{ index: 4, term: 1, kind: "normal", data }] });
  }
  const path = join(directory, (await segmentNames(directory))[0] ?? "");
  const good = readFileSync(path);
  const end = good.findLastIndex((byte) => byte !== 0) + 1;
  for (let at = end - 2_048; at < end; at += 5) {
    const flipped = Buffer.from(good);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    writeFileSync(path, flipped);
    t.match(await errorOfOpening(directory), { code: "corrupt_log" }, `flipped at ${at}`);
  }
  writeFileSync(path, Buffer.from(good).fill(0, end - 1_900));
  t.equal(await lastIndexOf(directory), 3);
});

t.test("segments that are used again hold nothing of before", async (t) => {
  const directory = await makeDirectory(t);
  {
    await using storage = await openSmall(directory);
    writeFileSync(join(directory, "0123456789abcdef.spare"), Buffer.alloc(16 * 2 ** 10, 7));
    for (let first = 1; first < 800; first += 20) {
      await storage.save({ entries: entries(first, first + 19) });
    }
    await storage.saveSnapshot(snapshotMeta(700), new Uint8Array(10));
    await storage.compact(700);
  }
  await using storage = await openSmall(directory);
  const names = readdirSync(directory);
  t.notOk(
    names.some((name) => name.endsWith(".spare")),
    "those of earlier versions are not used",
  );
  const spares = names.filter((name) => name.endsWith(".blank"));
  t.ok(spares.length > 0);
  for (const name of spares) t.ok(readFileSync(join(directory, name)).every((byte) => byte === 0));
  t.equal(storage.lastIndex(), 800);
});

async function errorOfOpening(directory: string): Promise<unknown> {
  try {
    await using storage = await openSmall(directory);
    t.comment(`opened, up to ${storage.lastIndex()}`);
    return undefined;
  } catch (error) {
    return error;
  }
}

t.test(
  "data that looks like a later write does not make a torn batch look like damage",
  async (t) => {
    const { directory, path, good, ends, lastOfBatch } = await writeBatches(t);
    // A user who knows the format stores a whole frame as a value; what they cannot know is the
    // nonce of the segment that it will stand in.
    const [record] = entries(99, 99);
    t.ok(record);
    if (record === undefined) return;
    const place = { format: 2, nonce: 0, previousCheck: 0, sequence: 1_000 } as const;
    const forged = encodeFrame([{ kind: "entry", entry: record }], place).data;
    const start = ends.at(-2) ?? 0;
    const torn = Buffer.from(good).fill(0, start, start + 24);
    const nonce = Number.parseInt(/-([0-9a-f]{8})/.exec(basename(path))?.[1] ?? "", 16);
    applyMask(forged, maskOf(nonce), start + 100);
    forged.copy(torn, start + 100);
    writeFileSync(path, torn);
    t.equal(await lastIndexOf(directory), lastOfBatch.at(-2));
  },
);

t.test("a byte that rots while the log is open is noticed when it is read", async (t) => {
  const { directory, path, good } = await writeBatches(t);
  await using storage = await openSmall(directory);
  const damaged = Buffer.from(good);
  damaged[100] = (damaged[100] ?? 0) ^ 1;
  writeFileSync(path, damaged);
  t.throws(() => readAll(storage), { code: "corrupt_log" });
  await t.rejects(storage.save({ entries: [] }), { code: "corrupt_log" }, "and final");
});
