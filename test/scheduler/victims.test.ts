import t from "tap";
import { randomBelow, seededRandom, taskId } from "../../src/kernel/index.ts";
import { type Candidate, chooseVictims } from "../../src/scheduler/victims.ts";
import { task } from "../builders.ts";

function candidate(id: string, of: Partial<Candidate> & { readonly run?: number } = {}): Candidate {
  const { run, ...rest } = of;
  return {
    task: task({ id: taskId(id), ...(run === undefined ? {} : { run }) }),
    priority: 0,
    cpuMillis: 0,
    memoryBytes: 0,
    isNeeded: false,
    ...rest,
  };
}

function ids(chosen: readonly Candidate[] | undefined): readonly string[] | undefined {
  return chosen?.map(({ task: { id } }) => id).toSorted();
}

const cpu = (cpuMillis: number) => ({ cpuMillis, memoryBytes: 0 });

for (const [what, candidates, shortfall, chosen] of [
  ["nobody where nothing is short", [candidate("a", cpu(100))], cpu(0), []],
  ["nobody where all together are too little", [candidate("a", cpu(100))], cpu(200), undefined],
  [
    "one large task and not two small ones",
    [candidate("a", cpu(100)), candidate("b", cpu(100)), candidate("c", cpu(200))],
    cpu(150),
    ["c"],
  ],
  [
    "the lower of two that would do",
    [candidate("a", { ...cpu(300), priority: 50 }), candidate("b", { ...cpu(200), priority: 10 })],
    cpu(150),
    ["b"],
  ],
  [
    "one of a higher priority where it takes two of a lower one",
    [
      candidate("a", { ...cpu(200), priority: 50 }),
      candidate("b", cpu(100)),
      candidate("c", cpu(100)),
    ],
    cpu(150),
    ["a"],
  ],
  [
    "the holder of a port, and nobody else if it frees enough",
    [candidate("a", { ...cpu(100), isNeeded: true }), candidate("b", cpu(500))],
    cpu(100),
    ["a"],
  ],
  [
    "what is not the run of a job, of equals",
    [candidate("a", { ...cpu(100), run: 1 }), candidate("b", cpu(100))],
    cpu(50),
    ["b"],
  ],
  [
    "nobody who was chosen first and is not needed after all",
    [
      candidate("a", { cpuMillis: 90, memoryBytes: 90 }),
      candidate("b", { cpuMillis: 100, memoryBytes: 0 }),
      candidate("c", { cpuMillis: 0, memoryBytes: 100 }),
    ],
    { cpuMillis: 100, memoryBytes: 100 },
    ["b", "c"],
  ],
] as const) {
  t.test(`stops ${what}`, async (t) => {
    t.strictSame(ids(chooseVictims(candidates, shortfall)), chosen);
  });
}

t.test("no choice is larger than the smallest, and none has a spare one", async (t) => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = seededRandom(seed);
    const isOneAmount = seed % 2 === 0;
    const candidates = Array.from({ length: 1 + randomBelow(random, 9) }, (_, i) =>
      candidate(`t${i}`, {
        priority: 10 * randomBelow(random, 3),
        cpuMillis: randomBelow(random, 6) * 100,
        memoryBytes: isOneAmount ? 0 : randomBelow(random, 6) * 100,
      }),
    );
    const shortfall = {
      cpuMillis: 100 * (1 + randomBelow(random, 12)),
      memoryBytes: isOneAmount ? 0 : 100 * randomBelow(random, 12),
    };
    const isEnough = (chosen: readonly Candidate[]) =>
      sum(chosen, "cpuMillis") >= shortfall.cpuMillis &&
      sum(chosen, "memoryBytes") >= shortfall.memoryBytes;
    const chosen = chooseVictims(candidates, shortfall);
    const possible = subsetsOf(candidates).filter(isEnough);
    t.equal(chosen === undefined, possible.length === 0, `seed ${seed}: found if there is any`);
    if (chosen === undefined) continue;
    if (!isEnough(chosen)) t.fail(`seed ${seed}: not enough`);
    const spare = chosen.find((each) => isEnough(chosen.filter((other) => other !== each)));
    if (spare !== undefined) t.fail(`seed ${seed}: ${spare.task.id} need not go`);
    if (!isOneAmount) continue;
    const fewest = Math.min(...possible.map(({ length }) => length));
    t.equal(chosen.length, fewest, `seed ${seed}: as few as possible`);
    const highest = (of: readonly Candidate[]) => Math.max(...of.map(({ priority }) => priority));
    const lowest = Math.min(
      ...possible.filter(({ length }) => length === fewest).map((each) => highest(each)),
    );
    t.equal(highest(chosen), lowest, `seed ${seed}: as low as possible`);
  }
});

function sum(of: readonly Candidate[], key: "cpuMillis" | "memoryBytes"): number {
  return of.reduce((total, each) => total + each[key], 0);
}

function subsetsOf(all: readonly Candidate[]): readonly (readonly Candidate[])[] {
  return Array.from({ length: 2 ** all.length }, (_, bits) =>
    all.filter((_each, i) => (bits & (1 << i)) !== 0),
  );
}
