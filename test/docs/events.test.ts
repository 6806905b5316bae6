import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { reasonPage } from "../../src/events/reason-table.ts";

const page = new URL("../../docs/reference/events.md", import.meta.url);

// `SKEIN_WRITE_DOCS=1` writes the page anew instead of comparing it.
if (process.env["SKEIN_WRITE_DOCS"] === "1") writeFileSync(page, reasonPage());

t.test("The reference page of events is the one that the table of reasons makes", async (t) => {
  const hint = "Run `SKEIN_WRITE_DOCS=1 tap test/docs/events.test.ts` to write it anew.";
  t.equal(readFileSync(page, "utf8"), reasonPage(), hint);
});
