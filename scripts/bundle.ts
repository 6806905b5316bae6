import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { type OutputChunk, rolldown } from "rolldown";
import { root } from "./run.ts";

/** Optional native code: who asks for it does without. */
const native = [/\.node$/, "cpu-features", "msgpackr-extract"];

/**
 * Bundles programs with all that they import into few files. A start then reads five files in
 * place of a thousand, which takes more than half off its time.
 */
export async function bundle(options: {
  /** Names of programs and the sources they begin with. */
  readonly programs: Readonly<Record<string, string>>;
  readonly directory: string;
}): Promise<{ readonly packages: readonly string[] }> {
  const { programs, directory } = options;
  await using build = await rolldown({
    input: { ...programs },
    cwd: root,
    platform: "node",
    external: native,
    // CommonJS packages name their directory when they load, also where they need nothing there.
    transform: { define: { __dirname: "import.meta.dirname", __filename: "import.meta.filename" } },
    logLevel: "warn",
  });
  const { output } = await build.write({
    dir: directory,
    format: "esm",
    entryFileNames: "[name].mjs",
    chunkFileNames: "[name]-[hash].mjs",
  });
  const chunks = output.filter((file): file is OutputChunk => file.type === "chunk");
  const modules = chunks.flatMap(({ moduleIds }) => moduleIds);
  return { packages: [...new Set(modules.flatMap(packageOf))].sort() };
}

/** The directory of the package that a module belongs to, from the project's root; none for ours. */
function packageOf(module: string): readonly string[] {
  const found = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(module)?.[1];
  return found === undefined ? [] : [relative(root, found)];
}

/** The names and licences of bundled packages, whose texts go with their code. */
export async function licencesOf(packages: readonly string[]): Promise<string> {
  const parts = packages.map(async (directory) => {
    const path = join(root, directory);
    const about = JSON.parse(await readFile(join(path, "package.json"), "utf8")) as {
      readonly name: string;
      readonly version: string;
      readonly license?: string;
    };
    const files = (await readdir(path)).filter((file) => /^(licen[cs]e|notice)/i.test(file));
    const texts = await Promise.all(files.map((file) => readFile(join(path, file), "utf8")));
    const title = `${about.name} ${about.version} (${about.license ?? "see below"})`;
    return [title, ...texts.map((text) => text.trim())].join("\n\n");
  });
  return `${(await Promise.all(parts)).join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}
