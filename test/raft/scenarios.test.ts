import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { runScript } from "./scenarios/commands.ts";
import { formatScript, parseScript } from "./scenarios/script.ts";

const folder = join(import.meta.dirname, "scenarios");
const isRewriting = process.env["SKEIN_WRITE_SCENARIOS"] === "1";

for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt"))) {
  t.test(`the scenario ${file.slice(0, -".txt".length)} leaves its trace`, async (t) => {
    const path = join(folder, file);
    const text = readFileSync(path, "utf8");
    const blocks = parseScript(text);
    const traces = runScript(blocks);
    const results = blocks.map((block, position) => ({ block, actual: traces[position] ?? "" }));
    const rewritten = formatScript(results);
    if (isRewriting) writeFileSync(path, rewritten);
    else t.equal(rewritten, text);
  });
}
