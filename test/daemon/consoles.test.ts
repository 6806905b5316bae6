import t, { type Test } from "tap";
import {
  type ConsoleFrame,
  ConsoleLink,
  type ConsolePort,
  type ConsoleRequest,
  type ConsoleStream,
} from "../../src/api/index.ts";
import type { ClusterState } from "../../src/cluster/index.ts";
import { Consoles } from "../../src/daemon/consoles.ts";
import { Cell, nodeId, silentLogger } from "../../src/kernel/index.ts";
import { systemClock as clock } from "../../src/kernel/io/system.ts";
import { createMemoryNetwork } from "../../src/network/index.ts";
import { memoryStreamPair } from "../../src/network/memory-stream.ts";
import {
  containerLabels,
  type MemoryCommand,
  MemoryMachine,
  MemoryRuntime,
} from "../../src/runtime/index.ts";
import { applyAll, clusterOf, serviceSpec, task } from "../builders.ts";
import { containerRequest, taskTemplate } from "../contracts/container-runtime.contract.ts";

const { signal } = new AbortController();
const clusterId = "c1";

/** Two nodes, the second of which runs `web.1`, and a client of the first. */
async function start(
  t: Test,
  options: {
    readonly command?: (command: MemoryCommand) => void;
    readonly timing?: { readonly aliveEveryMs: number; readonly silentMs: number };
    readonly maxServed?: number;
  } = {},
) {
  const hub = createMemoryNetwork();
  const state = new Cell<ClusterState>(clusterOf("n1", "n2"));
  const request = containerRequest(taskTemplate({ image: "none" }));
  const web = task({ id: request.taskId, nodeId: nodeId("n2") });
  state.set({ ...state.get(), tasks: new Map([[web.id, web]]) });
  const machine = new MemoryMachine({ clock, ...options });
  const nodes = [nodeId("n1"), nodeId("n2")].map((self) => {
    const network = hub.join(self);
    const runtime = new MemoryRuntime({ machine, nodeId: self, clusterId });
    const { timing, maxServed } = options;
    const limits = { ...(timing && { timing }), ...(maxServed && { maxServed }) };
    const shared = { state, clock, logger: silentLogger, ...limits };
    return { network, runtime, consoles: new Consoles({ self, network, runtime, ...shared }) };
  });
  const [n1, n2] = nodes;
  if (n1 === undefined || n2 === undefined) throw new Error("there are two");
  t.teardown(async () => {
    for (const { network } of nodes) await network[Symbol.asyncDispose]();
  });
  const container = await n2.runtime.run(request, { signal });
  const connect = (to = n1) => {
    const pair = memoryStreamPair(nodeId("client"), nodeId("n1"), async () => undefined);
    const link = (stream: ConsoleStream) => new ConsoleLink(stream, clock, options.timing);
    const done = (wanted: ConsoleRequest) =>
      to.consoles.open(wanted, link(pair.answerer), { signal });
    return { client: link(pair.opener), done, pair };
  };
  return { hub, state, machine, container, web, n1, n2, connect };
}

function exec(
  taskId: ConsoleRequest["taskId"],
  more: Partial<ConsoleRequest> = {},
): ConsoleRequest {
  const streams = { stdin: true, tty: false, environment: {} };
  return { kind: "exec", taskId, command: ["do"], ...streams, ...more };
}

async function restOf(client: ConsolePort): Promise<readonly ConsoleFrame[]> {
  const frames: ConsoleFrame[] = [];
  for (let frame = await client.next(); frame !== undefined; frame = await client.next()) {
    frames.push(frame);
  }
  return frames;
}

const text = (frames: readonly ConsoleFrame[]) =>
  frames
    .map((frame) => (frame.kind === "output" ? Buffer.from(frame.bytes).toString() : ""))
    .join("");

t.test("[D8] a console reaches the task on its own node and on another one", async (t) => {
  const { web, n1, n2, connect } = await start(t);
  for (const node of [n2, n1]) {
    const { client, done } = connect(node);
    const serving = done(exec(web.id));
    await client.send({ kind: "input", bytes: Buffer.from("hello") }, { signal });
    await client.send({ kind: "input_end" }, { signal });
    const frames = await restOf(client);
    t.same(frames[0], { kind: "ready" });
    t.equal(text(frames), "hello");
    t.same(frames.at(-1), { kind: "exited", exitCode: 0 });
    await client.close();
    await serving;
  }
});

t.test("both outputs, sizes and the exit code come through", async (t) => {
  const { web, connect } = await start(t, {
    command: ({ onResize, print, exit }) =>
      onResize(({ columns, rows }) => {
        void print("stderr", `${columns}x${rows}`).then(() => exit(rows));
      }),
  });
  const { client, done } = connect();
  const serving = done(exec(web.id));
  await client.send({ kind: "resize", size: { columns: 300, rows: 50 } }, { signal });
  const frames = await restOf(client);
  t.match(frames[1], { kind: "output", stream: "stderr" });
  t.equal(text(frames), "300x50");
  t.same(frames.at(-1), { kind: "exited", exitCode: 50 });
  await client.close();
  await serving;
});

