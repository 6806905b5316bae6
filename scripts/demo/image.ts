import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const app = join(dirname(fileURLToPath(import.meta.url)), "app.js");

/** Whether a container engine answers here. */
export function hasEngine(): boolean {
  return spawnSync("docker", ["version"], { stdio: "ignore", timeout: 10_000 }).status === 0;
}

/**
 * The demo's service as two "images" for the process runtime: directories with a `run`
 * file. Resolves with their names.
 */
export function makeDirectories(directory: string): readonly [string, string] {
  return ["1", "2"].map((version) => {
    const folder = join(directory, `hello-${version}`);
    mkdirSync(folder, { recursive: true });
    copyFileSync(app, join(folder, "app.cjs"));
    const run = join(folder, "run");
    const script = [
      "#!/bin/sh",
      `VERSION=${version} exec "${process.execPath}" "${folder}/app.cjs"`,
      "",
    ].join("\n");
    writeFileSync(run, script);
    chmodSync(run, 0o755);
    return folder;
  }) as [string, string];
}

/**
 * The demo's service as two images, made from this machine's own files (the Node that runs
 * this, and the libraries it is linked to): no registry is needed.
 */
export function makeImages(directory: string): readonly [string, string] {
  const rootfs = join(directory, "rootfs");
  for (const file of [process.execPath, ...librariesOf(process.execPath)]) {
    const target = join(rootfs, file === process.execPath ? "/bin/node" : file);
    mkdirSync(dirname(target), { recursive: true });
    cpSync(realpathSync(file), target);
  }
  copyFileSync(app, join(rootfs, "app.cjs"));
  return ["1", "2"].map((version) => {
    const name = `skein-demo/hello:${version}`;
    const changes = [`ENV VERSION=${version}`, "EXPOSE 8080", 'CMD ["/bin/node", "/app.cjs"]'];
    execFileSync("sh", [
      "-c",
      'tar -C "$1" -c . | docker import --change "$2" --change "$3" --change "$4" - "$5" >/dev/null',
      "sh",
      rootfs,
      ...changes,
      name,
    ]);
    return name;
  }) as [string, string];
}

function librariesOf(binary: string): readonly string[] {
  const listing = execFileSync("ldd", [binary], { encoding: "utf8" });
  return [...listing.matchAll(/(\/[^\s]+\.so[^\s]*)/g)].map((match) => match[1] ?? "");
}
