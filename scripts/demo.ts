import { mkdtempSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { NodeView, TaskView } from "../src/api/index.ts";
import { capture, DemoNode, request } from "./demo/cluster.ts";
import { hasEngine, makeDirectories, makeImages } from "./demo/image.ts";

/**
 * `npm run demo`: the main job on three daemons on this machine's loopback, each step with
 * what it shows and how long it took. `-- --keep` leaves them running.
 */
const isKept = process.argv.includes("--keep");
const publishedPort = 18_080;
const serviceHost = "hello.localhost";

const startedAt = performance.now();
let stepNumber = 0;

async function step<T>(title: string, run: () => Promise<T>): Promise<T> {
  stepNumber += 1;
  console.log(`\n${stepNumber}. ${title}`);
  const from = performance.now();
  const result = await run();
  console.log(`   done in ${((performance.now() - from) / 1_000).toFixed(1)} s`);
  return result;
}

function say(text: string): void {
  for (const line of text.trimEnd().split("\n")) console.log(`   ${line}`);
}

const directory = mkdtempSync(join(tmpdir(), "skein-demo-"));
const runtime = hasEngine() ? "docker" : "process";
console.log("Skein demo: three daemons on this machine, one cluster.");
console.log(
  runtime === "docker"
    ? "A Docker engine answers here: replicas are containers."
    : "No Docker engine answers here: replicas are plain processes (no isolation).",
);

const nodes = [1, 2, 3].map(
  (number) =>
    new DemoNode({ name: `n${number}`, address: `127.0.83.${number}`, directory, runtime }),
) as [DemoNode, DemoNode, DemoNode];
const [first, second, third] = nodes;
const composeFile = join(directory, "compose.yaml");

function writeCompose(image: string, replicas: number): void {
  writeFileSync(
    composeFile,
    `name: demo
services:
  web:
    image: ${image}
    ports: ["${publishedPort}:8080"]
    x-ingress: ["${serviceHost}:8080"]
    x-healthcheck: { http: ":8080/", interval: 1s }
    deploy:
      replicas: ${replicas}
      update_config: { parallelism: 1, order: start-first, monitor: 2s }
`,
  );
}

async function runningTasks(): Promise<readonly TaskView[]> {
  const tasks = await second.json<TaskView[]>("ps", "web");
  return tasks.filter(
    ({ desired, status, health }) =>
      desired === "running" && status === "running" && (health === "healthy" || health === "none"),
  );
}

async function until(what: string, test: () => Promise<boolean>, limitMs = 60_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await test())) {
    if (Date.now() > deadline) throw new Error(`after ${limitMs / 1_000} s still not: ${what}`);
    await sleep(100);
  }
}

function spreadOf(tasks: readonly TaskView[]): string {
  return nodes
    .map(({ name }) => `${name}: ${tasks.filter((task) => task.node === name).length}`)
    .join(", ");
}

/** Asks again and again until told to stop; resolves with what was answered. */
function startLoad(): {
  stop(): Promise<{ total: number; failed: number; versions: Set<string> }>;
} {
  let isOn = true;
  let total = 0;
  let failed = 0;
  const versions = new Set<string>();
  const done = (async () => {
    while (isOn) {
      total += 1;
      try {
        const body = await request({ host: first.address, port: publishedPort });
        versions.add(body.split(" ")[1] ?? "?");
      } catch (error) {
        failed += 1;
        say(`request failed: ${error}`);
      }
      await sleep(20);
    }
  })();
  return {
    stop: async () => {
      isOn = false;
      await done;
      return { total, failed, versions };
    },
  };
}

async function killOneReplica(): Promise<void> {
  const before = await runningTasks();
  const victim = before[0];
  if (victim?.containerId == null) throw new Error("no replica to kill");
  if (runtime === "docker") await capture("docker", ["rm", "-f", victim.containerId]);
  else await killOneProcess(`${directory}/hello-1/app.cjs`);
  const old = new Set(before.map((task) => task.containerId));
  await until("the killed replica replaced", async () => {
    const now = await runningTasks();
    return now.length === 5 && now.some((task) => !old.has(task.containerId));
  });
}

/** The first process that runs this script itself, not the shell that watches over it. */
async function killOneProcess(script: string): Promise<void> {
  const { stdout } = await capture("pgrep", ["-f", script]);
  const pids = stdout.split("\n").filter((pid) => pid !== "");
  const pid = pids.find((each) => readlinkSync(`/proc/${each}/exe`).endsWith("node"));
  if (pid === undefined) throw new Error("no replica to kill");
  process.kill(Number(pid), "SIGKILL");
}

