import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { Machines, machinesUnavailable } from "./machines.ts";

const skip = machinesUnavailable() ?? false;
const limitMs = 10_000;

/** Whether it comes to hold within {@link limitMs}. */
async function becomesTrue(test: () => boolean): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (!test()) {
    if (performance.now() > deadline) return false;
    await sleep(50);
  }
  return true;
}

t.test("machines with an engine each", { skip, timeout: 120_000 }, async (t) => {
  await using machines = await Machines.start(2);
  const web = (number: number) => ({ host: machines.address(number), port: 80 });
  const canReach = async (number: number) => {
    const [sample] = await machines.request([web(number)], 1, { timeoutMs: 500 });
    return sample?.status === 200;
  };

  await t.test("a command runs there and gives back what it did", async (t) => {
    const result = machines.exec(2, ["sh", "-c", "hostname; cat; echo $X >&2; exit 3"], {
      input: "in",
      env: { X: "err" },
    });
    t.strictSame(result, { status: 3, stdout: "m2\nin", stderr: "err\n" });
    t.match(await machines.skein(1, "--version"), { status: 0, stdout: /\d+\.\d+/ });
  });

  await t.test("they reach each other, and an outside client reaches them", async (t) => {
    for (const [number, version] of [
      [1, "1"],
      [2, "2"],
    ] as const) {
      const image = `skein-test/web:${version}`;
      const run = machines.docker(number, "run", "-d", "--name=web", "--net=host", image);
      t.equal(run.status, 0, run.stderr);
    }
    t.ok(await becomesTrue(() => isServing(machines, 1) && isServing(machines, 2)));
    const samples = await machines.request([web(1), web(2)], 6);
    const bodies = samples.map(({ body }) => body);
    t.strictSame(bodies, ["m1 1", "m2 2", "m1 1", "m2 2", "m1 1", "m2 2"]);
    const page = machines.exec(1, ["busybox", "wget", "-qO-", `http://${machines.address(2)}/`]);
    t.equal(page.stdout, "m2 2\n");
  });

  await t.test("a container is healthy or not, and ends at once on SIGTERM", async (t) => {
    machines.docker(1, "run", "-d", "--name=bad", "skein-test/web:bad");
    const health = ["inspect", "-f", "{{.State.Health.Status}}", "bad"];
    t.ok(
      await becomesTrue(() => machines.docker(1, ...health).stdout.trim() === "unhealthy"),
      "bad is never healthy",
    );
    const from = performance.now();
    machines.docker(1, "stop", "-t", "20", "bad");
    t.ok(performance.now() - from < 5_000);
    const state = machines.docker(1, "inspect", "-f", "{{.State.ExitCode}}", "bad");
    t.equal(state.stdout.trim(), "0");
  });

  await t.test("a request has an end, also when nobody answers", async (t) => {
    const [sample] = await machines.request([{ host: "10.98.0.99", port: 80 }], 1, {
      timeoutMs: 300,
    });
    t.equal(sample?.error, "timed out");
    t.ok((sample?.tookMs ?? 0) < 2_000);
  });

  await t.test("cut off, it hears nothing and sees no link go down; then it is back", async (t) => {
    const load = machines.startLoad({ targets: [web(2)], intervalMs: 50, timeoutMs: 500 });
    await load.started;
    machines.cut(2);
    t.notOk(await canReach(2));
    t.equal(machines.exec(2, ["cat", "/sys/class/net/eth0/operstate"]).stdout, "up\n");
    t.ok(isServing(machines, 2), "it runs on");
    machines.heal(2);
    t.ok(await canReach(2));
    await sleep(200);
    const samples = await load.stop();
    t.equal(samples[0]?.status, 200);
    t.equal(samples.at(-1)?.status, 200);
    t.ok(
      samples.some(({ error }) => error !== undefined),
      "the load saw the gap",
    );
  });

  await t.test("without power everything in it dies; its disk stays", async (t) => {
    machines.exec(2, ["sh", "-c", "echo kept > /var/lib/skein/file; echo lost > /run/file"]);
    const logFile = join(t.testdir(), "log");
    const program = machines.spawn(2, ["sleep", "1000"], { logFile });
    const ended = new Promise((resolve) => program.once("exit", resolve));
    await machines.kill(2);
    await ended;
    t.notOk(await canReach(2));
    t.throws(() => machines.exec(2, ["true"]), /machine 2 is off/);

    await machines.start(2);
    const files = machines.exec(2, ["cat", "/var/lib/skein/file", "/run/file"]);
    t.match(files, { status: 1, stdout: "kept\n" });
    const left = machines.docker(2, "ps", "-a", "--format", "{{.Image}} {{.State}}").stdout;
    t.match(left, /skein-test\/web:2 exited/, "containers are there, nothing runs");
    t.equal(machines.docker(2, "start", "web").status, 0);
    t.ok(await becomesTrue(() => isServing(machines, 2)));
    t.ok(await canReach(2));
  });
});

t.test("nothing is left of a run, however it ends", { skip, timeout: 60_000 }, async (t) => {
  const module = JSON.stringify(new URL("./machines.ts", import.meta.url));
  const start = `const { Machines } = await import(${module}); await Machines.start(1); console.log("started"); setInterval(() => {}, 1000);`;
  const run = spawn(process.execPath, ["--input-type=module", "-e", start], {
    stdio: ["ignore", "pipe", 2],
  });
  const ended = new Promise((resolve) => run.once("exit", resolve));
  await new Promise((resolve) => run.stdout?.once("data", resolve));
  const prefix = `skein-e2e-${run.pid}`;
  const processes = () =>
    spawnSync("ip", ["netns", "pids", `${prefix}-1`], { encoding: "utf8" }).stdout.trim();
  t.not(processes(), "", "the machine runs");
  run.kill("SIGKILL");
  await ended;
  t.ok(await becomesTrue(() => processes() === ""), "it dies with the process that made it");

  const traces = () => [
    ...readdirSync("/run/netns"),
    ...readdirSync(tmpdir()),
    ...["memory", "systemd", "."].flatMap((name) => {
      const folder = join("/sys/fs/cgroup", name);
      return existsSync(folder) ? readdirSync(folder) : [];
    }),
  ];
  const tracesOf = (pid: number | undefined) =>
    traces().filter((name) => name.startsWith(`skein-e2e-${pid}`));
  t.not(tracesOf(run.pid).length, 0);
  {
    await using _machines = await Machines.start(0);
    t.strictSame(tracesOf(run.pid), [], "the next run clears away the rest");
  }
  t.strictSame(tracesOf(process.pid), [], "a run that ends well clears away its own");
});

function isServing(machines: Machines, number: number): boolean {
  return machines.exec(number, ["busybox", "wget", "-qO-", "http://127.0.0.1/"]).status === 0;
}
