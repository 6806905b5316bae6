import t from "tap";
import { FailureDetector } from "../../src/gossip/failure-detector.ts";
import { gossipTimings, type MemberStatus } from "../../src/gossip/index.ts";
import { type NodeId, nodeId, seededRandom } from "../../src/kernel/index.ts";
import { NetworkError } from "../../src/network/index.ts";
import { VirtualClock } from "../agent/virtual-clock.ts";

/** What the detector concludes from who answers whom, with everybody else scripted. */

const timing = gossipTimings.lan;
const self = nodeId("self");
const target = nodeId("target");

type Script = {
  readonly others?: Readonly<Record<string, MemberStatus>>;
  /** Who answers this node's own pings. */
  readonly answers?: (node: NodeId) => boolean;
  /** What a helper says of the target; undefined where it does not answer either. */
  readonly helper?: (helper: NodeId, target: NodeId) => boolean | "refused" | undefined;
  /** Whether those that do not answer have ended, so that their machine says so at once. */
  readonly isRefused?: boolean;
};

class Bench implements AsyncDisposable {
  readonly clock = new VirtualClock();
  readonly silent: NodeId[] = [];
  readonly isolated: boolean[] = [];
  readonly pinged: NodeId[] = [];
  readonly gone: NodeId[] = [];
  readonly asked: (readonly [NodeId, NodeId])[] = [];
  script: Script;
  /** For how long this node stood still: its timers come that much late. */
  frozenMs = 0;
  ticks = 0;
  readonly detector: FailureDetector;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;

  constructor(script: Script) {
    this.script = script;
    this.detector = new FailureDetector({
      self,
      timing,
      clock: {
        now: () => this.clock.now(),
        monotonic: () => this.clock.monotonic() + this.frozenMs,
        sleep: (ms, options) => this.clock.sleep(ms, options),
      },
      random: seededRandom(3),
      members: () =>
        Object.entries({ [self]: "alive" as const, ...this.script.others }).map(([id, status]) => ({
          nodeId: nodeId(id),
          status,
          incarnation: 1,
          sinceMs: 0,
          suspectedBy: new Set<NodeId>(),
          isGone: false,
        })),
      ping: (node) => this.#ping(node),
      indirectPing: (helper, node) => {
        this.asked.push([helper, node]);
        const reach = this.script.helper?.(helper, node);
        if (typeof reach !== "boolean") return Promise.resolve(reach);
        return Promise.resolve(reach ? "answered" : "silent");
      },
      onSilent: (node, isGone) => {
        this.silent.push(node);
        if (isGone) this.gone.push(node);
      },
      onIsolated: (isIsolated) => this.isolated.push(isIsolated),
      onReleased: () => undefined,
      onTick: ({ isGoneOnly }) => {
        if (!isGoneOnly) this.ticks += 1;
      },
    });
    this.#running = this.detector.run(this.#stopping.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new Error("the test ends"));
    await this.#running;
  }

  #ping(node: NodeId): Promise<void> {
    this.pinged.push(node);
    if (this.script.answers?.(node) !== true) {
      const refusal = new NetworkError("unreachable", "nothing listens there");
      return Promise.reject(this.script.isRefused === true ? refusal : new Error("no answer"));
    }
    this.detector.heardFrom(node);
    return Promise.resolve();
  }
}

/** Few enough for everybody to be watched by this node. */
const few = { target: "alive", h1: "alive", h2: "alive" } as const;
const many = { ...few, h3: "alive", h4: "alive" } as const;
const allButTarget = (node: NodeId) => node !== target;

