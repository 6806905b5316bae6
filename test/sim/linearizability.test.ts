import t from "tap";
import { checkRegister, type Operation } from "../../sim/raft/linearizability.ts";
import { randomBelow, seededRandom } from "../../src/kernel/index.ts";

/** `w1 0-2`: a write of 1 from 0 to 2. `r1 3-4`: a read of 1. `w2 5-?`: never answered. */
function history(text: string): readonly Operation[] {
  return text.split(",").map((call) => {
    const match = /^\s*([rw])(\d+) (\d+)-(\d+|\?)\s*$/.exec(call);
    if (match === null) throw new Error(`no operation: ${call}`);
    const [, kind, value, begin, end] = match;
    return {
      kind: kind === "w" ? "write" : "read",
      value: Number(value),
      begin: Number(begin),
      end: end === "?" ? undefined : Number(end),
    };
  });
}

const linearizable: Readonly<Record<string, string>> = {
  "nothing but the first value": "r0 0-1",
  "one call after the other": "w1 0-1, r1 2-3, w2 4-5, r2 6-7",
  "a read during a write may see the old value": "w1 0-1, w2 2-9, r1 3-4",
  "a read during a write may see the new value": "w1 0-1, w2 2-9, r2 3-4",
  "concurrent writes end in either order": "w1 0-9, w2 0-9, r2 10-11, r2 12-13",
  "concurrent reads on both sides of a write": "w1 0-9, r1 1-8, r0 1-8",
  "a write without an answer took effect": "w1 0-?, r1 5-6",
  "a write without an answer took effect long after": "w1 0-?, r0 5-6, w2 7-8, r2 9-10, r1 11-12",
  "a write without an answer never took effect": "w1 0-?, r0 5-6, r0 100-101",
  "Herlihy and Wing's queue of registers": "w0 0-1, w1 2-20, r1 3-5, w2 6-8, r1 30-31, w1 21-22",
  "two writes of the same value": "w1 0-1, w2 2-3, w1 4-?, r1 5-6, r1 7-8",
};

const notLinearizable: Readonly<Record<string, string>> = {
  "a value that nobody wrote": "w1 0-1, r7 2-3",
  "a stale read": "w1 0-1, w2 2-3, r1 4-5",
  "a read of the first value after a write": "w1 0-1, r0 2-3",
  "a read before its write began": "r1 0-1, w1 2-3",
  "a read before its write without an answer began": "r1 0-1, w1 2-?",
  "two reads that see a write come and go": "w1 0-1, w2 2-9, r2 3-4, r1 5-6",
  "readers that see concurrent writes in two orders": "w1 0-20, w2 0-20, r1 1-2, r2 3-4, r1 5-6",
  "a lost write": "w1 0-1, w2 2-3, r1 10-11",
  "a write without an answer that takes effect twice": "w1 0-?, r1 2-3, w2 4-5, r2 6-7, r1 8-9",
  "a split brain: each side reads its own write": "w1 0-1, w2 2-3, r2 4-5, r1 6-7, r2 8-9",
};

t.test("accepts", async (t) => {
  for (const [name, text] of Object.entries(linearizable)) {
    t.equal(checkRegister(history(text)), "linearizable", name);
  }
});

t.test("refuses", async (t) => {
  for (const [name, text] of Object.entries(notLinearizable)) {
    t.equal(checkRegister(history(text)), "not_linearizable", name);
  }
});

t.test("agrees with trying every order, on random histories", async (t) => {
  const random = seededRandom(1);
  const counts = { linearizable: 0, not_linearizable: 0, undecided: 0 };
  for (let round = 0; round < 3_000; round += 1) {
    const values = 1 + randomBelow(random, 4);
    const operations = Array.from({ length: 6 }, (): Operation => {
      const begin = randomBelow(random, 12);
      const isWrite = random.next() < 0.5;
      const end = isWrite && random.next() < 0.2 ? undefined : begin + randomBelow(random, 6);
      const value = isWrite ? 1 + randomBelow(random, values) : randomBelow(random, values + 1);
      return { kind: isWrite ? "write" : "read", value, begin, end };
    });
    const verdict = checkRegister(operations);
    counts[verdict] += 1;
    const expected = hasOrder(operations, 0) ? "linearizable" : "not_linearizable";
    if (verdict !== expected) t.same(verdict, expected, JSON.stringify(operations));
  }
  t.ok(counts.linearizable > 300 && counts.not_linearizable > 300, JSON.stringify(counts));
});

/** The definition, tried out: some order of all calls that respects their times and values. */
function hasOrder(left: readonly Operation[], value: number): boolean {
  if (left.every(({ end }) => end === undefined)) return true;
  return left.some((next) => {
    const isFirst = left.every(
      (other) => other === next || other.end === undefined || other.end >= next.begin,
    );
    const fits = next.kind === "write" || next.value === value;
    return (
      isFirst &&
      fits &&
      hasOrder(
        left.filter((other) => other !== next),
        next.value,
      )
    );
  });
}

t.test("gives up at its limit instead of guessing", async (t) => {
  const writes = Array.from({ length: 12 }, (_, position) => `w${position + 1} 0-100`);
  const reads = ["r3 101-102", "r4 103-104"];
  const operations = history([...writes, ...reads].join(","));
  t.equal(checkRegister(operations), "not_linearizable");
  t.equal(checkRegister(operations, { maxStates: 5 }), "undecided");
});

t.test("decides a long history with many clients soon", async (t) => {
  const random = seededRandom(2);
  const operations: Operation[] = [];
  let value = 0;
  for (let moment = 0; moment < 1_000; moment += 1) {
    const begin = 10 * moment - randomBelow(random, 60);
    const end = 10 * moment + randomBelow(random, 60);
    const isWrite = random.next() < 0.5;
    if (isWrite) value = moment + 1;
    operations.push({ kind: isWrite ? "write" : "read", value, begin, end });
  }
  t.equal(checkRegister(operations), "linearizable");
  const stale = { kind: "read", value: 0, begin: 5_000, end: 5_001 } as const;
  t.equal(checkRegister([...operations, stale]), "not_linearizable");
});
