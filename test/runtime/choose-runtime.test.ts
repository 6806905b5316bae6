import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { chooseRuntime } from "../../src/runtime/io/choose-runtime.ts";
import { contractOwner } from "../contracts/container-runtime.contract.ts";
import { whyNoDocker } from "./docker-fixture.ts";

const dataDir = await mkdtemp(join(tmpdir(), "skein-choose-"));
t.teardown(() => rm(dataDir, { recursive: true }));
const { signal } = new AbortController();
const options = { ...contractOwner, dataDir, logger: silentLogger, clock: systemClock, signal };

t.test("auto takes the process runtime where no engine answers, and says why", async (t) => {
  const chosen = await chooseRuntime("auto", { ...options, socketPath: join(dataDir, "none") });
  await using _runtime = chosen.runtime;
  t.equal(chosen.kind, "process");
  t.match(chosen.reason, /No container engine answers.*none/);
});

t.test(
  "auto takes an engine that is there and silent, after 2 s, for it may be busy after a boot",
  async (t) => {
    const socketPath = join(dataDir, "hanging.sock");
    const sockets = new Set<{ destroy(): void }>();
    const server = createServer((socket) => sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const beginMs = performance.now();
    const chosen = await chooseRuntime("auto", { ...options, socketPath });
    await using _runtime = chosen.runtime;
    t.equal(chosen.kind, "docker");
    t.ok(performance.now() - beginMs < 4_000);
  },
);

t.test(
  "auto takes the engine that answers",
  { skip: (await whyNoDocker()) ?? false },
  async (t) => {
    const chosen = await chooseRuntime("auto", options);
    await using _runtime = chosen.runtime;
    t.equal(chosen.kind, "docker");
    t.match(chosen.reason, /answers \(\d/);
  },
);

t.test("what is asked for is taken", async (t) => {
  const process = await chooseRuntime("process", options);
  await process.runtime[Symbol.asyncDispose]();
  t.equal(process.kind, "process");
  const docker = await chooseRuntime("docker", { ...options, socketPath: join(dataDir, "none") });
  await docker.runtime[Symbol.asyncDispose]();
  t.equal(docker.kind, "docker", "even while its engine is down: it may come back");
});
