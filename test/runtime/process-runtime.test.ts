import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import type { Container, ContainerRuntime } from "../../src/runtime/index.ts";
import { openProcessRuntime } from "../../src/runtime/io/process-runtime.ts";
import type { TaskTemplate } from "../../src/spec/index.ts";
import { consoleContract, execRequest } from "../contracts/console.contract.ts";
import {
  collect,
  containerRequest,
  containerRuntimeContract,
  contractOwner,
  taskTemplate,
  whenContainer,
} from "../contracts/container-runtime.contract.ts";

const skip = process.platform === "linux" ? false : "the process runtime needs Linux";
const open = (dataDir: string) =>
  openProcessRuntime({ ...contractOwner, dataDir, logger: silentLogger, clock: systemClock });
const folderOf = (dataDir: string, id: string) => join(dataDir, "containers", id);

async function processIdOf(dataDir: string, id: string, file: "program" | "supervisor") {
  return Number.parseInt(await readFile(join(folderOf(dataDir, id), file), "utf8"), 10);
}

const serverScript =
  "require('node:net').createServer().listen(process.env.SKEIN_PORT_8080, process.env.SKEIN_ADDRESS)";

t.test("the process runtime keeps the contract", { skip, timeout: 120_000 }, async (t) => {
  await containerRuntimeContract(t, async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "skein-process-"));
    let runtime = await open(dataDir);
    return {
      runtime,
      image: "sh",
      missingImage: "ghcr.io/nobody/nothing:1",
      server: { image: process.execPath, command: ["-e", serverScript] },
      async reopen() {
        await runtime[Symbol.asyncDispose]();
        runtime = await open(dataDir);
        return runtime;
      },
      killFromOutside: async ({ id }) => {
        process.kill(await processIdOf(dataDir, id, "program"), "SIGKILL");
      },
      removeFromOutside: async ({ id }) => await rm(folderOf(dataDir, id), { recursive: true }),
      async [Symbol.asyncDispose]() {
        await runtime[Symbol.asyncDispose]();
        await rm(dataDir, { recursive: true });
      },
    };
  });
});

t.test("commands with streams beside processes", { skip, timeout: 90_000 }, async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), "skein-process-"));
  const runtime = await open(dataDir);
  t.teardown(async () => await runtime[Symbol.asyncDispose]());
  const signal = AbortSignal.timeout(80_000);
  await consoleContract(t, {
    runtime,
    image: "sh",
    runs: async (_, mark) => await runsAnywhere(mark),
  });
  const id = await runtime.run(
    containerRequest(taskTemplate({ image: "sh", command: ["-c", "exec sleep 1000"] })),
    { signal },
  );
  const terminal = execRequest(["sh"], { tty: true });
  await t.rejects(runtime.openExec(id, terminal, { signal }), { message: /no terminals/ });
  const other = execRequest(["sh"], { user: "nobody-of-this-machine" });
  await t.rejects(runtime.openExec(id, other, { signal }), { message: /not as nobody/ });
  await runtime.remove(id, { signal });
});

