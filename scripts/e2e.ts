import { run } from "./run.ts";
import { ensureTestTools } from "./test-tools.ts";

/** `npm run e2e`: several machines with an engine each on this host, real faults. */
const stopTools = await ensureTestTools();
const paths = process.argv.slice(2);
const status = await run("tap", [
  "--jobs=1",
  "--timeout=600",
  ...(paths.length === 0 ? ["test/e2e/*.test.ts"] : paths),
]);
await stopTools();
process.exit(status);
