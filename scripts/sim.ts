import { run } from "./run.ts";

/** `npm run sim`: the deterministic simulator; see docs/how-to/replay-a-seed.md. */
process.exit(await run(process.execPath, ["sim/main.ts", ...process.argv.slice(2)]));