async function runsAnywhere(mark: string): Promise<boolean> {
  for (const id of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${id}/cmdline`, "utf8").catch(() => "");
    if (line.includes(mark)) return true;
  }
  return false;
}

t.test("the process runtime", { skip, timeout: 90_000 }, async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), "skein-process-"));
  let runtime: ContainerRuntime = await open(dataDir);
  const signal = AbortSignal.timeout(80_000);
  t.teardown(async () => {
    const late = AbortSignal.timeout(20_000);
    for (const { id } of await runtime.list({ signal: late })) {
      await runtime.remove(id, { signal: late });
    }
    await runtime[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
  const run = (overrides: Partial<TaskTemplate>) =>
    runtime.run(containerRequest(taskTemplate({ image: "sh", ...overrides })), { signal });
  const runScript = (script: string, overrides: Partial<TaskTemplate> = {}) =>
    run({ command: ["-c", script], ...overrides });
  const isExited = (container: Container | undefined) => container?.state.kind === "exited";
  const outputOf = async (id: string) => {
    const lines = await collect(runtime.logs(id, { follow: true, signal }));
    return lines.filter(({ stream }) => stream === "stdout").map(({ text }) => text);
  };
  const reopen = async () => {
    await runtime[Symbol.asyncDispose]();
    runtime = await open(dataDir);
  };
  /** Resolves when the process is gone, or only waits for a parent to take notice. */
  const whenGone = async (processId: number) => {
    const path = `/proc/${processId}/stat`;
    const isThere = () =>
      readFile(path, "utf8").then(
        (stat) => !stat.includes(") Z "),
        () => false,
      );
    while (await isThere()) await systemClock.sleep(20, { signal });
  };

  await t.test("runs the run file of a folder, with the command behind it", async (t) => {
    const image = t.testdir({ run: '#!/bin/sh\necho "$0 $1 in $PWD"\n' });
    await chmod(join(image, "run"), 0o755);
    const id = await run({ image, command: ["argument"] });
    t.same(await outputOf(id), [`${image}/run argument in ${folderOf(dataDir, id)}/work`]);
  });

  await t.test(
    "takes the command of a folder that has no run file, and its directory",
    async (t) => {
      const image = t.testdir({ "server.sh": "#!/bin/sh\necho $PWD\n" });
      await chmod(join(image, "server.sh"), 0o755);
      const id = await run({ image, command: ["./server.sh"], workingDirectory: "." });
      t.same(await outputOf(id), [image]);
      await t.rejects(run({ image }), { code: "invalid_request", message: /run or start/ });
    },
  );

  await t.test("says what an image has to be", async (t) => {
    for (const image of ["nginx:1.27", "library/nginx", "./app", "/no/such/folder", ""]) {
      await t.rejects(runtime.ensureImage(image, { signal }), {
        code: "image_not_found",
        message: /neither a folder nor a program/,
      });
    }
    await runtime.ensureImage("/bin/sh", { signal });
  });

  await t.test("refuses what would make a program work wrongly", async (t) => {
    const mount = { kind: "volume", source: "data", target: "/data", readOnly: false } as const;
    const refused: readonly Partial<TaskTemplate>[] = [
      { mounts: [mount] },
      { user: "somebody" },
      { workingDirectory: "/no/such/folder" },
      { entrypoint: ["no-such-command"] },
    ];
    const before = await readdir(join(dataDir, "containers"));
    for (const overrides of refused) {
      await t.rejects(runScript("true", overrides), { code: "invalid_request" });
    }
    t.same(await readdir(join(dataDir, "containers")), before, "nothing is left behind");
  });

  await t.test("hands over a port of its own for each that is exposed", async (t) => {
    const script = "echo $PORT $SKEIN_PORT_80 $SKEIN_PORT_81 $SKEIN_ADDRESS; exec sleep 50";
    const ids = [
      await runScript(script, { exposedPorts: [80, 81] }),
      await runScript(script, { exposedPorts: [80, 81] }),
    ];
    const ports = new Set<number>();
    for (const id of ids) {
      const container = await whenContainer(runtime, id, (each) => each !== undefined, signal);
      const [first, second] = container?.endpoints ?? [];
      for await (const { text } of runtime.logs(id, { follow: true, signal })) {
        t.equal(text, `${first?.port} ${first?.port} ${second?.port} 127.0.0.1`);
        break;
      }
      for (const { port } of container?.endpoints ?? []) ports.add(port);
    }
    t.equal(ports.size, 4, "no two are the same");
  });

  await t.test(
    "a container that shares another's network knows the ports of that one",
    async (t) => {
      const owner = await run({ image: "sleep", command: ["50"], exposedPorts: [80] });
      const template = taskTemplate({
        image: "sh",
        command: ["-c", "echo $SKEIN_PORT_80 $PORT $SKEIN_ADDRESS"],
      });
      const guest = { ...containerRequest(template), networkOf: owner };
      const id = await runtime.run(guest, { signal });
      const port = (await runtime.list({ signal })).find((each) => each.id === owner)?.endpoints[0];
      t.same(await outputOf(id), [`${port?.port} 127.0.0.1`], "and none of them is its own");
    },
  );

  await t.test("PORT of the user stays, unless it names an exposed port", async (t) => {
    const ofDatabase = await runScript("echo $PORT", {
      exposedPorts: [80],
      environment: { PORT: "5432" },
    });
    t.same(await outputOf(ofDatabase), ["5432"]);
    const ofItself = await runScript('test "$PORT" = "$SKEIN_PORT_81" && echo same', {
      exposedPorts: [80, 81],
      environment: { PORT: "81" },
    });
    t.same(await outputOf(ofItself), ["same"]);
  });

  await t.test("keeps the daemon's own environment from programs", async (t) => {
    process.env["SKEIN_TOKEN"] = "secret";
    const id = await runScript('echo "token:$SKEIN_TOKEN"');
    t.same(await outputOf(id), ["token:"]);
  });

  await t.test("honours SIGINT and SIGQUIT, which shells take from background jobs", async (t) => {
    for (const [stopSignal, exitCode] of [
      ["SIGINT", 130],
      ["SIGQUIT", 131],
    ] as const) {
      const id = await run({ image: "sleep", command: ["50"] });
      await runtime.stop(id, { graceMs: 5_000, stopSignal, signal });
      const container = await whenContainer(runtime, id, isExited, signal);
      t.match(container?.state, { exitCode });
    }
  });

  await t.test("stops the whole group, and ends what a program leaves behind", async (t) => {
    const id = await runScript("sleep 61 & echo $!; wait");
    const left = await runScript("sleep 62 & echo $!");
    const children: number[] = [];
    for (const each of [id, left]) {
      for await (const { text } of runtime.logs(each, { follow: true, signal })) {
        children.push(Number(text));
        break;
      }
    }
    await runtime.stop(id, { graceMs: 5_000, signal });
    await whenContainer(runtime, left, isExited, signal);
    for (const child of children) await whenGone(child);
    t.equal(children.length, 2);
  });

  await t.test("learns the exit code of what ended while no daemon ran", async (t) => {
    const gate = join(dataDir, "gate");
    const id = await runScript(`until [ -e ${gate} ]; do sleep 0.05; done; echo late; exit 42`);
    const supervisor = await processIdOf(dataDir, id, "supervisor");
    await runtime[Symbol.asyncDispose]();
    await writeFile(gate, "");
    // Nobody tells us here: the end of the supervisor is what a daemon would miss.
    await whenGone(supervisor);
    runtime = await open(dataDir);
    const container = await whenContainer(runtime, id, isExited, signal);
    t.match(container?.state, { exitCode: 42, error: "" });
    t.same(await outputOf(id), ["late"]);
  });

  await t.test(
    "says that the exit code is unknown when the supervisor is killed too",
    async (t) => {
      const id = await run({ image: "sleep", command: ["63"] });
      const program = await processIdOf(dataDir, id, "program");
      process.kill(await processIdOf(dataDir, id, "supervisor"), "SIGKILL");
      const orphan = await whenContainer(runtime, id, (each) => each !== undefined, signal);
      t.equal(orphan?.state.kind, "running", "the program itself goes on");
      process.kill(program, "SIGKILL");
      const container = await whenContainer(runtime, id, isExited, signal);
      t.match(container?.state, { exitCode: 255, error: /not known/ });
    },
  );

  await t.test("takes no other process for its own when the number is reused", async (t) => {
    const id = await run({ image: "sleep", command: ["64"] });
    const folder = folderOf(dataDir, id);
    const program = await processIdOf(dataDir, id, "program");
    const supervisor = await processIdOf(dataDir, id, "supervisor");
    await runtime[Symbol.asyncDispose]();
    const stat = await readFile(`/proc/${process.pid}/stat`, "utf8");
    // As if this test's own process had got both numbers after a crash.
    for (const file of ["program", "supervisor"]) {
      const fields = stat.split(" ");
      fields[21] = "1"; // The start time.
      await writeFile(join(folder, file), fields.join(" "));
    }
    runtime = await open(dataDir);
    const [container] = (await runtime.list({ signal })).filter((each) => each.id === id);
    t.equal(container?.state.kind, "exited");
    await runtime.stop(id, { graceMs: 0, signal });
    t.pass("and we are still alive");
    process.kill(supervisor, "SIGKILL");
    process.kill(program, "SIGKILL");
  });

  await t.test("a removal by hand ends the program as well", async (t) => {
    const id = await run({ image: "sleep", command: ["65"] });
    const program = await processIdOf(dataDir, id, "program");
    await rm(folderOf(dataDir, id), { recursive: true });
    await whenContainer(runtime, id, (each) => each === undefined, signal);
    await whenGone(program);
    t.pass("it has ended");
  });

  await t.test("followers miss nothing when the log is rotated", async (t) => {
    const count = 40_000; // Some 6 MB: one rotation.
    const padding = "x".repeat(150);
    const id = await runScript(
      `i=0; while [ $i -lt ${count} ]; do echo "$i ${padding}"; i=$((i+1)); done`,
    );
    let next = 0;
    let isComplete = true;
    for await (const { text } of runtime.logs(id, { follow: true, signal })) {
      isComplete &&= text.startsWith(`${next} `);
      next += 1;
    }
    t.equal(next, count);
    t.ok(isComplete, "every line came, in order");
    t.ok((await readdir(folderOf(dataDir, id))).includes("log.1"), "it was rotated");
    const [last] = await collect(runtime.logs(id, { follow: false, tail: 1, signal }));
    t.ok(last?.text.startsWith(`${count - 1} `));
  });

  await t.test("keeps what is printed without pause within bounds", async (t) => {
    const id = await runScript(`yes ${"x".repeat(100)} | head -c 60000000; echo; echo last`);
    await whenContainer(runtime, id, isExited, signal);
    const [last] = await collect(runtime.logs(id, { follow: false, tail: 1, signal }));
    t.equal(last?.text, "last");
    // A fast program may print all of it between two looks: most is dropped then, and nothing rotated.
    let logBytes = 0;
    for (const file of await readdir(folderOf(dataDir, id))) {
      if (/^log(\.|$)/.test(file)) logBytes += (await stat(join(folderOf(dataDir, id), file))).size;
    }
    t.ok(logBytes > 0, "something is kept");
    t.ok(logBytes < 9 * 2 ** 20, `${logBytes} bytes of log are kept`);
  });

  await t.test("a line without an end is not lost", async (t) => {
    t.same(await outputOf(await runScript("printf 'a\\n\\nb'")), ["a", "", "b"]);
  });

  await t.test("lines from before a restart are not repeated after it", async (t) => {
    const id = await runScript("echo one; trap 'echo two; exit' TERM; while :; do sleep 0.1; done");
    for await (const { text } of runtime.logs(id, { follow: true, signal })) {
      t.equal(text, "one");
      break;
    }
    await reopen();
    await runtime.stop(id, { graceMs: 5_000, signal });
    t.same(await outputOf(id), ["one", "two"]);
  });

  await t.test("an exec that is given up is killed with its children", async (t) => {
    const id = await run({ image: "sleep", command: ["66"] });
    const pidFile = join(dataDir, "exec-child");
    const argv = ["sh", "-c", `sleep 67 & echo $! > ${pidFile}; wait`];
    await t.rejects(runtime.exec(id, argv, { signal: AbortSignal.timeout(400) }), {
      name: "TimeoutError",
    });
    const child = Number(await readFile(pidFile, "utf8"));
    await whenGone(child);
    t.pass("the child has ended");
    const missing = await runtime.exec(id, ["no-such-command"], { signal });
    t.equal(missing.exitCode, 127);
  });
});
