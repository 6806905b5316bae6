import t from "tap";
import { clockText, parseTimeMs } from "../../src/cli/clock-text.ts";

// As this machine's clock says it, whatever its time zone.
const now = new Date(2026, 0, 31, 14, 5, 0).getTime();
const minuteMs = 60_000;

t.test("a time in the past is written in three ways", async (t) => {
  t.equal(parseTimeMs("-10m", now), now - 10 * minuteMs);
  t.equal(parseTimeMs("14:00", now), now - 5 * minuteMs);
  t.equal(parseTimeMs("14:04:30", now), now - minuteMs / 2);
  const yesterday = new Date(2026, 0, 30, 14, 6, 0).getTime();
  t.equal(parseTimeMs("14:06", now), yesterday, "yesterday's, where today's is still to come");
  t.equal(parseTimeMs("2026-01-31T13:05:00+01:00", now), Date.UTC(2026, 0, 31, 12, 5));
  for (const wrong of ["soon", "25:00", "14:60", "-10", "2026-01-31", "2026-13-01T00:00:00Z", ""]) {
    t.throws(() => parseTimeMs(wrong, now), { code: "usage" }, `"${wrong}"`);
  }
});

t.test("times are shown by this machine's clock, older ones with their date", async (t) => {
  t.equal(clockText(new Date(now).toISOString(), now + minuteMs), "14:05:00");
  t.equal(clockText(new Date(now).toISOString(), now + 86_400_000), "2026-01-31 14:05:00");
});