async function main(): Promise<void> {
  const [imageOne, imageTwo] = await step("Prepare the demo's service in two versions", async () =>
    runtime === "docker" ? makeImages(directory) : makeDirectories(directory),
  );

  await step("Start a daemon: a new cluster. Start two more and join them by address", async () => {
    await first.start(undefined);
    const token = (await first.skein("token", "create")).stdout.trim();
    const seed = `${first.address}:7946`;
    await Promise.all([second.start({ seed, token }), third.start({ seed, token })]);
    await until("three nodes ready, three voters", async () => {
      const list = await third.json<NodeView[]>("node", "ls");
      return (
        list.filter((node) => node.status === "ready").length === 3 &&
        list.filter(({ role }) => role === "leader" || role === "voter").length === 3
      );
    });
    say((await third.skein("node", "ls")).stdout);
  });

  writeCompose(imageOne, 3);
  await step("Submit a Compose file with three replicas to n2", async () => {
    const { status, stdout, stderr } = await second.skein("up", "-f", composeFile);
    say(stderr + stdout);
    if (status !== 0) throw new Error(`skein up ended with ${status}`);
    say(`spread: ${spreadOf(await runningTasks())}`);
  });

  await step("Ask every node at its published port, and at the host name", async () => {
    for (const node of nodes) {
      say(
        `${node.name} port ${publishedPort}: ${await request({ host: node.address, port: publishedPort })}`,
      );
      const byName = { host: node.address, port: 8080, hostHeader: serviceHost };
      say(`${node.name} ${serviceHost}: ${await request(byName)}`);
    }
    const counts = new Map<string, number>();
    for (let i = 0; i < 30; i += 1) {
      const body = await request({ host: third.address, port: publishedPort });
      counts.set(body, (counts.get(body) ?? 0) + 1);
    }
    say(`30 requests through n3: ${[...counts.values()].join(" + ")}`);
  });

  await step("Scale from 3 to 5: the three stay, two are added", async () => {
    const before = (await runningTasks()).map((task) => task.containerId);
    const { stderr } = await third.skein("scale", "web=5");
    say(stderr);
    const after = (await runningTasks()).map((task) => task.containerId);
    const kept = before.filter((id) => after.includes(id)).length;
    say(`${kept} of ${before.length} kept, ${after.length - kept} new`);
    if (kept !== 3 || after.length !== 5) throw new Error("expected 3 kept and 2 new");
  });

  await step("Kill a replica behind the cluster's back: it is started again", killOneReplica);

  await step("Update to version 2, one at a time, while a client asks all the time", async () => {
    writeCompose(imageTwo, 5);
    const load = startLoad();
    const { status, stderr } = await second.skein("up", "-f", composeFile);
    await sleep(300);
    const { total, failed, versions } = await load.stop();
    say(stderr);
    say(
      `${total} requests during the update, ${failed} failed; versions seen: ${[...versions].sort().join(", ")}`,
    );
    if (status !== 0 || failed > 0) throw new Error("the update was not clean");
  });

  await step("Kill a whole node (kill -9 of n1's daemon): its replicas run elsewhere", async () => {
    await first.stop("SIGKILL");
    await until("n1 given up and five replicas on the others", async () => {
      const tasks = await runningTasks();
      return tasks.length === 5 && tasks.every((task) => task.node !== "n1");
    });
    say((await second.skein("node", "ls")).stdout);
    say(`spread: ${spreadOf(await runningTasks())}`);
    say(`n3 answers: ${await request({ host: third.address, port: publishedPort })}`);
  });

  await step("Start n1 again: it comes back, and there are still exactly five", async () => {
    await first.start(undefined);
    await until("n1 ready, exactly five replicas", async () => {
      const list = await second.json<NodeView[]>("node", "ls");
      const tasks = await second.json<TaskView[]>("ps", "web");
      return list.every((node) => node.status === "ready") && tasks.length === 5;
    });
    say((await second.skein("ps", "web")).stdout);
  });
}

async function cleanUp(): Promise<void> {
  await second.skein("down", "-f", composeFile);
  for (const node of nodes) await node.remove();
  if (runtime === "docker") {
    const { stdout } = await capture("docker", [
      "ps",
      "-aq",
      "--filter",
      "label=skein.service=demo/web",
    ]);
    const left = stdout.split("\n").filter((id) => id !== "");
    if (left.length > 0) await capture("docker", ["rm", "-f", ...left]);
    await capture("docker", ["rmi", "skein-demo/hello:1", "skein-demo/hello:2"]);
  }
  rmSync(directory, { recursive: true, force: true });
}

try {
  await main();
  console.log(`\nAll of it took ${((performance.now() - startedAt) / 1_000).toFixed(0)} s.`);
  if (isKept) {
    console.log(`\nLeft running. Look around with:\n  export SKEIN_HOST=${second.socketPath}`);
    console.log("  bin/skein node ls; bin/skein ps; bin/skein logs web");
  } else await cleanUp();
  process.exit(0);
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : error}`);
  console.error(`Logs are in ${directory}`);
  for (const node of nodes) await node.remove();
  process.exit(1);
}
