import { spawn } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { silentLogger, taskId } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { ControlFrameReader, encodeControlFrame } from "../../src/proxy/control-protocol.ts";
import { startProxy } from "../../src/proxy/io/proxy-client.ts";
import { startProxyServer } from "../../src/proxy/io/proxy-process.ts";
import type { FeederOrders } from "./fixtures/feeder-main.ts";
import {
  ask,
  configuration,
  freePort,
  local,
  plan,
  published,
  shortDirectory,
  startBackend,
  until,
} from "./fixtures/rig.ts";

const signal = AbortSignal.timeout(60_000);
const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

async function options(t: { teardown(close: () => unknown): void }) {
  const socketPath = join(shortDirectory(t), "proxy.sock");
  const command = [process.execPath, fixture("proxy-main.ts"), socketPath];
  const settings = await configuration("n1");
  return { socketPath, command, configuration: settings, logger: silentLogger, clock: systemClock };
}

/** The pid that the proxy wrote into its log when it started last. */
function proxyPid(socketPath: string): number {
  const lines = readFileSync(`${socketPath}.log`, "utf8").trim().split("\n");
  const started = lines.map((line) => JSON.parse(line)).findLast((e) => e.msg === "proxy started");
  return started.pid;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

t.test("a proxy outlives the daemon that fed it, and the next daemon goes on above", async (t) => {
  const given = await options(t);
  const backend = await startBackend(t, "still here");
  const port = await freePort();
  const routes = plan({ publishedPorts: [published(port, [local("a", backend.port)])] });
  const { socketPath, command, configuration: settings } = given;
  const orders: FeederOrders = { socketPath, command, configuration: settings, plan: routes };
  const feeder = spawn(process.execPath, [fixture("feeder-main.ts"), JSON.stringify(orders)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  feeder.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  await until(() => said === "table 1\n", "the first daemon has fed the proxy");
  t.equal(statSync(socketPath).mode & 0o777, 0o600, "only this user gives orders");
  const pid = proxyPid(socketPath);
  t.equal((await ask(port)).body.toString(), "still here");
  const dead = new Promise((resolve) => feeder.once("exit", resolve));
  feeder.kill("SIGKILL");
  await dead;
  t.equal((await ask(port)).body.toString(), "still here", "without a daemon");

  const next = await startProxy(given);
  t.equal((await next.stats({ signal })).tableVersion, 1, "it is the same proxy");
  t.equal((await next.setTable(routes, { signal })).version, 2);
  await next.detach();
  t.equal((await ask(port)).status, 200, "let go of, it goes on");
  t.ok(isRunning(pid));

  const last = await startProxy(given);
  await last.stop();
  await until(() => !isRunning(pid), "stopped, it ends");
  t.notOk(existsSync(socketPath), "and leaves no socket behind");
});

t.test("a proxy that dies is started again and told everything again", async (t) => {
  const given = await options(t);
  const client = await startProxy(given);
  t.teardown(() => client.stop());
  const backend = await startBackend(t, "a");
  const port = await freePort();
  const publishedPorts = [published(port, [local("a", backend.port)])];
  await client.setTable(plan({ publishedPorts }), { signal });
  t.equal((await ask(port)).status, 200);
  process.kill(proxyPid(given.socketPath), "SIGKILL");
  await until(() => !client.isAttached, "the client notices");
  await t.rejects(client.inUse([taskId("a")], { signal }), { code: "proxy_unreachable" });
  const again = await client.setTable(plan({ publishedPorts, stateIndex: 2 }), { signal });
  t.ok(again.version >= 1, "a table waits for the restart");
  t.equal((await ask(port)).status, 200);
});

t.test("only the newest table matters, and all who wait hear of it", async (t) => {
  const given = await options(t);
  const client = await startProxy(given);
  t.teardown(() => client.stop());
  const taken = await startBackend(t, "other process");
  const routes = plan({ publishedPorts: [published(taken.port, [])] });
  const acks = await Promise.all(
    Array.from({ length: 50 }, (_, stateIndex) =>
      client.setTable({ ...routes, stateIndex }, { signal }),
    ),
  );
  const versions = acks.map(({ version }) => version);
  t.ok(Math.max(...versions) < 10, `50 calls sent ${Math.max(...versions)} tables`);
  t.match(acks.at(-1)?.problems, [{ port: taken.port, message: /taken by another process/ }]);
});

t.test("a port that is free again is no problem any more", async (t) => {
  const given = await options(t);
  const client = await startProxy(given);
  t.teardown(() => client.stop());
  const taken = await startBackend(t, "other process");
  await client.setTable(plan({ publishedPorts: [published(taken.port, [])] }), { signal });
  t.match(await client.problems({ signal }), [{ port: taken.port, message: /another process/ }]);
  taken.close();
  await until(async () => (await client.problems({ signal })).length === 0, "it is bound");
});

t.test("requests under way are counted, idle connections are not", async (t) => {
  const given = await options(t);
  const client = await startProxy(given);
  t.teardown(() => client.stop());
  const waiting: (() => void)[] = [];
  const backend = await startBackend(t, "a", (_request, response) => {
    waiting.push(() => response.end("done"));
  });
  const port = await freePort();
  const endpoint = local("a", backend.port);
  await client.setTable(plan({ publishedPorts: [published(port, [endpoint])] }), { signal });
  const answers = [ask(port), ask(port)];
  await until(() => waiting.length === 2, "two requests are under way");
  await client.setTable(plan({ publishedPorts: [published(port, [])] }), { signal });
  const [task, other] = [taskId("a"), taskId("b")];
  const counts = await client.inUse([task, other], { signal });
  t.strictSame(
    [...counts],
    [
      ["a", 2],
      ["b", 0],
    ],
    "also when the table has dropped the task",
  );
  for (const finish of waiting) finish();
  for (const answer of answers) t.equal((await answer).body.toString(), "done");
  t.strictSame([...(await client.inUse([task], { signal }))], [["a", 0]]);
});

t.test("a proxy of another protocol version is asked to end and replaced", async (t) => {
  const given = await options(t);
  let wasStopped = false;
  const old = createServer((socket) => {
    const reader = new ControlFrameReader();
    socket.on("data", (chunk: Buffer) => {
      for (const { id, body } of reader.push(chunk)) {
        const { kind } = body as { kind: string };
        if (kind === "hello") {
          const hello = { kind: "hello", protocol: 0, pid: 1, tableVersion: 9 } as const;
          socket.write(encodeControlFrame({ id, body: hello }));
        } else {
          wasStopped = kind === "stop";
          old.close();
          socket.end(encodeControlFrame({ id, body: { kind: "stop" } }));
        }
      }
    });
  });
  await new Promise<void>((resolve) => old.listen(given.socketPath, resolve));
  const client = await startProxy(given);
  t.teardown(() => client.stop());
  t.ok(wasStopped);
  t.equal((await client.setTable(plan(), { signal })).version, 1);
});

t.test("a proxy that cannot be started is said plainly", async (t) => {
  const given = await options(t);
  await t.rejects(startProxy({ ...given, command: ["/nonexistent/skein"] }), {
    code: "proxy_unreachable",
    message: /cannot be started with \/nonexistent\/skein/,
  });
});

t.test(
  "two proxies do not share a control socket, and a stale socket is no obstacle",
  async (t) => {
    const socketPath = join(shortDirectory(t), "proxy.sock");
    const first = await startProxyServer({ socketPath, logger: silentLogger });
    await t.rejects(startProxyServer({ socketPath, logger: silentLogger }), {
      code: "already_running",
    });
    await first[Symbol.asyncDispose]();
    const given = { ...(await options(t)), socketPath };
    const command = [process.execPath, fixture("proxy-main.ts"), socketPath];
    const client = await startProxy({ ...given, command });
    process.kill(proxyPid(socketPath), "SIGKILL");
    await until(() => !client.isAttached, "its socket file is left behind");
    await client.setTable(plan(), { signal });
    t.ok(client.isAttached);
    await client.stop();
  },
);

t.test(
  "a request that the proxy does not understand is refused, and changes nothing",
  async (t) => {
    const given = await options(t);
    const client = await startProxy(given);
    t.teardown(() => client.stop());
    const tls = { ...given.configuration.tls, key: "no key" };
    await t.rejects(client.configure({ ...given.configuration, tls }, { signal }), {
      code: "proxy_refused",
    });
    t.equal((await client.setTable(plan(), { signal })).version, 1);
  },
);

t.test("a cluster port that is taken fails the start, and leaves no proxy behind", async (t) => {
  const given = await options(t);
  const holder = createServer().listen(
    given.configuration.edgePort,
    given.configuration.listenAddress,
  );
  t.teardown(() => holder.close());
  await new Promise((resolve) => holder.once("listening", resolve));
  await t.rejects(startProxy(given), {
    code: "port_taken",
    message: new RegExp(`Port ${given.configuration.edgePort} .*taken`),
  });
  await until(() => !isRunning(proxyPid(given.socketPath)), "the proxy ended");
});
