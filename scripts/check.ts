import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "./run.ts";

/**
 * `npm run check`: format, lint, types, import rules, unused code. Runs all of them, so
 * that one call shows everything that is wrong.
 */
const steps: readonly { readonly name: string; readonly run: () => Promise<number> }[] = [
  { name: "format and lint", run: () => run("biome", ["check", "--diagnostic-level=error"]) },
  { name: "types", run: () => run("tsc", ["-p", "."]) },
  { name: "import rules", run: checkImports },
  { name: "unused code", run: () => run("knip", []) },
];

/** Green with no file seen would be no check: a wrong TypeScript makes the cruiser see none. */
async function checkImports(): Promise<number> {
  const { status, stdout, stderr } = spawnSync(
    "depcruise",
    ["src", "test", "sim", "--config", ".dependency-cruiser.cjs", "--output-type", "json"],
    { cwd: root, encoding: "utf8", maxBuffer: 256 << 20 },
  );
  if (stdout === "") {
    console.error(stderr);
    return status ?? 1;
  }
  const { summary } = JSON.parse(stdout) as {
    summary: {
      totalCruised: number;
      violations: { rule: { name: string }; from: string; to: string }[];
    };
  };
  for (const { rule, from, to } of summary.violations) {
    console.error(`  ${rule.name}: ${from} -> ${to}`);
  }
  const sources = readdirSync(join(root, "src"), { recursive: true }).filter((file) =>
    String(file).endsWith(".ts"),
  ).length;
  console.log(`  ${summary.totalCruised} modules seen, ${sources} source files`);
  if (summary.totalCruised < sources) {
    console.error("  the import check did not see every source file");
    return 1;
  }
  return summary.violations.length === 0 ? 0 : 1;
}

let failed = 0;
for (const step of steps) {
  console.log(`${step.name} …`);
  const status = await step.run();
  if (status !== 0) {
    failed += 1;
    console.error(`${step.name}: failed\n`);
  }
}
console.log(failed === 0 ? "all checks passed" : `${failed} of ${steps.length} checks failed`);
process.exit(failed === 0 ? 0 : 1);
