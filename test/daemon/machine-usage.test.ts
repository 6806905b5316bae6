import t from "tap";
import type { MachineUsage } from "../../src/cluster/index.ts";
import { machineMeter, watchUsage } from "../../src/daemon/machine-usage.ts";
import { silentLogger } from "../../src/kernel/index.ts";
import { VirtualClock } from "../agent/virtual-clock.ts";

const capacity = { cpuMillis: 4_000, memoryBytes: 1_000 };
const quiet: MachineUsage = {
  cpuMillis: 100,
  memoryBytes: 500,
  diskBytes: 100,
  diskCapacityBytes: 1_000,
};

t.test("a real machine uses something, and no more than it has", async (t) => {
  const meter = machineMeter(t.testdir());
  const until = performance.now() + 30;
  while (performance.now() < until) Math.sqrt(until);
  const usage = await meter.read();
  t.ok(usage.cpuMillis >= 0);
  t.ok(usage.memoryBytes > 0);
  t.ok(usage.diskBytes > 0 && usage.diskBytes <= usage.diskCapacityBytes);
});

t.test("only what has changed noticeably is told", async (t) => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  let now = quiet;
  let isBroken = false;
  const read = async () => {
    if (isBroken) throw new Error("no such file system");
    return now;
  };
  const usage = watchUsage({
    meter: { read },
    capacity,
    clock,
    logger: silentLogger,
    signal: stop.signal,
  });
  t.equal(usage.get(), undefined);
  await clock.advance(1_000);
  t.strictSame(usage.get(), quiet, "the first figure comes soon");
  now = { ...quiet, cpuMillis: 250, memoryBytes: 510 };
  await clock.advance(5_000);
  t.strictSame(usage.get(), quiet, "a little more of each is no news");
  isBroken = true;
  await clock.advance(5_000);
  t.strictSame(usage.get(), quiet, "what cannot be measured stays");
  isBroken = false;
  for (const change of [{ cpuMillis: 400 }, { memoryBytes: 600 }, { diskBytes: 120 }]) {
    now = { ...quiet, ...change };
    await clock.advance(5_000);
    t.match(usage.get(), change);
  }
  stop.abort();
});
