import { createWriteStream, globSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { root, runLines } from "./run.ts";
import { TapLines } from "./tap-lines.ts";
import { ensureTestTools } from "./test-tools.ts";

/**
 * `npm test`: installs what is missing, then every test. What cannot run here is skipped
 * with its reason, listed at the end and counted.
 * Every file gets a line, every failure its diagnostics; the whole TAP is in `.tap/`.
 * `npm test -- test/raft` runs only the files below a path.
 */
const asked = process.argv.slice(2);
const stopTools = await ensureTestTools();
const reports = join(root, ".tap");
mkdirSync(reports, { recursive: true });

/** They hold the product to times: nothing may run beside them. */
const timed = [
  ...["chaos", "dial-out", "hostile", "kills", "machines", "main-job", "nodes"],
  ...["recover", "secrecy", "updates"],
].map((name) => `test/e2e/${name}.test.ts`);
const others = globSync("test/e2e/*.test.ts", { cwd: root }).filter(
  (file) => !timed.includes(file),
);

const rounds: readonly { readonly name: string; readonly args: readonly string[] }[] =
  asked.length > 0
    ? [{ name: "asked", args: asked }]
    : [
        { name: "unit", args: ["--exclude=test/e2e/**"] },
        { name: "e2e", args: ["--timeout=600", ...others] },
        { name: "e2e-timed", args: ["--timeout=600", "--jobs=1", ...timed] },
      ];

let worst = 0;
let passed = 0;
let failed = 0;
const skips: string[] = [];
for (const { name, args } of rounds) {
  const report = createWriteStream(join(reports, `${name}.tap`));
  const lines = new TapLines((line) => console.log(line));
  const status = await runLines("tap", ["--reporter=tap", ...args], (line) => {
    report.write(`${line}\n`);
    lines.push(line);
  });
  report.end();
  worst = Math.max(worst, status);
  passed += lines.totals.passed;
  failed += lines.totals.failed;
  skips.push(...lines.totals.skips);
}
await stopTools();
for (const skip of skips) console.log(`skipped: ${skip}`);
console.log(`${passed} passed, ${failed} failed, ${skips.length} skipped`);
process.exit(worst === 0 && failed > 0 ? 1 : worst);
