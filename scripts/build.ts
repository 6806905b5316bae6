import { rm } from "node:fs/promises";
import { join } from "node:path";
import { root, run } from "./run.ts";

/** `npm run build`: the publishable form in `dist/`. Node strips no types inside node_modules. */
await rm(join(root, "dist"), { recursive: true, force: true });
process.exit(await run("tsc", ["-p", "tsconfig.build.json"]));
