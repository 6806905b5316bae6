import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { NodeView, TaskView } from "../../src/api/index.ts";

/** docker-compose.yml as a person uses it: three daemons as containers, one shared engine. */

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const project = "skein-compose-test";

function run(command: string, ...args: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 24 });
}

function mustRun(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = run(command, ...args);
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${status}\n${stdout}${stderr}`);
  return stdout;
}

/** `docker compose` where the engine has it, else the `docker-compose` of older systems. */
const composeCommand: readonly [string, ...string[]] | undefined =
  run("docker", "compose", "version").status === 0
    ? ["docker", "compose"]
    : run("docker-compose", "version").status === 0
      ? ["docker-compose"]
      : undefined;

function whySkipped(): string | false {
  if (run("docker", "version").status !== 0) return "no container engine answers here";
  if (composeCommand === undefined) return "neither docker compose nor docker-compose is here";
  return false;
}

function compose(...args: readonly string[]): string {
  const [command, ...first] = composeCommand ?? ["docker-compose"];
  return mustRun(command, ...first, "-p", project, ...args);
}

const skein = (node: string, ...args: readonly string[]) =>
  compose("exec", "-T", node, "skein", ...args);
const nodes = (from: string) => JSON.parse(skein(from, "node", "ls", "--json")) as NodeView[];
const tasks = (from: string) => JSON.parse(skein(from, "ps", "--json")) as TaskView[];
/** Container ids of the job, by the node whose label they carry. */
const containersOf = (nodeId: string): readonly string[] =>
  mustRun("docker", "ps", "-q", "--no-trunc", "--filter", `label=skein.node=${nodeId}`)
    .split("\n")
    .filter((line) => line !== "")
    .sort();

async function until(what: string, limitMs: number, test: () => boolean): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    try {
      if (test()) return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    if (performance.now() > deadline) throw new Error(`after ${limitMs} ms still not: ${what}`);
    await sleep(200);
  }
}

t.test(
  "docker-compose.yml makes a cluster",
  { skip: whySkipped(), timeout: 480_000 },
  async (t) => {
    mustRun("deploy/build-image", "--base", "local");
    t.teardown(() => {
      run(
        "sh",
        "-c",
        "docker ps -aq --filter label=skein.service=hello/web | xargs -r docker rm -f",
      );
      compose("down", "-v");
    });
    compose("up", "-d");

    await t.test("three daemons, one cluster, the same seen from each", async (t) => {
      await until("three nodes ready", 60_000, () =>
        ["n1", "n2", "n3"].every(
          (from) => nodes(from).filter(({ status }) => status === "ready").length === 3,
        ),
      );
      t.strictSame(
        nodes("n2")
          .map(({ name }) => name)
          .sort(),
        ["n1", "n2", "n3"],
      );
      t.equal(nodes("n3").filter(({ role }) => role === "leader").length, 1);
    });

    await t.test("a job runs through the shared engine, and every node answers", async (t) => {
      skein("n2", "up", "-f", "/opt/skein/deploy/hello.yaml");
      t.strictSame(
        tasks("n3")
          .map(({ node, status }) => `${node} ${status}`)
          .sort(),
        ["n1 running", "n2 running", "n3 running"],
      );
      for (const port of [18_081, 18_082, 18_083]) {
        const response = await fetch(`http://127.0.0.1:${port}/`);
        t.match(await response.text(), /^hello from /);
      }
    });

    await t.test("a daemon touches only what carries its own label", async (t) => {
      const byName = new Map(nodes("n1").map(({ name, id }) => [name, id]));
      const of = (name: string) => containersOf(byName.get(name) ?? "");
      const foreign = mustRun(
        "docker",
        "run",
        "-d",
        "--entrypoint",
        "/opt/skein/deploy/hello",
        "skein:local",
      ).trim();
      t.teardown(() => run("docker", "rm", "-f", foreign));
      const before = { n1: of("n1"), n2: of("n2"), n3: of("n3") };
      t.strictSame([before.n1.length, before.n2.length, before.n3.length], [1, 1, 1]);

      compose("kill", "n3");
      await until("n3 failed, its task elsewhere", 60_000, () => {
        const here = tasks("n1").filter(
          ({ node, status }) => node !== "n3" && status === "running",
        );
        return here.length === 3;
      });
      t.strictSame(of("n3"), before.n3, "what a dead daemon left is not the others' to remove");

      compose("start", "n3");
      await until("n3 back, exactly three run", 60_000, () => {
        const running = [...of("n1"), ...of("n2"), ...of("n3")];
        return running.length === 3 && nodes("n1").every(({ status }) => status === "ready");
      });
      t.match(mustRun("docker", "inspect", "-f", "{{.State.Running}}", foreign), /true/);
    });

    await t.test("down removes the job's containers, and no others", (t) => {
      skein("n1", "down", "-f", "/opt/skein/deploy/hello.yaml");
      t.equal(mustRun("docker", "ps", "-aq", "--filter", "label=skein.service=hello/web"), "");
      t.equal(compose("ps", "-q").trim().split("\n").length, 3);
      t.end();
    });
  },
);
