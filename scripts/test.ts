import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "./run.ts";
import { ensureTestTools } from "./test-tools.ts";

/**
 * `npm test`: installs what is missing, then every test. What cannot run here is skipped
 * with its reason, listed at the end and counted.
 * `npm test -- test/raft` runs only the files below a path.
 */
const asked = process.argv.slice(2);
const stopTools = await ensureTestTools();
const reports = join(root, ".tap");
mkdirSync(reports, { recursive: true });

/** The end-to-end tests come last and one at a time: they measure, and each uses both cores. */
const rounds: readonly { readonly name: string; readonly args: readonly string[] }[] =
  asked.length > 0
    ? [{ name: "asked", args: asked }]
    : [
        { name: "unit", args: ["--exclude=test/e2e/**"] },
        { name: "e2e", args: ["--jobs=1", "--timeout=600", "test/e2e/*.test.ts"] },
      ];

let worst = 0;
let passed = 0;
let failed = 0;
let skipped = 0;
for (const { name, args } of rounds) {
  const report = join(reports, `${name}.tap`);
  rmSync(report, { force: true });
  const status = await run("tap", ["--reporter=dot", `--output-file=${report}`, ...args]);
  worst = Math.max(worst, status);
  const text = existsSync(report) ? readFileSync(report, "utf8") : "";
  const count = (word: string) =>
    Number(text.match(new RegExp(`^# \\{.*\\b${word}: (\\d+)`, "m"))?.[1] ?? 0);
  passed += count("pass");
  failed += count("fail");
  const skips = [...text.matchAll(/^\s*ok \d+ - (.*?) # SKIP ?(.*)$/gm)];
  for (const [, test, reason] of skips) {
    skipped += 1;
    console.log(`skipped: ${test}: ${reason || "no reason given"}`);
  }
}
await stopTools();
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(worst === 0 && failed > 0 ? 1 : worst);
