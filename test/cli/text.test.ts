import t from "tap";
import { parseDurationMs } from "../../src/cli/duration.ts";
import { exitCodeOf } from "../../src/cli/exit-code.ts";
import { age, bytes, cores, table } from "../../src/cli/table.ts";
import { CodedError } from "../../src/kernel/index.ts";

t.test("a table has aligned columns and no trailing blanks", async (t) => {
  const text = table(
    ["NAME", "STATUS"],
    [
      ["web", "ready"],
      ["longer-name", ""],
    ],
  );
  t.equal(text, "NAME         STATUS\nweb          ready\nlonger-name\n");
});

t.test("amounts read as people say them", async (t) => {
  t.equal(cores(1_500), "1.5");
  t.equal(bytes(512), "512B");
  t.equal(bytes(1.5 * 2 ** 30), "1.5G");
  t.equal(age("1970-01-01T00:00:00Z", 90_000), "90s");
  t.equal(age("1970-01-01T00:00:00Z", 7_199_000), "119m");
  t.equal(age("1970-01-01T00:00:10Z", 0), "0s", "a clock that runs behind shows no negative age");
});

t.test("durations", async (t) => {
  t.equal(parseDurationMs("24h"), 86_400_000);
  t.equal(parseDurationMs("250ms"), 250);
  for (const wrong of ["", "5", "5 m", "-1s", "1w"]) {
    t.throws(() => parseDurationMs(wrong), { code: "usage" }, `"${wrong}"`);
  }
});

const statuses: readonly [code: string, status: number][] = [
  ["usage", 2],
  ["not_placeable", 3],
  ["timed_out", 4],
  ["no_quorum", 5],
  ["not_found", 6],
  ["port_taken", 7],
  ["unauthorized", 8],
  ["unreachable", 9],
  ["anything else", 1],
];

t.test("each kind of failure has its exit status", async (t) => {
  for (const [code, status] of statuses)
    t.equal(exitCodeOf(new CodedError(code, "")), status, code);
  t.equal(exitCodeOf("a string"), 1);
});
