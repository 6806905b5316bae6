import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { skein } from "../../scripts/demo/cluster.ts";
import { root } from "../../scripts/run.ts";
import type { ServiceView } from "../../src/api/index.ts";
import { testImage } from "../runtime/docker-fixture.ts";
import { shortDirectory } from "./directory.ts";
import { OneNode, whyNoNode } from "./one-node.ts";

/** One-off containers as a person runs them, on the real engine. */

const skip = await whyNoNode();
const python = "/usr/bin/python3";

t.test("run on the real engine", { skip, timeout: 240_000 }, async (t) => {
  await using one = await OneNode.start(shortDirectory(t), "127.0.73.1");
  const { node } = one;
  const env = { ...process.env, SKEIN_HOST: node.socketPath, SKEIN_NAMESPACE: "kinds" };
  const names = async () => (await node.json<ServiceView[]>("ls")).map(({ name }) => name);
  const run = (...args: readonly string[]) => node.skein("run", "-n", "kinds", ...args);
  const client = (...args: readonly string[]) =>
    spawn(skein, ["run", ...args], { stdio: ["pipe", "pipe", "inherit"], env });
  async function ended(child: ReturnType<typeof client>) {
    const stdout = Buffer.concat(await child.stdout.toArray()).toString();
    if (child.exitCode === null) await once(child, "close");
    return { status: child.exitCode, stdout };
  }

  await t.test(
    "[D8] in the background: a service that runs, has its name, and is reached",
    async (t) => {
      const started = await run("-d", "--name", "redis-dashboard", testImage, "sleep", "1000");
      t.same(started, { status: 0, stdout: "redis-dashboard\n", stderr: "" });
      t.match((await node.skein("ps", "redis-dashboard")).stdout, /redis-dashboard\.1 +running/);
      const inside = await node.skein("exec", "redis-dashboard", "echo", "inside");
      t.equal(inside.stdout, "inside\n");
      t.match(await run("-d", "--name", "redis-dashboard", testImage, "true"), {
        status: 7,
        stderr: /There is a service kinds\/redis-dashboard already/,
      });
      t.equal((await node.skein("rm", "redis-dashboard")).status, 0);
    },
  );

  await t.test("[D8] in the foreground: all that it prints, and its exit code", async (t) => {
    const script = "echo $A; printf err >&2; printf 'no end'; exit 42";
    const ran = await run("--name", "once", "-e", "A=$B", testImage, "sh", "-c", script);
    t.same(ran, { status: 42, stdout: "$B\nno end", stderr: "err" });
    t.ok((await names()).includes("once"), "without --rm it is kept");
    t.match((await node.skein("logs", "once")).stdout, /no end/);
    const quick = await run("--rm", "--name", "gone", testImage, "true");
    t.equal(quick.status, 0, quick.stderr);
    t.notOk((await names()).includes("gone"));
    const child = client("--rm", "-i", testImage, "sh", "-c", "cat; exit 3");
    child.stdin.end("piped in\n");
    t.same(await ended(child), { status: 3, stdout: "piped in\n" });
  });

  await t.test(
    "what cannot be started leaves nothing, and says why in its exit code",
    async (t) => {
      const cases = [
        { args: [testImage, "no-such-command"], status: 127, stderr: /no-such-command/ },
        { args: [testImage, "/etc"], status: 126, stderr: /permission denied/ },
        { args: ["127.0.0.1:9/nobody/nothing:1"], status: 125, stderr: /nobody\/nothing/ },
        {
          args: ["--constraint", "node.hostname==mars", testImage],
          status: 125,
          stderr: /nowhere/,
        },
      ];
      for (const { args, ...expected } of cases) {
        t.match(await run("--name", "broken", ...args), expected, args.join(" "));
        t.notOk((await names()).includes("broken"));
      }
      t.match(await run("--restart", "always", testImage), { status: 2, stderr: /needs -d/ });
      t.match(await run("-v", "a:b:c:d", testImage), { status: 2 });
    },
  );

  await t.test("Ctrl-C goes to the process, which decides", async (t) => {
    const script = "trap 'echo asked; exit 5' INT; echo up; while :; do sleep 0.1; done";
    const child = client("--rm", testImage, "sh", "-c", script);
    await once(child.stdout, "readable");
    child.kill("SIGINT");
    t.match(await ended(child), { status: 5, stdout: /asked/ });
  });

  await t.test("[D8] --rm removes it though the client was killed", async (t) => {
    const child = client("--rm", "--name", "left", testImage, "sh", "-c", "echo up; sleep 2");
    await once(child.stdout, "readable");
    child.kill("SIGKILL");
    t.ok((await names()).includes("left"));
    await one.until("it is gone", 40_000, async () => !(await names()).includes("left"));
  });

  const noPython = existsSync(python) ? false : `${python} is not installed`;
  await t.test("[D8] -it is a shell in a new container", { skip: noPython }, async (t) => {
    const steps = [
      { after: "# $", keys: "stty size\n" },
      { after: "24 80\r\n(?:.|\n)*# $", keys: "exit 6\n" },
    ];
    const play = join(root, "test/e2e/in-terminal.py");
    const player = spawn(
      python,
      [play, JSON.stringify(steps), skein, "run", "--rm", "-it", testImage, "sh"],
      { stdio: ["ignore", "pipe", "inherit"], env },
    );
    const shown = Buffer.concat(await player.stdout.toArray()).toString();
    if (player.exitCode === null) await once(player, "close");
    t.equal(player.exitCode, 6, shown);
  });
});
