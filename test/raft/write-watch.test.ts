import t from "tap";
import { WriteWatch } from "../../src/raft/write-watch.ts";

const electionMs = 900;
const minuteMs = 60_000;

t.test("a write is slow above a third of the election timeout", async (t) => {
  const watch = new WriteWatch({ electionMs });
  t.equal(watch.note(300, 0), false);
  t.equal(watch.slowMs(0), undefined);
  t.equal(watch.note(301, 1), true);
  t.equal(watch.slowMs(1), 301);
});

t.test("slow writes are said once a minute, and the slowest is what counts", async (t) => {
  const watch = new WriteWatch({ electionMs });
  t.equal(watch.note(400, 0), true);
  t.equal(watch.note(800, 10), false);
  t.equal(watch.note(500, minuteMs - 1), false);
  t.equal(watch.slowMs(minuteMs - 1), 800);
  t.equal(watch.note(500, minuteMs), true);
});

t.test("a disk that is fast again is forgiven after a minute or two", async (t) => {
  for (const gapMs of [1_000, 10_000, 45_000]) {
    const watch = new WriteWatch({ electionMs });
    watch.note(400, 0);
    let nowMs = 0;
    const write = () => {
      nowMs += gapMs;
      watch.note(1, nowMs);
    };
    while (nowMs + gapMs < minuteMs) write();
    t.equal(watch.slowMs(nowMs), 400, "not yet");
    while (nowMs < 2 * minuteMs + gapMs) write();
    t.equal(watch.slowMs(nowMs), undefined);
  }
  const idle = new WriteWatch({ electionMs });
  idle.note(400, 0);
  t.equal(idle.slowMs(10 * minuteMs), undefined, "also when nothing is written");
});
