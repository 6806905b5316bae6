import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { DemoNode, skein } from "../../scripts/demo/cluster.ts";
import { root } from "../../scripts/run.ts";
import type { TaskView } from "../../src/api/index.ts";
import { docker, testImage } from "../runtime/docker-fixture.ts";
import { shortDirectory } from "./directory.ts";
import { OneNode, shell, whyNoNode } from "./one-node.ts";

/** Commands in containers as a person runs them, on the real engine and over two daemons. */

const skip = await whyNoNode();
const python = "/usr/bin/python3";
const pin = (node: string) => ({ placement: { constraints: [`node.hostname == ${node}`] } });

t.test("exec on the real engine", { skip, timeout: 240_000 }, async (t) => {
  const directory = shortDirectory(t);
  await using one = await OneNode.start(join(directory, "n1"), "127.0.72.1");
  const { node } = one;
  mkdirSync(join(directory, "n2"), { recursive: true });
  const other = new DemoNode({
    ...{ name: "n2", address: "127.0.72.2", directory: join(directory, "n2"), runtime: "docker" },
  });
  t.teardown(async () => await other.remove());
  const token = (await node.skein("token", "create")).stdout.trim();
  await other.start({ seed: "127.0.72.1:7946", token });
  const up = await one.up({
    near: { ...shell("exec sleep 1000"), deploy: pin("n1") },
    far: {
      ...{ image: testImage, command: ["sleep", "1000"], deploy: { ...pin("n2"), replicas: 2 } },
      environment: { FROM: "the image" },
    },
  });
  t.equal(up.status, 0, up.stderr);
  const tasks = await node.json<TaskView[]>("ps", "far");

  /** Runs the command line with something on its stdin. */
  async function execWith(input: string | Buffer, ...args: readonly string[]) {
    const child = spawn(skein, ["exec", ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, SKEIN_HOST: node.socketPath },
    });
    child.stdin.on("error", () => undefined); // It need not read all of it.
    child.stdin.end(input);
    const [stdout, stderr] = await Promise.all([
      child.stdout.toArray().then((parts: Buffer[]) => Buffer.concat(parts)),
      child.stderr.toArray().then((parts: Buffer[]) => Buffer.concat(parts).toString()),
    ]);
    if (child.exitCode === null) await once(child, "close");
    return { status: child.exitCode, stdout, stderr };
  }

  await t.test("[D8] a command runs on either node and passes its exit code on", async (t) => {
    for (const name of ["near", "far"]) {
      const ran = await node.skein("exec", name, "sh", "-c", "echo out; echo err >&2; exit 42");
      t.same(ran, { status: 42, stdout: "out\n", stderr: "err\n" }, name);
    }
    const env = await node.skein(
      ...["exec", "-e", "A=1", "-w", "/bin", "-u", "1000", "far"],
      ...["sh", "-c", 'echo "$FROM $A $(pwd) $(id -u)"'],
    );
    t.equal(env.stdout, "the image 1 /bin 1000\n");
  });

  await t.test("a task is named by its replica or its id", async (t) => {
    const host = async (name: string) => (await node.skein("exec", name, "hostname")).stdout.trim();
    const second = tasks.find(({ slot }) => slot === 2);
    const expected = second?.containerId?.slice(0, 12);
    t.ok(expected);
    const names = ["far.2", "far/2", "kinds/far.2", "kinds/far/2", `far/${second?.id}`];
    for (const name of names) t.equal(await host(name), expected, name);
    t.not(await host("far"), expected);
  });

  await t.test("what is piped in arrives whole, and what comes back too", async (t) => {
    const sent = Buffer.alloc(20_000_000, "0123456789abcdef\n");
    const { status, stdout, stderr } = await execWith(sent, "-i", "far", "cat");
    t.equal(status, 0, stderr);
    t.ok(stdout.equals(sent), `${stdout.length} of ${sent.length} bytes`);
    t.equal((await execWith("unread", "-i", "far", "true")).status, 0);
  });

  await t.test(
    "failures of Skein's own are 125 in a sentence, the command's are its own",
    async (t) => {
      t.match(await node.skein("exec", "nobody", "true"), {
        status: 125,
        stderr: /no service "nobody"/,
      });
      t.match(await node.skein("exec", "far.9", "true"), { status: 125, stderr: /no task far\.9/ });
      t.match(await node.skein("exec", "-c", "side", "far", "true"), {
        status: 125,
        stderr: /no container "side"/,
      });
      const missing = await node.skein("exec", "far", "no-such-command");
      t.ok([126, 127].includes(missing.status), `${missing.status}`);
      t.match(missing.stdout + missing.stderr, /no-such-command/);
      t.equal((await node.skein("exec", "far")).status, 2);
      t.match(await node.skein("exec", "-it", "far", "sh"), { status: 2, stderr: /no terminal/ });
    },
  );

  const noPython = existsSync(python) ? false : `${python} is not installed`;
  await t.test(
    "[D8] a shell in a terminal: its size, Ctrl-C, exit code",
    { skip: noPython },
    async (t) => {
      const steps = [
        { after: "# $", keys: "stty size\n" },
        {
          after: "24 80\r\n(?:.|\n)*# $",
          resize: [132, 50],
          keys: "sleep 1; stty size\n",
        },
        // Not at the echo of the keys: the shell takes Ctrl-C itself until its command runs.
        { after: "50 132\r\n", keys: "sh -c 'echo up; exec sleep 1000'\n" },
        { after: "up\r\n", keys: "\u0003" },
        { after: "\\^C(?:.|\n)*# $", keys: "exit 9\n" },
      ];
      const player = spawn(
        python,
        [
          join(root, "test/e2e/in-terminal.py"),
          JSON.stringify(steps),
          skein,
          "exec",
          "-it",
          "far",
          "sh",
        ],
        {
          stdio: ["ignore", "pipe", "inherit"],
          env: { ...process.env, SKEIN_HOST: node.socketPath },
        },
      );
      const shown = Buffer.concat(await player.stdout.toArray()).toString();
      if (player.exitCode === null) await once(player, "close");
      t.equal(player.exitCode, 9, shown);
    },
  );

  const runs = async (mark: string) => {
    const ids = tasks.map(({ containerId }) => containerId ?? "");
    const lists = await Promise.all(ids.map((id) => docker("top", id, "-eo", "pid,args")));
    return lists.some((list) => list.includes(mark));
  };

  await t.test("a client that is killed takes its command with it", async (t) => {
    for (const how of ["SIGKILL", "SIGINT"] as const) {
      const child = spawn(skein, ["exec", "far", "sh", "-c", "echo up; sleep 54321"], {
        stdio: ["ignore", "pipe", "ignore"],
        env: { ...process.env, SKEIN_HOST: node.socketPath },
      });
      await once(child.stdout, "data");
      t.ok(await runs("54321"));
      child.kill(how);
      const [code] = await once(child, "exit");
      if (how === "SIGINT") t.equal(code, 130);
      await one.until(`nothing is left after ${how}`, 10_000, async () => !(await runs("54321")));
    }
  });

  await t.test("a node that dies during a command ends the client, which says so", async (t) => {
    const child = spawn(skein, ["exec", "far", "sh", "-c", "echo up; sleep 1000"], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, SKEIN_HOST: node.socketPath },
    });
    await once(child.stdout, "data");
    const stderr = child.stderr.toArray();
    await other.stop("SIGKILL");
    const [code] = await once(child, "exit");
    t.equal(code, 125);
    t.match(Buffer.concat(await stderr).toString(), /The connection to node n2 was lost/);
    t.match(await node.skein("exec", "far", "true"), {
      status: 125,
      stderr: /node n2|No task of far runs/,
    });
    await other.start(undefined);
    await one.until("it can be asked again", 30_000, async () => {
      return (await node.skein("exec", "far", "true")).status === 0;
    });
  });
});