t.test("a client that goes away ends the command", async (t) => {
  for (const leave of ["close", "break"] as const) {
    const gone = Promise.withResolvers<void>();
    const { web, connect } = await start(t, {
      command: (command) => command.gone.addEventListener("abort", () => gone.resolve()),
    });
    const { client, done, pair } = connect();
    const serving = done(exec(web.id));
    t.same(await client.next(), { kind: "ready" });
    if (leave === "close") await pair.opener.close();
    else pair.fail(new Error("the client lost its power"));
    await gone.promise;
    await serving;
    await client.close();
    t.pass(leave);
  }
});

t.test("a reader that stops makes the command wait, and all of its output comes", async (t) => {
  const total = 4_000_000;
  let printed = 0;
  const { web, connect } = await start(t, {
    command: ({ print, exit }) => {
      const printAll = async () => {
        for (; printed < total; printed += 50_000) await print("stdout", "x".repeat(50_000));
        exit(0);
      };
      void printAll();
    },
  });
  const { client, done } = connect();
  const serving = done(exec(web.id));
  t.same(await client.next(), { kind: "ready" });
  for (let turn = 0; turn < 1_000; turn += 1) await new Promise(setImmediate);
  t.ok(printed < total / 2, `${printed} bytes were printed with nobody reading`);
  t.equal(text(await restOf(client)).length, total);
  await client.close();
  await serving;
});

t.test("a client whose input cannot be taken hears why, and its command ends", async (t) => {
  const gone = Promise.withResolvers<void>();
  const { web, n1, n2, connect } = await start(t, {
    command: ({ onInput, gone: signal }) => {
      signal.addEventListener("abort", () => gone.resolve());
      onInput(() => Promise.reject(new Error("its input broke")));
    },
  });
  for (const node of [n2, n1]) {
    const { client, done } = connect(node);
    const serving = done(exec(web.id));
    t.same(await client.next(), { kind: "ready" });
    await client.send({ kind: "input", bytes: Buffer.from("hello") }, { signal });
    t.match(await client.next(), { kind: "error", message: /its input broke/ });
    await gone.promise;
    await client.close();
    await serving;
  }
});

t.test("a node that is lost during a command is said to be", async (t) => {
  const { hub, web, connect } = await start(t, { command: () => undefined });
  const { client, done } = connect();
  const serving = done(exec(web.id));
  t.same(await client.next(), { kind: "ready" });
  hub.cut(nodeId("n1"), nodeId("n2"));
  t.match(await client.next(), { kind: "error", code: "unreachable", message: /node n2 was lost/ });
  await client.close();
  await serving;
});

t.test("the end waits for a slow reader that is heard of, and for no other", async (t) => {
  // Far apart, so that a busy machine is not taken for a silent one.
  const timing = { aliveEveryMs: 20, silentMs: 1_500 };
  for (const isThere of [true, false]) {
    const pair = memoryStreamPair(nodeId("client"), nodeId("n2"), async () => undefined);
    const server = new ConsoleLink(pair.answerer, clock, timing);
    const client = new ConsoleLink(pair.opener, clock, {
      ...timing,
      ...(isThere ? {} : { aliveEveryMs: 3_600_000 }),
    });
    await server.send({ kind: "output", stream: "stdout", bytes: Buffer.from("last") }, { signal });
    await server.send({ kind: "exited", exitCode: 3 }, { signal });
    const closing = server.close();
    let isClosed = false;
    void closing.then(() => {
      isClosed = true;
    });
    if (!isThere) {
      await closing;
      client.abort(new Error("done"));
      continue;
    }
    await clock.sleep(2 * timing.silentMs, { signal });
    t.notOk(isClosed);
    const frames = await restOf(client);
    t.equal(text(frames), "last");
    t.same(frames.at(-1), { kind: "exited", exitCode: 3 });
    await client.close();
    await closing;
  }
});

t.test("a side that falls silent is taken to be gone", async (t) => {
  const gone = Promise.withResolvers<void>();
  const { web, n2 } = await start(t, {
    timing: { aliveEveryMs: 20, silentMs: 100 },
    command: (command) => command.gone.addEventListener("abort", () => gone.resolve()),
  });
  // A client that says nothing more, as a machine without power does.
  const pair = memoryStreamPair(nodeId("client"), nodeId("n2"), async () => undefined);
  const link = new ConsoleLink(pair.answerer, clock, { aliveEveryMs: 20, silentMs: 100 });
  const serving = n2.consoles.open(exec(web.id), link, { signal });
  await gone.promise;
  await serving;
  t.pass("the command was ended");
});

