import {
  appendFileSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { ClusterEvent } from "../../src/events/index.ts";
import { EventJournal, openEventJournal } from "../../src/events/io/event-journal.ts";
import { defaultJournalLimits, type JournalLimits } from "../../src/events/journal-limits.ts";
import { type Clock, nodeId, silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";

const self = nodeId("n1");
const { signal } = new AbortController();

function agreed(index: number, changes: Partial<ClusterEvent> = {}): ClusterEvent {
  return {
    by: "log",
    sequence: 0,
    index,
    timeMs: 1_000 + index,
    type: "Normal",
    reason: "Placed",
    object: { kind: "task", namespace: "shop", service: "web", name: "web.1", id: "a" },
    message: "x".repeat(50),
    ...changes,
  };
}

const seen = {
  reason: "Unhealthy",
  object: { kind: "task", name: "web.1" },
  message: "no",
} as const;

function clockAt(nowMs: number): Clock {
  return { ...systemClock, now: () => nowMs };
}

async function open(
  directory: string,
  { limits = {}, nowMs = 2_000 }: { limits?: Partial<JournalLimits>; nowMs?: number } = {},
): Promise<EventJournal> {
  return await openEventJournal({
    directory,
    self,
    clock: clockAt(nowMs),
    logger: silentLogger,
    limits: { ...defaultJournalLimits, ...limits },
  });
}

/** In the order of time. */
async function all(journal: EventJournal, sinceMs = 0): Promise<ClusterEvent[]> {
  const found = await Array.fromAsync(journal.read(sinceMs, { signal }));
  return found.sort((a, b) => a.timeMs - b.timeMs);
}

const filesOf = (directory: string) => readdirSync(directory).sort();

t.test("what was kept is there after a restart, and numbers go on", async (t) => {
  const directory = t.testdir();
  {
    await using journal = await open(directory);
    journal.record([agreed(5), agreed(5, { sequence: 1 })]);
    journal.observe([seen], { index: 5 });
    journal.mark(9);
  }
  await using journal = await open(directory, { nowMs: 1_500 });
  t.equal(journal.lastIndex, 9);
  const before = await all(journal);
  t.strictSame(
    before.map(({ by, index, sequence }) => [by, index, sequence]),
    [
      ["log", 5, 0],
      ["log", 5, 1],
      ["n1", 5, 2_000],
    ],
  );
  t.strictSame(before[0], agreed(5));
  journal.observe([seen], { index: 9 });
  t.equal(journal.head.get(), 2_001, "though the clock went back");
  t.equal((await all(journal)).length, 4);
});

t.test("a torn tail is cut off, and what follows is whole", async (t) => {
  const directory = t.testdir();
  {
    await using journal = await open(directory);
    journal.record([agreed(1), agreed(2), agreed(3)]);
  }
  const file = join(directory, filesOf(directory)[0] ?? "");
  const whole = readFileSync(file);
  for (const lost of [1, 20, 150]) {
    writeFileSync(file, whole);
    truncateSync(file, whole.byteLength - lost);
    await using journal = await open(directory);
    t.equal(journal.lastIndex, 2, `${lost} bytes lost`);
    journal.record([agreed(3)]);
    t.strictSame(
      (await all(journal)).map(({ index }) => index),
      [1, 2, 3],
    );
  }
});

t.test("damage within costs only the damaged lines", async (t) => {
  const directory = t.testdir();
  {
    await using journal = await open(directory);
    journal.record([agreed(1), agreed(2), agreed(3)]);
  }
  const file = join(directory, filesOf(directory)[0] ?? "");
  const lines = readFileSync(file, "utf8").split("\n");
  lines[1] = lines[1]?.replace("web.1", "web.9") ?? "";
  writeFileSync(file, lines.join("\n"));
  appendFileSync(file, "rubbish\n");
  await using journal = await open(directory);
  t.strictSame(
    (await all(journal)).map(({ index }) => index),
    [1, 3],
  );
});

t.test("bounded in files, in events and in age", async (t) => {
  const cases = [
    { name: "files", limits: { fileBytes: 2_000, maxFiles: 3 } },
    { name: "events", limits: { fileBytes: 2_000, maxEvents: 20 } },
  ];
  for (const { name, limits } of cases) {
    const directory = t.testdir({ [name]: {} });
    const place = join(directory, name);
    await using journal = await open(place, { limits });
    for (let index = 1; index <= 100; index += 1) {
      journal.record([agreed(index)]);
      await journal.flushed();
    }
    const kept = (await all(journal)).map(({ index }) => index);
    t.equal(kept.at(-1), 100, name);
    t.ok(kept.length >= 5 && kept.length <= 40, `${name}: ${kept.length} kept`);
    t.ok(filesOf(place).length <= 4, `${name}: ${filesOf(place).length} files`);
    t.equal(kept[0], 101 - kept.length, "the newest, without a hole");
  }
  const directory = t.testdir({ age: {} });
  const place = join(directory, "age");
  const limits = { fileBytes: 500, keepMs: 86_400_000 };
  {
    await using journal = await open(place, { limits });
    for (let index = 1; index <= 10; index += 1) {
      journal.record([agreed(index)]);
      await journal.flushed();
    }
    t.equal((await all(journal)).length, 10);
  }
  await using young = await open(place, { limits, nowMs: 86_400_000 });
  t.equal((await all(young)).length, 10, "all of the last day");
  await using later = await open(place, { limits, nowMs: 86_400_000 + 5_000 });
  t.ok((await all(later)).length < 5, "the rest goes");
  t.equal(later.lastIndex, 10, "and what they said of the log is still known");
});

t.test("a stretch of the log that was leapt over is known, also after a restart", async (t) => {
  const directory = t.testdir();
  {
    await using journal = await open(directory, { limits: { fileBytes: 400 } });
    journal.leap(50);
    journal.leap(40);
    journal.record([agreed(51), agreed(52), agreed(53), agreed(54)]);
    await journal.flushed();
    journal.record([agreed(55)]);
  }
  await using journal = await open(directory);
  t.strictSame(journal.gaps, [{ from: 1, to: 50, atMs: 2_000 }]);
  t.equal(journal.lastIndex, 55);
});

t.test("only as many files are read as it takes, when it opens and when it is asked", async (t) => {
  const directory = t.testdir();
  {
    await using journal = await open(directory, { limits: { fileBytes: 1_000 } });
    journal.observe([seen], { index: 1 });
    for (let index = 1; index <= 30; index += 1) {
      journal.record([agreed(index)]);
      await journal.flushed();
    }
    let asked = 0;
    const isEnough = () => {
      asked += 1;
      return true;
    };
    const found = await Array.fromAsync(journal.read(0, { isEnough, signal }));
    t.equal(asked, 1);
    t.equal(found.at(-1)?.index, 30);
    t.ok(found.length < 10);
  }
  const files = filesOf(directory);
  t.ok(files.length > 4);
  // Whatever stands in an older file now, opening does not look at it.
  for (const name of files.slice(0, -1)) {
    const path = join(directory, name);
    writeFileSync(path, readFileSync(path, "utf8").replaceAll("web.1", "web.9"));
  }
  const warnings: unknown[] = [];
  const logger = { ...silentLogger, warn: (fields: unknown) => warnings.push(fields) };
  const options = { directory, self, clock: clockAt(2_000), logger };
  await using journal = await openEventJournal(options);
  t.strictSame(warnings, []);
  t.equal(journal.lastIndex, 30);
  t.equal(journal.head.get(), 2_000);
  rmSync(join(directory, files[0] ?? ""));
  t.ok((await all(journal)).length < 10, "a file that has gone is no failure");
});

t.test("the last ones are at hand for those who follow; others have to read", async (t) => {
  const directory = t.testdir();
  {
    await using before = await open(directory);
    before.observe([seen], { index: 1 });
  }
  await using journal = await open(directory, { limits: { recentEvents: 4 } });
  const first = journal.head.get();
  t.equal(journal.seenAfter(first - 1), undefined, "from before this start");
  t.strictSame(journal.seenAfter(first), []);
  journal.observe([seen, seen], { index: 1 });
  journal.record([agreed(1)]);
  t.equal(journal.seenAfter(first)?.length, 2);
  t.equal(journal.after(0)?.length, 3);
  t.equal(journal.after(3)?.length, 0);
  for (let i = 0; i < 20; i += 1) journal.observe([seen], { index: 1 });
  t.equal(journal.after(0), undefined);
  t.equal(journal.seenAfter(first), undefined);
  t.equal(journal.seenAfter(journal.head.get() - 2)?.length, 2);
});

t.test("more than can wait is counted, and said", async (t) => {
  const directory = t.testdir();
  await using journal = await open(directory, { limits: { maxWaitingBytes: 2_000 } });
  const events = Array.from({ length: 100 }, (_, i) => agreed(i + 1));
  journal.record(events);
  await journal.flushed();
  const kept = await all(journal);
  t.ok(kept.length < 20);
  const lost = kept.find(({ reason }) => reason === "EventsLost");
  t.equal(lost?.message, `${events.length - (kept.length - 1)} events could not be written down.`);
});

t.test("a disk that fails stops nothing", async (t) => {
  const directory = t.testdir({ events: {} });
  const journal = await open(join(directory, "events"));
  const blocked = new EventJournal({
    directory: join(directory, "nowhere"),
    self,
    clock: systemClock,
    logger: silentLogger,
  });
  blocked.observe([seen], { index: 1 });
  await blocked.flushed();
  t.equal(blocked.after(0)?.length, 1, "still at hand");
  await blocked[Symbol.asyncDispose]();
  await journal[Symbol.asyncDispose]();
});
