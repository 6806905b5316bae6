// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax under test looks like that of templates.
import t from "tap";
import { interpolate } from "../../src/spec/interpolate.ts";

const environment = { SET: "set", EMPTY: "", OTHER: "other" };

const replaced: readonly (readonly [text: string, expected: string])[] = [
  ["plain", "plain"],
  ["$SET and ${SET}", "set and set"],
  ["${SET}text $SET-text", "settext set-text"],
  ["$$SET $${SET}", "$SET ${SET}"],
  ["${SET:-x} ${SET-x}", "set set"],
  ["${EMPTY:-x} ${EMPTY-x}", "x "],
  ["${NONE:-x} ${NONE-x} ${NONE:-}", "x x "],
  ["${SET:?m} ${SET?m} ${EMPTY?m}", "set set "],
  ["${SET:+x} ${SET+x}", "x x"],
  ["${EMPTY:+x} ${EMPTY+x}", " x"],
  ["${NONE:+x} ${NONE+x}", " "],
  ["${NONE:-${OTHER}}", "other"],
  ["${NONE:-${EMPTY:-${SET}-}}!", "set-!"],
  ["${NONE:-a $OTHER $$ b}", "a other $ b"],
  ["${SET:-${NONE:?not reached}}", "set"],
  ["${NONE:+${NONE:?not reached}}", ""],
  ["{not} a }variable{", "{not} a }variable{"],
];

t.test("interpolate", async (t) => {
  for (const [text, expected] of replaced) {
    t.test(`reads ${text} as ${expected}`, async (t) => {
      t.strictSame(interpolate(text, environment), { kind: "text", text: expected, missing: [] });
    });
  }

  t.test("tells what is missing, and the number of its dollar sign", async (t) => {
    t.strictSame(interpolate("$$ $SET $NONE ${GONE}", environment), {
      kind: "text",
      text: "$ set  ",
      missing: [
        { name: "NONE", dollar: 3 },
        { name: "GONE", dollar: 4 },
      ],
    });
  });

  t.test("does not miss what a default that is not taken would need", async (t) => {
    t.match(interpolate("${SET:-$NONE}", environment), { kind: "text", missing: [] });
  });

  t.test("does not take what every object inherits for a variable", async (t) => {
    t.match(interpolate("${constructor:-none}", environment), { text: "none" });
  });

  const failing: readonly (readonly [text: string, message: string, dollar: number])[] = [
    ["a $", "`$` is not followed by the name of a variable", 0],
    ["$SET $1", "`$` is not followed by the name of a variable", 1],
    ["${}", "`${` is not followed by the name of a variable", 0],
    ["${SET", "`${SET` is not closed with `}`", 0],
    ["${SET:x}", "`${SET` is not closed with `}`", 0],
    ["${SET:-${OTHER}", "`${SET` is not closed with `}`", 0],
    ["${NONE:?}", "the variable `NONE` must have a value", 0],
    ["${EMPTY:?why}", "the variable `EMPTY` must have a value: why", 0],
    ["${NONE?${SET} why}", "the variable `NONE` must have a value: set why", 0],
  ];
  for (const [text, message, dollar] of failing) {
    t.test(`refuses ${text}`, async (t) => {
      t.match(interpolate(text, environment), { kind: "failed", message, dollar });
    });
  }

  t.test("refuses defaults nested without bound", async (t) => {
    const text = `${"${A:-".repeat(1_000)}${"}".repeat(1_000)}`;
    t.match(interpolate(text, environment), { message: "variables are nested more than 20 deep" });
  });
});
