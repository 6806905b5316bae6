import t from "tap";
import type { ClusterState } from "../../src/cluster/index.ts";
import { startFenceWatch } from "../../src/daemon/fence-watch.ts";
import { graceMs as settlingMs, watchSettled } from "../../src/daemon/settled.ts";
import { Cell, nodeId, silentLogger, taskId } from "../../src/kernel/index.ts";
import { fenceMarginMs, leaseMs } from "../../src/spec/index.ts";
import { VirtualClock } from "../agent/virtual-clock.ts";
import { applyAll, clusterOf, serviceSpec, task } from "../builders.ts";

const self = nodeId("n1");
const failover = { afterMs: 40_000, isFenced: true } as const;
const graceMs = 10_000;
const lease = leaseMs({ failover }) ?? 0;

/** A node with one fenced task, and a cluster that answers as long as it is told to. */
class Rig implements AsyncDisposable {
  readonly clock = new VirtualClock();
  readonly state: Cell<ClusterState>;
  readonly watch;
  answers = true;
  /** How long an answer takes. */
  answerMs = 5;

  constructor({ answers = true, sinceMs }: { answers?: boolean; sinceMs?: number } = {}) {
    const put = { kind: "put_services", specs: [serviceSpec({ failover })], nowMs: 0 } as const;
    const known = applyAll([put], clusterOf("n1"));
    this.state = new Cell<ClusterState>({ ...known, tasks: new Map([[taskId("t1"), task()]]) });
    this.answers = answers;
    this.watch = startFenceWatch({
      self,
      state: this.state,
      barrier: async ({ signal }) => {
        await this.clock.sleep(this.answerMs, { signal });
        if (!this.answers) throw new Error("no leader can be found");
      },
      ...(sinceMs === undefined ? {} : { sinceMs }),
      clock: this.clock,
      logger: silentLogger,
    });
  }

  get isOff(): boolean {
    return this.watch.fencedOff.get().has(taskId("t1"));
  }

  /** How long until the task is off; Infinity when it is not within `limitMs`. */
  async untilOff(limitMs: number): Promise<number> {
    const from = this.clock.monotonic();
    while (this.clock.monotonic() - from < limitMs) {
      if (this.isOff) return this.clock.monotonic() - from;
      await this.clock.advance(100);
    }
    return Number.POSITIVE_INFINITY;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.watch[Symbol.asyncDispose]();
  }
}

t.test("A fenced task", async (t) => {
  t.test("runs on for as long as the cluster answers", async (t) => {
    await using rig = new Rig();
    t.equal(await rig.untilOff(300_000), Number.POSITIVE_INFINITY);
  });

  t.test("has stopped before its lease ends, with the margin", async (t) => {
    await using rig = new Rig();
    await rig.clock.advance(20_000);
    rig.answers = false;
    const tookMs = await rig.untilOff(300_000);
    // It asked within the last second; from then on it may run for the lease.
    const latestMs = lease - fenceMarginMs - graceMs;
    t.ok(tookMs <= latestMs + 100 && tookMs >= latestMs - 1_200, `${tookMs} ms`);
  });

  t.test("has stopped in time also when the cluster does not even refuse", async (t) => {
    await using rig = new Rig();
    await rig.clock.advance(20_000);
    rig.answerMs = 3_600_000;
    const tookMs = await rig.untilOff(300_000);
    t.ok(tookMs <= lease - fenceMarginMs - graceMs + 100, `${tookMs} ms`);
  });

  t.test("counts its lease from the question, not from the answer", async (t) => {
    await using rig = new Rig();
    rig.answerMs = 1_900;
    await rig.clock.advance(20_000);
    rig.answers = false;
    const tookMs = await rig.untilOff(300_000);
    t.ok(tookMs <= lease - fenceMarginMs - graceMs + 100, `${tookMs} ms`);
  });

  t.test("may run again when the cluster answers", async (t) => {
    await using rig = new Rig();
    await rig.clock.advance(5_000);
    rig.answers = false;
    await rig.clock.advance(60_000);
    t.equal(rig.isOff, true);
    rig.answers = true;
    await rig.clock.advance(3_000);
    t.equal(rig.isOff, false);
  });

  t.test("that was told to stop gets no new lease, though the cluster answers", async (t) => {
    await using rig = new Rig();
    await rig.clock.advance(5_000);
    const stopped = task({ desired: "stopped", stoppedAtIndex: 9 });
    rig.state.set({ ...rig.state.get(), tasks: new Map([[taskId("t1"), stopped]]) });
    const tookMs = await rig.untilOff(300_000);
    t.ok(tookMs <= lease - fenceMarginMs - graceMs + 100, `${tookMs} ms`);
  });

  t.test(
    "that a daemon finds at its start is off before the agent goes by the last agreed state",
    async (t) => {
      await using rig = new Rig({ answers: false });
      const settled = watchSettled({
        barrier: () => Promise.reject(new Error("no leader can be found")),
        clock: rig.clock,
        logger: silentLogger,
        signal: new AbortController().signal,
      });
      const tookMs = await rig.untilOff(300_000);
      t.ok(tookMs >= 0.8 * settlingMs && !settled.get(), `after ${tookMs} ms`);
      await rig.clock.advance(settlingMs);
      t.ok(settled.get() && rig.isOff, "then it does, and the task is off still");
    },
  );

  t.test("is off at once where the daemon has looked for a leader for long", async (t) => {
    await using rig = new Rig({ answers: false, sinceMs: -settlingMs });
    t.equal(rig.isOff, true);
  });

  t.test("that is new is not started before the cluster has answered", async (t) => {
    await using rig = new Rig({ answers: false });
    rig.state.set({ ...rig.state.get(), tasks: new Map() });
    await rig.clock.advance(30_000);
    t.equal(rig.isOff, false);
    rig.state.set({ ...rig.state.get(), tasks: new Map([[taskId("t1"), task()]]) });
    await rig.clock.advance(10);
    t.equal(rig.isOff, true);
    rig.answers = true;
    await rig.clock.advance(3_000);
    t.equal(rig.isOff, false);
  });
});
