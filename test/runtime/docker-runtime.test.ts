import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { type ContainerRuntime, containerLabels } from "../../src/runtime/index.ts";
import { openDockerRuntime } from "../../src/runtime/io/docker-runtime.ts";
import { consoleContract, execRequest, outputOf } from "../contracts/console.contract.ts";
import {
  collect,
  containerRequest,
  containerRuntimeContract,
  contractOwner,
  taskTemplate,
  whenContainer,
} from "../contracts/container-runtime.contract.ts";
import {
  docker,
  proxySocket,
  startRegistry,
  testImage,
  whyNoDocker,
  whyNoRegistry,
} from "./docker-fixture.ts";

const skip = (await whyNoDocker()) ?? false;
const open = (socketPath?: string) =>
  openDockerRuntime({
    ...contractOwner,
    ...(socketPath !== undefined && { socketPath }),
    logger: silentLogger,
    clock: systemClock,
  });

t.test("the Docker runtime keeps the contract", { skip, timeout: 120_000 }, async (t) => {
  await containerRuntimeContract(t, async () => {
    let runtime = await open();
    return {
      runtime,
      image: testImage,
      // Nothing listens there: the engine is refused at once.
      missingImage: "127.0.0.1:9/nobody/nothing:1",
      server: {
        entrypoint: ["httpd"],
        command: ["-f", "-p", "8080"],
      },
      async reopen() {
        await runtime[Symbol.asyncDispose]();
        runtime = await open();
        return runtime;
      },
      killFromOutside: async ({ id }) => void (await docker("kill", "--signal=KILL", id)),
      removeFromOutside: async ({ id }) => void (await docker("rm", "-f", id)),
      [Symbol.asyncDispose]: async () => await runtime[Symbol.asyncDispose](),
    };
  });
});

