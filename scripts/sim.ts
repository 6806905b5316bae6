import { run } from "./run.ts";

/** `npm run sim -- --seeds N`: N seeds of the deterministic simulator. */
process.exit(await run(process.execPath, ["sim/main.ts", ...process.argv.slice(2)]));
