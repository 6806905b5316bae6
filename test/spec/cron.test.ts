import t from "tap";
import { parseCron } from "../../src/spec/cron.ts";
import { isTimeZone, lastDueMs, nextDueMs } from "../../src/spec/cron-time.ts";

function cronOf(text: string) {
  const parsed = parseCron(text);
  if (parsed.kind === "invalid") throw new Error(parsed.message);
  return parsed.cron;
}

/** The next due times after a moment, as UTC. */
function dues(text: string, after: string, zone = "UTC", count = 1): readonly string[] {
  const times: string[] = [];
  let timeMs = Date.parse(after);
  for (let i = 0; i < count; i += 1) {
    const next = nextDueMs(cronOf(text), zone, timeMs);
    if (next === undefined) break;
    times.push(new Date(next).toISOString().replace(":00.000Z", "Z"));
    timeMs = next;
  }
  return times;
}

const cases: readonly {
  readonly cron: string;
  readonly after: string;
  readonly zone?: string;
  readonly due: readonly string[];
}[] = [
  { cron: "* * * * *", after: "2026-01-01T00:00:00Z", due: ["2026-01-01T00:01Z"] },
  { cron: "* * * * *", after: "2026-01-01T00:00:59.999Z", due: ["2026-01-01T00:01Z"] },
  { cron: "0 3 * * *", after: "2026-01-01T03:00:00Z", due: ["2026-01-02T03:00Z"] },
  {
    cron: "*/20 8-9 * * *",
    after: "2026-01-01T00:00:00Z",
    due: ["2026-01-01T08:00Z", "2026-01-01T08:20Z", "2026-01-01T08:40Z", "2026-01-01T09:00Z"],
  },
  { cron: "5/25 0 * * *", after: "2026-01-01T00:05:00Z", due: ["2026-01-01T00:30Z"] },
  { cron: "0 0 * * mon-fri", after: "2026-01-02T00:00:00Z", due: ["2026-01-05T00:00Z"] },
  { cron: "0 0 * * 7", after: "2026-01-01T00:00:00Z", due: ["2026-01-04T00:00Z"] },
  { cron: "0 0 * JAN,jul 0", after: "2026-02-01T00:00:00Z", due: ["2026-07-05T00:00Z"] },
  { cron: "0 0 29 2 *", after: "2026-01-01T00:00:00Z", due: ["2028-02-29T00:00Z"] },
  { cron: "0 0 31 2 *", after: "2026-01-01T00:00:00Z", due: [] },
  // Either day field is enough once both are restricted.
  {
    cron: "0 0 13 * fri",
    after: "2026-01-08T00:00:00Z",
    due: ["2026-01-09T00:00Z", "2026-01-13T00:00Z"],
  },
  { cron: "@hourly", after: "2026-01-01T00:00:00Z", due: ["2026-01-01T01:00Z"] },
  {
    cron: "0 3 * * *",
    zone: "Europe/Berlin",
    after: "2026-01-01T00:00:00Z",
    due: ["2026-01-01T02:00Z"],
  },
  // Half an hour off, and across the date line.
  {
    cron: "0 9 * * *",
    zone: "Asia/Kolkata",
    after: "2026-06-01T00:00:00Z",
    due: ["2026-06-01T03:30Z"],
  },
  {
    cron: "0 1 * * *",
    zone: "Pacific/Kiritimati",
    after: "2026-06-01T00:00:00Z",
    due: ["2026-06-01T11:00Z"],
  },
  // On 2026-03-29 clocks in Berlin go from 2:00 to 3:00: 2:30 is due when they show 3:30.
  {
    cron: "30 2 * * *",
    zone: "Europe/Berlin",
    after: "2026-03-28T12:00:00Z",
    due: ["2026-03-29T01:30Z", "2026-03-30T00:30Z"],
  },
  {
    cron: "30 * * * *",
    zone: "Europe/Berlin",
    after: "2026-03-29T00:00:00Z",
    due: ["2026-03-29T00:30Z", "2026-03-29T01:30Z"],
  },
  // On 2026-10-25 they go back from 3:00 to 2:00: 2:30 comes twice and is due once.
  {
    cron: "30 2 * * *",
    zone: "Europe/Berlin",
    after: "2026-10-24T12:00:00Z",
    due: ["2026-10-25T00:30Z", "2026-10-26T01:30Z"],
  },
  {
    cron: "30 * * * *",
    zone: "Europe/Berlin",
    after: "2026-10-25T00:00:00Z",
    due: ["2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T02:30Z"],
  },
];

t.test("the next due time", async (t) => {
  for (const { cron, after, zone, due } of cases) {
    t.test(`of ${cron} after ${after}${zone === undefined ? "" : ` in ${zone}`}`, async (t) => {
      t.strictSame(dues(cron, after, zone, Math.max(1, due.length)), due);
    });
  }
});

t.test("what is no schedule is refused with the field that is wrong", async (t) => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ["* * * *", /five fields .* not 4/],
    ["0 0 3 * * *", /five fields .* not 6/],
    ["60 * * * *", /`60` is not a minute/],
    ["* 24 * * *", /`24` is not a hour/],
    ["* * 0 * *", /day of the month/],
    ["* * * 13 *", /`13` is not a month/],
    ["* * * * sunday", /day of the week/],
    ["5-1 * * * *", /minute/],
    ["*/0 * * * *", /minute/],
    ["1,,2 * * * *", /minute/],
    ["@reboot", /five fields/],
    ["1".repeat(500), /not that long/],
  ];
  for (const [text, message] of wrong) {
    t.match(parseCron(text), { kind: "invalid", message }, text.slice(0, 20));
  }
});

t.test("the last due time since another one tells how many were missed", async (t) => {
  const at = (text: string) => Date.parse(text);
  const cron = cronOf("*/10 * * * *");
  t.strictSame(
    lastDueMs(cron, "UTC", {
      afterMs: at("2026-01-01T00:00:00Z"),
      untilMs: at("2026-01-01T00:35:00Z"),
    }),
    { dueMs: at("2026-01-01T00:30:00Z"), count: 3 },
  );
  const range = { afterMs: at("2026-01-01T00:30:00Z"), untilMs: at("2026-01-01T00:39:59Z") };
  t.equal(lastDueMs(cron, "UTC", range), undefined);
  const years = { afterMs: at("2020-01-01T00:00:00Z"), untilMs: at("2026-05-01T00:00:00Z") };
  t.match(lastDueMs(cronOf("0 0 1 1 *"), "UTC", years), { dueMs: at("2026-01-01T00:00:00Z") });
});

t.test("time zones are those of the machine", async (t) => {
  for (const zone of ["UTC", "Europe/Berlin", "America/New_York"]) t.ok(isTimeZone(zone), zone);
  for (const zone of ["Berlin", "", "Europe/Berlin; x", "+25:00"]) t.notOk(isTimeZone(zone), zone);
});