const cases: readonly {
  readonly name: string;
  readonly script: Script;
  readonly isSilent: boolean;
  readonly isIsolated: boolean;
}[] = [
  {
    name: "who answers is not silent, and nobody is asked about it",
    script: { others: few, answers: () => true },
    isSilent: false,
    isIsolated: false,
  },
  {
    name: "who answers neither this node nor its helpers is silent",
    script: { others: few, answers: allButTarget, helper: () => false },
    isSilent: true,
    isIsolated: false,
  },
  {
    name: "who answers one of the helpers is not",
    script: { others: few, answers: allButTarget, helper: (helper) => helper === "h1" },
    isSilent: false,
    isIsolated: false,
  },
  {
    name: "helpers that do not answer confirm nothing, and while others are heard prove nothing",
    script: { others: few, answers: allButTarget, helper: () => undefined },
    isSilent: false,
    isIsolated: false,
  },
  {
    name: "who hears nobody at all is alone and blames nobody",
    script: { others: few, answers: () => false, helper: () => undefined },
    isSilent: false,
    isIsolated: true,
  },
  {
    name: "with nobody to ask the own word has to do",
    script: { others: { target: "alive" }, answers: () => false },
    isSilent: true,
    isIsolated: false,
  },
  {
    name: "those who failed or are suspect themselves are not asked",
    script: {
      others: { target: "alive", h1: "failed", h2: "suspect" },
      answers: allButTarget,
      helper: () => true,
    },
    isSilent: true,
    isIsolated: false,
  },
];

for (const { name, script, isSilent, isIsolated } of cases) {
  t.test(name, async (t) => {
    await using bench = new Bench(script);
    await bench.clock.advance(6_000);
    t.equal(bench.silent.includes(target), isSilent);
    t.equal(bench.isolated.at(-1) ?? false, isIsolated);
    if (script.answers?.(target) === true) t.strictSame(bench.asked, []);
  });
}

t.test("nobody is silent before the time that the preset gives it", async (t) => {
  await using bench = new Bench({ others: few, answers: allButTarget, helper: () => false });
  await bench.clock.advance(timing.silenceMs);
  t.strictSame(bench.silent, []);
  await bench.clock.advance(2 * timing.pingIntervalMs);
  t.strictSame([...new Set(bench.silent)], [target]);
});

t.test("three helpers are asked, never the target and never oneself", async (t) => {
  await using bench = new Bench({ others: many, answers: () => false, helper: () => false });
  await bench.clock.advance(timing.silenceMs + timing.pingIntervalMs);
  const byTarget = Map.groupBy(bench.asked, ([, node]) => node);
  t.equal(byTarget.size, 3, "of the five others three are watched");
  for (const [node, asked] of byTarget) {
    const names = asked.map(([helper]) => helper);
    t.equal(new Set(names).size, 3, `three different ones about ${node}`);
    t.notOk(names.includes(self) || names.includes(node));
  }
});

t.test("any sign of life ends being alone", async (t) => {
  await using bench = new Bench({ others: few, answers: () => false, helper: () => undefined });
  await bench.clock.advance(4_000);
  t.strictSame(bench.isolated, [true], "said once");
  bench.detector.heardFrom(nodeId("h2"));
  t.strictSame(bench.isolated, [true, false]);
});

t.test("a member that failed is tried on, but nobody is asked about it", async (t) => {
  await using bench = new Bench({
    others: { ...few, target: "failed" },
    answers: allButTarget,
    helper: () => undefined,
  });
  await bench.clock.advance(60_000);
  const tries = bench.pinged.filter((node) => node === target).length;
  t.ok(tries >= 12 && tries < 40, `it may return: tried ${tries} times in a minute`);
  t.strictSame([bench.asked, bench.silent, bench.isolated], [[], [], []]);
});

t.test("a member that left is not tried", async (t) => {
  await using bench = new Bench({ others: { ...few, target: "left" }, answers: () => true });
  await bench.clock.advance(5_000);
  t.notOk(bench.pinged.includes(target));
  t.ok(bench.pinged.includes(nodeId("h1")));
});

t.test("a node that was frozen itself believes nobody to be silent for some rounds", async (t) => {
  await using bench = new Bench({ others: few, answers: () => true });
  await bench.clock.advance(2_000);
  bench.script = { others: few, answers: allButTarget, helper: () => false };
  const before = bench.ticks;
  bench.frozenMs = 10_000;
  await bench.clock.advance(timing.pingIntervalMs);
  await bench.clock.advance(2 * timing.pingIntervalMs);
  t.strictSame(bench.silent, [], "the silence was its own");
  t.equal(bench.ticks, before, "nor does a suspicion run out meanwhile");
  await bench.clock.advance(10_000);
  t.ok(bench.silent.includes(target), "but one that lasts is noticed");
  t.ok(bench.ticks > before);
});

