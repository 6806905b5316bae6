import { spawn, spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const hasEngine = spawnSync("docker", ["version"], { stdio: "ignore" }).status === 0;

/** The demo as a newcomer runs it, its packages installed already. */
async function runDemo(env: Readonly<Record<string, string>>) {
  const child = spawn(process.execPath, [join(root, "scripts", "demo.ts")], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  child.stderr.on("data", (chunk) => {
    output += chunk;
  });
  const status = await new Promise((resolve) => child.on("close", resolve));
  return { status, output };
}

t.test("the demo ends well without a container engine", async (t) => {
  const { status, output } = await runDemo({ DOCKER_HOST: "unix:///no/such/engine.sock" });
  t.equal(status, 0, output);
  t.match(output, /replicas are plain processes/);
});

const skip = hasEngine ? false : "no container engine answers here";
t.test("the demo ends well with one", { skip }, async (t) => {
  const { status, output } = await runDemo({});
  t.equal(status, 0, output);
  t.match(output, /replicas are containers/);
});
