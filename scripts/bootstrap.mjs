// The first thing that every npm script runs. Plain JavaScript, so that it works on the
// Node that happens to be there (20 and up): it installs what is missing, then hands over
// to the pinned Node.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, "node_modules");
const stampFile = join(modules, ".skein-lock-hash");
const lockHash = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex");

function isInstalled() {
  return existsSync(stampFile) && readFileSync(stampFile, "utf8") === lockHash;
}

/** Packages exactly as locked. No install script may run: none is needed. */
function installPackages() {
  console.error("skein: installing packages (about a minute, once) …");
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const { status } = spawnSync(
    npm,
    ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    { cwd: root, stdio: ["ignore", 2, 2] },
  );
  if (status !== 0) {
    console.error("skein: npm ci failed; see above. Is the npm registry reachable?");
    process.exit(status ?? 1);
  }
  mkdirSync(modules, { recursive: true });
  writeFileSync(stampFile, lockHash);
}

function nodeBinary() {
  const pinned = join(modules, `node-linux-${process.arch}`, "bin", "node");
  if (existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split(".")[0]) >= 24) return process.execPath;
  console.error(
    `skein: no pinned Node for ${process.platform} ${process.arch}, and this is Node ${process.versions.node}; ` +
      "install Node 24 or newer and try again.",
  );
  process.exit(1);
}

const [task, ...args] = process.argv.slice(2);
if (!isInstalled()) installPackages();
const node = nodeBinary();
const { status, signal } = spawnSync(node, [join(root, "scripts", `${task}.ts`), ...args], {
  cwd: root,
  stdio: "inherit",
  env: {
    ...process.env,
    // Tools started by name must be the installed ones, and run on the pinned Node.
    PATH: [dirname(node), join(modules, ".bin"), process.env.PATH].join(":"),
  },
});
if (signal !== null) process.kill(process.pid, signal);
process.exit(status ?? 1);