t.test("while both are there, silence of the command ends nothing", async (t) => {
  const timing = { aliveEveryMs: 20, silentMs: 1_000 };
  const { web, connect } = await start(t, {
    timing,
    command: ({ exit }) => void clock.sleep(timing.silentMs * 1.5, { signal }).then(() => exit(3)),
  });
  const { client, done } = connect();
  const serving = done(exec(web.id));
  t.same((await restOf(client)).at(-1), { kind: "exited", exitCode: 3 });
  await client.close();
  await serving;
});

t.test("what cannot be is refused in a sentence", async (t) => {
  const { web, container, machine, state, connect } = await start(t, {
    command: () => undefined,
    maxServed: 1,
  });
  const refusalOf = async (wanted: ConsoleRequest) => {
    const { client, done } = connect();
    const serving = done(wanted);
    const frame = await client.next();
    await client.close();
    await serving;
    return frame;
  };
  t.match(await refusalOf(exec(task({}).id)), { code: "not_found", message: /no task/ });
  t.match(await refusalOf(exec(web.id, { container: "side" })), {
    code: "not_found",
    message: /Task web\.1 has no container "side", only "web"/,
  });
  const { client, done } = connect();
  const serving = done(exec(web.id, { container: "web" }));
  t.same(await client.next(), { kind: "ready" });
  t.match(await refusalOf(exec(web.id)), { code: "busy", message: /Node n2 runs 1 command/ });
  await client.close();
  await serving;
  machine.crash(container, 1);
  t.match(await refusalOf(exec(web.id)), { code: "conflict", message: /no container that runs/ });
  state.set({ ...state.get(), tasks: new Map([[web.id, { ...web, nodeId: nodeId("n3") }]]) });
  t.match(await refusalOf(exec(web.id)), { code: "unreachable" });
});

t.test("a peer that does not begin with a request gets nothing", async (t) => {
  const { n1 } = await start(t);
  const stream = await n1.network.openStream(nodeId("n2"), "/skein/console/1", { signal });
  await stream.send(Uint8Array.of(0x06), { signal });
  await stream.send(Uint8Array.of(0x02, 1, 2), { signal });
  await t.rejects(async () => {
    for await (const frame of stream.frames()) t.equal(frame[0], 0x16);
  });
});

t.test("a client of a container that does not start hears why, as shells say it", async (t) => {
  const attach = { kind: "attach", stdin: false } as const;
  for (const [message, exitCode] of [
    ['exec: "nothing": executable file not found in $PATH', 127],
    ['exec: "/etc": permission denied', 126],
    ["The image nobody/nothing cannot be pulled.", undefined],
  ] as const) {
    const { web, state, n2, connect } = await start(t);
    n2.runtime.attach = () => new Promise<never>(() => undefined); // It is being pulled.
    const { client, done } = connect();
    const serving = done({ ...attach, taskId: web.id });
    const heard = client.next();
    await new Promise(setImmediate);
    const result = { outcome: "failed", message, atMs: 0 } as const;
    state.set({ ...state.get(), tasks: new Map([[web.id, { ...web, result }]]) });
    t.match(await heard, { kind: "error", message, exitCode });
    await client.close();
    await serving;
  }
});

t.test("of a pod it is the main container, or the one that is named", async (t) => {
  const { web, state, n2, connect } = await start(t, {
    command: ({ request, print, exit }) =>
      void print("stdout", request.argv.join()).then(() => exit(0)),
  });
  const other = { ...serviceSpec({}).template, name: "side", role: "companion" } as const;
  const pod = { main: "app", others: [other] };
  const spec = serviceSpec({ template: { ...serviceSpec({}).template, pod } });
  const services = applyAll([{ kind: "put_services", specs: [spec], nowMs: 0 }]).services;
  state.set({ ...state.get(), services });
  const opened: string[] = [];
  for (const name of ["app", "side"]) {
    const request = containerRequest(taskTemplate({ image: name }));
    const labels = { ...request.labels, [containerLabels.container]: name };
    await n2.runtime.run({ ...request, taskId: web.id, name, labels }, { signal });
  }
  const first = (await n2.runtime.list({ signal })).find(
    ({ labels }) => labels["skein.container"] === undefined,
  );
  await n2.runtime.remove(first?.id ?? "", { signal });
  const open = n2.runtime.openExec.bind(n2.runtime);
  n2.runtime.openExec = async (id, request, options) => {
    const found = (await n2.runtime.list(options)).find((each) => each.id === id);
    opened.push(found?.labels[containerLabels.container] ?? "");
    return await open(id, request, options);
  };
  for (const container of [undefined, "side", "app"]) {
    const { client, done } = connect();
    const serving = done(exec(web.id, container === undefined ? {} : { container }));
    t.match((await restOf(client)).at(-1), { kind: "exited" });
    await client.close();
    await serving;
  }
  t.strictSame(opened, ["app", "side", "app"]);
  const { client, done } = connect();
  const serving = done(exec(web.id, { container: "none" }));
  t.match(await client.next(), { code: "not_found", message: /only "app", "side"/ });
  await client.close();
  await serving;
});