t.test("commands with streams in Docker", { skip, timeout: 90_000 }, async (t) => {
  const runtime = await open();
  t.teardown(async () => await runtime[Symbol.asyncDispose]());
  const signal = AbortSignal.timeout(80_000);
  const runs = async (id: string, mark: string) =>
    (await docker("top", id, "-eo", "pid,args")).includes(mark);
  await consoleContract(t, { runtime, image: testImage, runs });

  await t.test("[D8] a terminal has its size, new sizes, and the keys of a person", async (t) => {
    const template = taskTemplate({ image: testImage, entrypoint: ["sleep"], command: ["1000"] });
    const id = await runtime.run(containerRequest(template), { signal });
    const request = execRequest(["sh"], { tty: true, stdin: true });
    await using console = await runtime.openExec(id, request, { signal });
    await console.resize({ columns: 101, rows: 33 });
    let printed = "";
    const sent = new Set<string>();
    const step = async (after: RegExp, keys: string) => {
      if (sent.has(keys) || !after.test(printed)) return;
      sent.add(keys);
      if (keys === "stty size\n") await console.resize({ columns: 101, rows: 33 });
      await console.write(Buffer.from(keys));
    };
    for await (const { stream, bytes } of console.output()) {
      t.equal(stream, "stdout", "a terminal has one output");
      // The shell asks its terminal where the cursor is.
      printed += Buffer.from(bytes).toString().replaceAll("\u001b[6n", "");
      await step(/[#$] $/, "stty size\n");
      await step(/33 101\r\n[\s\S]*[#$] $/, "echo asleep; sleep 100\n");
      await step(/\nasleep/, "\x03");
      await step(/\^C[\s\S]*[#$] $/, "exit 7\n");
    }
    t.same(await console.outcome(), { kind: "exited", exitCode: 7 });
    await runtime.remove(id, { signal });
  });
});

t.test(
  "containers that start with their client in Docker",
  { skip, timeout: 60_000 },
  async (t) => {
    const runtime = await open();
    t.teardown(async () => await runtime[Symbol.asyncDispose]());
    const signal = AbortSignal.timeout(50_000);
    const attached = (script: string) =>
      containerRequest(
        taskTemplate({
          ...{ image: testImage, entrypoint: ["sh", "-c"], command: [script] },
          ...{ engine: { openStdin: true }, startsAttached: true },
        }),
      );
    const remove = (id: string) => runtime.remove(id, { signal });

    await t.test("nothing that it prints is missed, its input is the client's", async (t) => {
      for (const first of ["client", "container"] as const) {
        const request = attached("echo first; cat; exit 9");
        const start = () => runtime.run(request, { signal });
        const join = () => runtime.attach(request.taskId, { signal });
        let starting = first === "container" ? start() : undefined;
        if (starting !== undefined) await docker("inspect", "--type=image", testImage);
        const joining = join();
        starting ??= start();
        await using console = await joining;
        await console.write(Buffer.from("second"));
        console.endInput();
        t.match(await outputOf(console), {
          stdout: "first\nsecond",
          outcome: { kind: "exited", exitCode: 9 },
        });
        await remove(await starting);
      }
    });

    await t.test("a signal goes to its process; one that runs can be joined", async (t) => {
      const request = attached("trap 'exit 4' USR1; echo up; while :; do sleep 0.1; done");
      const starting = runtime.run(request, { signal });
      const console = await runtime.attach(request.taskId, { signal });
      for await (const _up of console.output()) break;
      await console[Symbol.asyncDispose]();
      const id = await starting;
      await using again = await runtime.attach(request.taskId, { signal });
      await again.signal?.("SIGUSR1");
      t.same((await outputOf(again)).outcome, { kind: "exited", exitCode: 4 });
      await t.rejects(runtime.attach(request.taskId, { signal }), { message: /has ended/ });
      await remove(id);
    });

    await t.test("a start that fails is told to both", async (t) => {
      const request = attached("true");
      const broken = { ...request, template: { ...request.template, entrypoint: ["no-such"] } };
      const starting = runtime.run(broken, { signal });
      const joining = runtime.attach(broken.taskId, { signal });
      await Promise.all([
        t.rejects(starting, { code: "invalid_request", message: /no-such/ }),
        t.rejects(joining, { code: "invalid_request", message: /no-such/ }),
      ]);
    });

    await t.test("a client that goes before the start is not waited with", async (t) => {
      const request = attached("true");
      const leave = new AbortController();
      const joining = runtime.attach(request.taskId, { signal: leave.signal });
      leave.abort(new Error("no longer wanted"));
      await t.rejects(joining, { message: "no longer wanted" });
      const abandon = new AbortController();
      const starting = runtime.run(request, { signal: abandon.signal });
      setTimeout(() => abandon.abort(new Error("nobody came")), 500);
      await t.rejects(starting, { message: "nobody came" });
      t.notOk((await runtime.list({ signal })).some(({ taskId }) => taskId === request.taskId));
    });
  },
);

t.test("the Docker runtime", { skip, timeout: 60_000 }, async (t) => {
  const runtime: ContainerRuntime = await open();
  const signal = AbortSignal.timeout(55_000);
  t.teardown(async () => {
    const late = AbortSignal.timeout(20_000);
    for (const { id } of await runtime.list({ signal: late })) {
      await runtime.remove(id, { signal: late });
    }
    await runtime[Symbol.asyncDispose]();
  });
  const idle = { image: testImage, entrypoint: ["sleep"], command: ["100"] };

  await t.test("hands over the whole template", async (t) => {
    const template = taskTemplate({
      ...idle,
      environment: { A: "1", "b.c": "x=y" },
      workingDirectory: "/tmp",
      user: "65534:65534",
      hostname: "goose",
      labels: { "com.example": "yes", "skein.task": "forged" },
      exposedPorts: [80],
      hostPorts: [{ target: 53, protocol: "udp", mode: "host", appProtocol: "auto" }],
      mounts: [
        { kind: "bind", source: "/tmp", target: "/host", readOnly: true },
        { kind: "volume", target: "/anonymous", readOnly: false },
        { kind: "tmpfs", target: "/scratch", readOnly: false },
      ],
      init: true,
      readOnlyRoot: true,
      capAdd: ["NET_ADMIN"],
      capDrop: ["ALL"],
      limits: { cpuMillis: 500, memoryBytes: 64 * 2 ** 20 },
      reservations: { memoryBytes: 32 * 2 ** 20 },
      stopSignal: "SIGINT",
      stopGracePeriodMs: 1_500,
    });
    const request = containerRequest(template);
    const id = await runtime.run(request, { signal });
    const [inspected] = JSON.parse(await docker("inspect", id));
    t.match(inspected.Config, {
      Hostname: "goose",
      User: "65534:65534",
      Entrypoint: ["sleep"],
      Cmd: ["100"],
      WorkingDir: "/tmp",
      StopSignal: "SIGINT",
      StopTimeout: 2,
    });
    t.match(inspected.Config.Env, ["A=1", "b.c=x=y"]);
    t.match(inspected.Config.Labels, { "com.example": "yes", "skein.task": request.taskId });
    t.match(inspected.HostConfig, {
      Init: true,
      ReadonlyRootfs: true,
      CapAdd: ["NET_ADMIN"],
      CapDrop: ["ALL"],
      NanoCpus: 500_000_000,
      Memory: 64 * 2 ** 20,
      MemoryReservation: 32 * 2 ** 20,
      RestartPolicy: { Name: "no" },
    });
    const mounts: { Type: string; Destination: string; RW: boolean; Name?: string }[] =
      inspected.Mounts;
    t.match(
      mounts.find((mount) => mount.Destination === "/host"),
      { Type: "bind", RW: false },
    );
    t.match(
      mounts.find((mount) => mount.Destination === "/scratch"),
      { Type: "tmpfs" },
    );
    const volume = mounts.find((mount) => mount.Destination === "/anonymous")?.Name ?? "none";
    const container = await whenContainer(runtime, id, (each) => each !== undefined, signal);
    t.match(container?.hostPorts, [{ target: 53, protocol: "udp" }]);
    t.same(
      container?.endpoints.map(({ port }) => port),
      [80],
    );

    await runtime.remove(id, { signal });
    t.equal(
      await docker("volume", "ls", "-q", "--filter", `name=${volume}`),
      "",
      "the anonymous volume went with it",
    );
  });

  await t.test("neither lists nor touches what is not of this node", async (t) => {
    const foreign = await docker(
      "run",
      "-d",
      "--label",
      `${containerLabels.nodeId}=another`,
      "--label",
      `${containerLabels.clusterId}=${contractOwner.clusterId}`,
      "--label",
      `${containerLabels.taskId}=some`,
      testImage,
      "sleep",
      "100",
    );
    t.teardown(() => docker("rm", "-f", foreign));
    t.notOk((await runtime.list({ signal })).some(({ id }) => id === foreign));
    await runtime.stop(foreign, { graceMs: 0, signal });
    await runtime.remove(foreign, { signal });
    await t.rejects(runtime.exec(foreign, ["true"], { signal }), { code: "not_found" });
    await t.rejects(collect(runtime.logs(foreign, { follow: false, signal })), {
      code: "not_found",
    });
    t.equal(await docker("inspect", "-f", "{{.State.Running}}", foreign), "true");
  });

  await t.test("names the port that another process has taken", async (t) => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, "0.0.0.0", resolve));
    const address = blocker.address();
    const published = typeof address === "object" && address !== null ? address.port : 0;
    t.teardown(() => blocker.close());
    const before = (await runtime.list({ signal })).length;
    const request = containerRequest(
      taskTemplate({
        ...idle,
        hostPorts: [{ target: 80, published, protocol: "tcp", mode: "host", appProtocol: "auto" }],
      }),
    );
    await t.rejects(runtime.run(request, { signal }), {
      code: "port_in_use",
      message: new RegExp(`port ${published} `),
    });
    t.equal((await runtime.list({ signal })).length, before, "nothing is left behind");
  });

  await t.test("a command that the image does not have is an invalid request", async (t) => {
    const before = (await runtime.list({ signal })).length;
    const request = containerRequest(taskTemplate({ image: testImage, command: ["no-such"] }));
    await t.rejects(runtime.run(request, { signal }), {
      code: "invalid_request",
      message: /no-such/,
    });
    t.equal((await runtime.list({ signal })).length, before, "nothing is left behind");
  });

  await t.test("a bind mount without a source is an invalid request that names it", async (t) => {
    const request = containerRequest(
      taskTemplate({
        ...idle,
        mounts: [{ kind: "bind", source: "/no/such/folder", target: "/x", readOnly: true }],
      }),
    );
    await t.rejects(runtime.run(request, { signal }), {
      code: "invalid_request",
      message: /\/no\/such\/folder/,
    });
  });

  await t.test("an image name cannot leave its place in the request", async (t) => {
    for (const image of ["../containers", "x?y=1", "a b", ""]) {
      await t.rejects(runtime.ensureImage(image, { signal }), { code: "image_not_found" });
    }
  });

  await t.test("says why an image cannot be pulled", async (t) => {
    await t.rejects(runtime.ensureImage("127.0.0.1:9/a/b", { signal }), {
      code: "image_not_found",
      message: /127\.0\.0\.1:9\/a\/b.*connection refused/,
    });
  });

  await t.test(
    "a registry that hangs keeps neither present images nor the abort waiting",
    async (t) => {
      const silent = createServer(); // Accepts and says nothing.
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
      const sockets = new Set<{ destroy(): void }>();
      silent.on("connection", (socket) => sockets.add(socket));
      t.teardown(() => {
        for (const socket of sockets) socket.destroy();
        silent.close();
      });
      const address = silent.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      const abandon = new AbortController();
      const pulling = runtime.ensureImage(`127.0.0.1:${port}/slow:1`, { signal: abandon.signal });
      const failed = t.rejects(pulling, /no longer/);
      await new Promise((resolve) => silent.once("connection", resolve));
      await runtime.ensureImage(testImage, { signal });
      const id = await runtime.run(containerRequest(taskTemplate(idle)), { signal });
      t.ok(id, "another container started meanwhile");
      abandon.abort(new Error("no longer wanted"));
      await failed;
    },
  );

  await t.test("a pull that is under way ends at the abort", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "skein-engine-"));
    const socketPath = join(folder, "engine.sock");
    // An engine that begins to report the pull and then says nothing more.
    const engine = createHttpServer((request, response) => {
      if (request.method === "GET") response.writeHead(404).end('{"message":"no such image"}');
      else response.write('{"status":"Pulling"}\n');
    });
    await new Promise<void>((resolve) => engine.listen(socketPath, resolve));
    const client = await open(socketPath);
    t.teardown(async () => {
      await client[Symbol.asyncDispose]();
      engine.closeAllConnections();
      engine.close();
      await rm(folder, { recursive: true });
    });
    const abandon = new AbortController();
    const pulling = client.ensureImage("slow", { signal: abandon.signal });
    await new Promise((resolve) => engine.once("request", () => engine.once("request", resolve)));
    await systemClock.sleep(50, { signal }); // The first line is on its way.
    abandon.abort(new Error("no longer wanted"));
    await t.rejects(pulling, /no longer/);
  });

  await t.test("an exec that is given up is killed and does not pile up", async (t) => {
    const id = await runtime.run(containerRequest(taskTemplate(idle)), { signal });
    await t.rejects(runtime.exec(id, ["sleep", "77"], { signal: AbortSignal.timeout(300) }), {
      name: "TimeoutError",
    });
    const processes = await docker("top", id);
    t.notMatch(processes, /sleep 77/);
  });

  await t.test("the output of an exec is cut at 4 KiB", async (t) => {
    const id = await runtime.run(containerRequest(taskTemplate(idle)), { signal });
    const argv = ["sh", "-c", "yes | head -c 100000; exit 9"];
    const { exitCode, output } = await runtime.exec(id, argv, { signal });
    t.equal(exitCode, 9);
    t.equal(output.length, 4096);
  });

  await t.test("containers with one network reach each other on localhost", async (t) => {
    const mounts = [{ kind: "volume", target: "/www", readOnly: false }] as const;
    const script = "echo shared > /www/index.html; exec httpd -f -p 8080 -h /www";
    const web = taskTemplate({ ...idle, entrypoint: ["sh", "-c"], command: [script] });
    const exposing = { ...web, exposedPorts: [8080, 9090], mounts: [...mounts] };
    const networkOf = await runtime.run(containerRequest(exposing), { signal });
    const volumesFrom = [{ containerId: networkOf, readOnly: true }];
    const guest = { ...containerRequest(taskTemplate(idle)), networkOf, volumesFrom };
    const id = await runtime.run(guest, { signal });
    const run = async (line: string) => await runtime.exec(id, ["sh", "-c", line], { signal });
    const asked =
      "for i in 1 2 3 4 5 6 7 8 9; do wget -qO- 127.0.0.1:8080 && break; sleep 0.2; done";
    t.same(await run(asked), { exitCode: 0, output: "shared\n" });
    t.same(await run("cat /www/index.html"), { exitCode: 0, output: "shared\n" });
    t.match(await run("echo more > /www/index.html"), { exitCode: 1, output: /[Rr]ead-only/ });
    for (const each of [id, networkOf]) await runtime.remove(each, { signal });
  });

  await t.test("a line of many pieces arrives as one", async (t) => {
    const script = "head -c 50000 /dev/zero | tr '\\0' x; echo; echo end";
    const template = taskTemplate({ ...idle, entrypoint: ["sh", "-c"], command: [script] });
    const id = await runtime.run(containerRequest(template), { signal });
    const lines = await collect(runtime.logs(id, { follow: true, signal }));
    t.same(
      lines.map(({ text }) => text.length),
      [50_000, 3],
    );
  });
});

