import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "./run.ts";
import { ensureTestTools } from "./test-tools.ts";

/**
 * `npm test`: installs what is missing, then every test. What cannot run here is skipped
 * with its reason, listed at the end and counted.
 * `npm test -- test/raft` runs only the files below a path.
 */
const paths = process.argv.slice(2);
const stopTools = await ensureTestTools();
const report = join(root, ".tap", "all.tap");
mkdirSync(join(root, ".tap"), { recursive: true });
rmSync(report, { force: true });

const status = await run("tap", ["--reporter=terse", `--output-file=${report}`, ...paths]);
await stopTools();

const text = readFileSync(report, "utf8");
const skips = [...text.matchAll(/^\s*ok \d+ - (.*?) # SKIP ?(.*)$/gm)];
for (const [, name, reason] of skips)
  console.log(`skipped: ${name}: ${reason || "no reason given"}`);
const count = (word: string) =>
  Number(text.match(new RegExp(`^# \\{.*\\b${word}: (\\d+)`, "m"))?.[1] ?? 0);
const failed = count("fail");
console.log(`${count("pass")} passed, ${failed} failed, ${skips.length} skipped`);
process.exit(status === 0 && failed > 0 ? 1 : status);