t.test("a ping that hangs is not repeated, so that slow members get no more of them", async (t) => {
  const clock = new VirtualClock();
  const stopping = new AbortController();
  let pings = 0;
  const detector = new FailureDetector({
    self,
    timing,
    clock,
    random: seededRandom(1),
    members: () =>
      [self, target].map((id) => {
        return {
          nodeId: id,
          status: "alive",
          incarnation: 1,
          sinceMs: 0,
          suspectedBy: new Set(),
          isGone: false,
        };
      }),
    ping: () => {
      pings += 1;
      return new Promise(() => undefined);
    },
    indirectPing: () => Promise.resolve(undefined),
    onSilent: () => undefined,
    onIsolated: () => undefined,
    onReleased: () => undefined,
    onTick: () => undefined,
  });
  const running = detector.run(stopping.signal);
  await clock.advance(10_000);
  t.equal(pings, 1);
  stopping.abort(new Error("the test ends"));
  await running;
});

for (const [name, isRefused, helper, wanted] of [
  ["all who try are refused", true, "refused", "gone"],
  ["another only hears nothing", true, false, "silent"],
  ["only others are refused", false, "refused", "not yet"],
  ["another reaches it", true, true, "not yet"],
] as const) {
  t.test(`before a second of silence a member is ${wanted} where ${name}`, async (t) => {
    await using bench = new Bench({ others: few, answers: () => true });
    await bench.clock.advance(100);
    bench.script = { others: few, answers: allButTarget, helper: () => helper, isRefused };
    await bench.clock.advance(timing.pingIntervalMs);
    t.equal(bench.silent.length > 0, wanted !== "not yet");
    t.equal(bench.gone.length > 0, wanted === "gone");
  });
}

t.test("a newcomer that was never let in takes no refusal for an end", async (t) => {
  const script = { others: few, answers: allButTarget, isRefused: true } as const;
  await using bench = new Bench({ ...script, helper: () => "refused" });
  await bench.clock.advance(4 * timing.pingIntervalMs);
  t.ok(bench.silent.includes(target), "though it is suspect like one that is silent");
  t.strictSame(bench.gone, []);
  bench.script = { others: few, answers: () => true };
  await bench.clock.advance(timing.pingIntervalMs);
  bench.script = { ...script, helper: () => "refused" };
  await bench.clock.advance(timing.pingIntervalMs);
  t.ok(bench.gone.includes(target), "but believes one that it was let in by");
});

t.test("a member whose connection breaks is asked at once, and others about it", async (t) => {
  await using bench = new Bench({ others: few, answers: () => true });
  await bench.clock.advance(timing.pingIntervalMs + 100);
  bench.script = { others: few, answers: allButTarget, helper: () => "refused", isRefused: true };
  bench.detector.brokeOff(target);
  await bench.clock.advance(1);
  t.strictSame(bench.gone, [target]);
});

t.test("a member that breaks off again and again is not asked each time", async (t) => {
  await using bench = new Bench({ others: few, answers: () => true });
  await bench.clock.advance(timing.pingIntervalMs + 100);
  const before = bench.pinged.length;
  for (let time = 0; time < 50; time += 1) {
    bench.detector.brokeOff(target);
    await bench.clock.advance(1);
  }
  t.equal(bench.pinged.length - before, 1);
  bench.detector.brokeOff(nodeId("stranger"));
  t.equal(bench.pinged.length - before, 1, "nor is one that is not watched");
});

t.test("a node that was late itself still believes a machine that refuses", async (t) => {
  await using bench = new Bench({ others: few, answers: () => true });
  await bench.clock.advance(2_000);
  bench.script = { others: few, answers: allButTarget, helper: () => "refused", isRefused: true };
  bench.frozenMs = 10_000;
  await bench.clock.advance(2 * timing.pingIntervalMs);
  t.ok(bench.gone.includes(target));
});