t.test(
  "a lost engine is found again, and what happened meanwhile is noticed",
  { skip },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "skein-engine-"));
    const socketPath = join(folder, "engine.sock");
    const proxy = await proxySocket(socketPath);
    const runtime = await open(socketPath);
    t.teardown(async () => {
      await runtime[Symbol.asyncDispose]();
      proxy.close();
      await rm(folder, { recursive: true });
    });
    const signal = AbortSignal.timeout(30_000);
    const template = taskTemplate({ image: testImage, entrypoint: ["sleep"], command: ["100"] });
    const id = await runtime.run(containerRequest(template), { signal });
    t.teardown(() => docker("rm", "-f", id));
    proxy.cut();
    await t.rejects(runtime.list({ signal }), { code: "engine_unreachable" });
    const heard = Promise.withResolvers<void>();
    const undo = runtime.subscribe(heard.resolve);
    await docker("kill", id);
    proxy.mend();
    await heard.promise;
    undo();
    const container = await whenContainer(runtime, id, (each) => each !== undefined, signal);
    t.match(container?.state, { kind: "exited", exitCode: 137 });
  },
);

t.test("pulls from a registry", { skip: skip || whyNoRegistry() }, async (t) => {
  await using registry = await startRegistry();
  await using runtime = await open();
  const signal = AbortSignal.timeout(60_000);
  const image = `127.0.0.1:${registry.port}/geese/gander:7`;
  await docker("tag", testImage, image);
  await docker("push", image);
  await docker("rmi", image);
  await runtime.ensureImage(image, { signal });
  t.equal((await docker("images", "-q", image)).length > 0, true);
  await t.rejects(runtime.ensureImage(`127.0.0.1:${registry.port}/geese/none`, { signal }), {
    code: "image_not_found",
    message: /geese\/none.*(not found|unknown)/,
  });
  await docker("rmi", image);
});

t.test("without an engine calls are engine_unreachable", async (t) => {
  await using runtime = await open("/no/such/engine.sock");
  const { signal } = new AbortController();
  await t.rejects(runtime.list({ signal }), { code: "engine_unreachable" });
  await t.rejects(runtime.info({ signal }), { code: "engine_unreachable" });
  await t.rejects(runtime.ensureImage("x", { signal }), { code: "engine_unreachable" });
  await t.rejects(runtime.run(containerRequest(taskTemplate({})), { signal }), {
    code: "engine_unreachable",
  });
});
