import { globSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { rows } from "./rows.ts";

const root = new URL("../../", import.meta.url);
const page = new URL("docs/reference/coverage.md", root);

type Found = { readonly file: string; readonly name: string };

/** The tests whose names begin with rows' numbers, by row. */
function testsByRow(): ReadonlyMap<string, readonly Found[]> {
  const found = new Map<string, Found[]>();
  const files = globSync("test/**/*.test.ts", { cwd: fileURLToPath(root) }).sort();
  for (const file of files) {
    const source = readFileSync(new URL(file, root), "utf8");
    const names = source.matchAll(/"((?:\[[A-Z]\d+\] )+[^"]*)"|`((?:\[[A-Z]\d+\] )+[^`]*)`/g);
    for (const [, plain, template] of names) {
      const name = plain ?? template ?? "";
      for (const [, row = ""] of name.matchAll(/\[([A-Z]\d+)\]/g)) {
        found.set(row, [...(found.get(row) ?? []), { file, name }]);
      }
    }
  }
  return found;
}

function coveragePage(found: ReadonlyMap<string, readonly Found[]>): string {
  const lines = [
    "# What the tests cover",
    "",
    "Each requirement, and the tests that carry its number. Generated from the tests' names:",
    "`SKEIN_WRITE_DOCS=1 tap test/docs/coverage.test.ts` writes it anew.",
  ];
  for (const [group, requirements] of rows) {
    lines.push("", `## ${group}`);
    for (const [row, title] of Object.entries(requirements)) {
      const tests = found.get(row) ?? [];
      lines.push("", `**${row}** ${title}`, "");
      if (tests.length === 0) lines.push("- no test of its own");
      for (const { file, name } of tests) {
        const words = name.replace(/^(\[[A-Z]\d+\] )+/, "").replaceAll(/\$\{[^}]*\}/g, "…");
        lines.push(`- ${words} (\`${file}\`)`);
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

const found = testsByRow();
// `SKEIN_WRITE_DOCS=1` writes the page anew instead of comparing it.
if (process.env["SKEIN_WRITE_DOCS"] === "1") writeFileSync(page, coveragePage(found));

t.test("the page of what the tests cover is the one that their names make", async (t) => {
  const hint = "Run `SKEIN_WRITE_DOCS=1 tap test/docs/coverage.test.ts` to write it anew.";
  t.equal(readFileSync(page, "utf8"), coveragePage(found), hint);
});
