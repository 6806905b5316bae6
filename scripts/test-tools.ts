import { spawn, spawnSync } from "node:child_process";
import { existsSync, openSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Debian packages that the tests use, and a file that shows each to be there. */
const packages: readonly { readonly name: string; readonly file: string }[] = [
  { name: "docker.io", file: "/usr/sbin/dockerd" },
  { name: "iproute2", file: "/usr/sbin/ip" },
  { name: "busybox-static", file: "/bin/busybox" },
  { name: "docker-compose", file: "/usr/bin/docker-compose" },
  { name: "tcpdump", file: "/usr/bin/tcpdump" },
];

/**
 * As root on Debian: installs the engine and `ip` where they are missing, and starts the
 * engine where none answers. Elsewhere: does nothing, and the tests that need them say so.
 * Resolves with what ends an engine that was started here.
 */
export async function ensureTestTools(): Promise<() => Promise<void>> {
  const isRootOnDebian = process.getuid?.() === 0 && existsSync("/etc/debian_version");
  if (isRootOnDebian) installMissing();
  if (isEngineUp()) return async () => undefined;
  if (!isRootOnDebian || !existsSync("/usr/sbin/dockerd")) {
    console.log("no container engine here: the tests that need one are skipped");
    return async () => undefined;
  }
  return await startEngine();
}

function installMissing(): void {
  const missing = packages.filter(({ file }) => !existsSync(file)).map(({ name }) => name);
  if (missing.length === 0) return;
  console.log(`installing ${missing.join(", ")} …`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  spawnSync("apt-get", ["update", "-qq"], { stdio: ["ignore", "ignore", "inherit"], env });
  const { status } = spawnSync(
    "apt-get",
    ["install", "-y", "-qq", "--no-install-recommends", ...missing],
    { stdio: ["ignore", "ignore", "inherit"], env },
  );
  if (status !== 0) console.error("apt-get could not install them; what needs them is skipped");
}

function isEngineUp(): boolean {
  return spawnSync("docker", ["version"], { stdio: "ignore" }).status === 0;
}

const engineTimeoutMs = 60_000;

async function startEngine(): Promise<() => Promise<void>> {
  console.log("starting dockerd …");
  const logFile = "/tmp/skein-test-dockerd.log";
  const log = openSync(logFile, "w");
  const engine = spawn("dockerd", [], { stdio: ["ignore", log, log], detached: true });
  const deadline = Date.now() + engineTimeoutMs;
  while (!isEngineUp()) {
    if (engine.exitCode !== null || Date.now() > deadline) {
      console.error(`dockerd does not start:\n${readFileSync(logFile, "utf8").slice(-2_000)}`);
      return async () => undefined;
    }
    await sleep(200);
  }
  return async () => {
    const ended = new Promise((resolve) => engine.once("exit", resolve));
    engine.kill("SIGTERM");
    await ended;
  };
}
