import { connect } from "node:net";
import type { Test } from "tap";
import { nodeId, randomName, serviceKey, taskId } from "../../src/kernel/index.ts";
import { systemRandom } from "../../src/kernel/io/system.ts";
import {
  type Container,
  type ContainerRequest,
  type ContainerRuntime,
  containerLabels,
  type LogLine,
  type MemoryProcess,
  makeContainerLabels,
} from "../../src/runtime/index.ts";
import type { TaskTemplate } from "../../src/spec/index.ts";

/** Apart for every run: containers of another run on the same engine must not be in the way. */
export const contractOwner = {
  nodeId: nodeId("contract-node"),
  clusterId: `contract-${randomName(systemRandom, 8)}`,
};

/** What a runtime under test brings along. */
export type ContractHarness = AsyncDisposable & {
  readonly runtime: ContainerRuntime;
  /** Closes the runtime, as a daemon that ends, and opens another on the same machine. */
  reopen(): Promise<ContainerRuntime>;
  /** Has `sh`. */
  readonly image: string;
  readonly missingImage: string;
  /** Listens on TCP port 8080; absent when nothing real runs. */
  readonly server?: Partial<TaskTemplate>;
  /** Kills the container's program with SIGKILL, as nobody of Skein would. */
  killFromOutside(container: Container): Promise<void>;
  removeFromOutside(container: Container): Promise<void>;
};

/** The programs of the contract: shell scripts, and what they do as {@link MemoryProcess}. */
const programs = {
  polite: {
    script:
      "trap 'echo bye; exit 3' TERM; trap 'exit 4' USR1; echo ready; while :; do sleep 1 & wait $!; done",
    run(self: MemoryProcess) {
      self.onSignal((signal) => {
        if (signal === "SIGTERM") self.print("stdout", "bye");
        self.exit(signal === "SIGTERM" ? 3 : 4);
      });
      self.print("stdout", "ready");
    },
  },
  stubborn: {
    script: "trap '' TERM; echo ready; while :; do sleep 1; done",
    run(self: MemoryProcess) {
      self.onSignal(() => undefined);
      self.print("stdout", "ready");
    },
  },
  failing: {
    script: "echo one; echo two; echo three; echo oops >&2; exit 7",
    run(self: MemoryProcess) {
      for (const text of ["one", "two", "three"]) self.print("stdout", text);
      self.print("stderr", "oops");
      self.exit(7);
    },
  },
} as const;

/** Plays the contract's scripts on a memory machine. */
export function runContractProgram(self: MemoryProcess): void {
  if (self.request.template.entrypoint?.[0] === "env") {
    for (const [name, value] of Object.entries(self.request.template.environment)) {
      self.print("stdout", `${name}=${value}`);
    }
    self.exit(0);
  }
  const script = self.request.template.command?.[0];
  for (const program of Object.values(programs)) if (program.script === script) program.run(self);
}

export function taskTemplate(overrides: Partial<TaskTemplate>): TaskTemplate {
  return {
    image: "none",
    environment: {},
    labels: {},
    exposedPorts: [],
    hostPorts: [],
    mounts: [],
    init: false,
    readOnlyRoot: false,
    capAdd: [],
    capDrop: [],
    limits: {},
    reservations: {},
    restart: { condition: "any", delayMs: 0, windowMs: 0 },
    stopGracePeriodMs: 10_000,
    ...overrides,
  };
}

export function containerRequest(template: TaskTemplate): ContainerRequest {
  const task = taskId(randomName(systemRandom, 12));
  const service = serviceKey("contract", "web");
  return {
    taskId: task,
    name: `skein-contract-${task}`,
    template,
    labels: makeContainerLabels({
      ...contractOwner,
      taskId: task,
      service,
      slot: 1,
      revision: 1,
      restarts: 0,
    }),
  };
}

/** Lists after every event until one container fits; fails by the signal when none does. */
export async function whenContainer(
  runtime: ContainerRuntime,
  id: string,
  fits: (container: Container | undefined) => boolean,
  signal: AbortSignal,
): Promise<Container | undefined> {
  for (;;) {
    const event = Promise.withResolvers<void>();
    const undo = runtime.subscribe(event.resolve); // Before the look, so that no change is missed.
    const abort = () => event.reject(new Error("the container did not come to fit in time"));
    signal.addEventListener("abort", abort, { once: true });
    try {
      const container = (await runtime.list({ signal })).find((each) => each.id === id);
      if (fits(container)) return container;
      await event.promise;
    } finally {
      undo();
      signal.removeEventListener("abort", abort);
    }
  }
}

export async function collect(lines: AsyncIterable<LogLine>): Promise<readonly LogLine[]> {
  const collected: LogLine[] = [];
  for await (const line of lines) collected.push(line);
  return collected;
}

const isExited = (container: Container | undefined) => container?.state.kind === "exited";

/** What every {@link ContainerRuntime} must do, whatever runs the containers. */
export async function containerRuntimeContract(
  t: Test,
  makeHarness: () => Promise<ContractHarness>,
): Promise<void> {
  const harness = await makeHarness();
  let runtime = harness.runtime;
  const signal = AbortSignal.timeout(90_000);
  const soon = () => AbortSignal.any([signal, AbortSignal.timeout(15_000)]);
  t.teardown(async () => {
    const teardownSignal = AbortSignal.timeout(20_000);
    for (const { id } of await runtime.list({ signal: teardownSignal })) {
      await runtime.remove(id, { signal: teardownSignal });
    }
    await harness[Symbol.asyncDispose]();
  });

  const shell = (program: keyof typeof programs, overrides: Partial<TaskTemplate> = {}) =>
    containerRequest(
      taskTemplate({
        image: harness.image,
        entrypoint: ["sh", "-c"],
        command: [programs[program].script],
        ...overrides,
      }),
    );
  /** Resolves when the program has printed its first line: its traps are set then. */
  const whenReady = async (id: string) => {
    for await (const _line of runtime.logs(id, { follow: true, signal: soon() })) return;
  };
  const exitCodeOf = async (id: string) => {
    const container = await whenContainer(runtime, id, isExited, soon());
    return container?.state.kind === "exited" ? container.state.exitCode : undefined;
  };

  await t.test("tells what the machine has", async (t) => {
    const info = await runtime.info({ signal });
    t.ok(info.cpuMillis >= 1000 && info.memoryBytes > 2 ** 20 && info.version.length > 0);
    t.match(info.arch, /^(amd64|arm64)$/);
  });

  await t.test("runs a container and lists it with its task and labels", async (t) => {
    const request = shell("polite", {
      labels: { team: "birds", [containerLabels.taskId]: "forged" },
    });
    const startedAfterMs = Date.now() - 2_000;
    await runtime.ensureImage(request.template.image, { signal });
    const id = await runtime.run(request, { signal });
    const container = await whenContainer(runtime, id, (each) => each !== undefined, soon());
    t.equal(container?.taskId, request.taskId);
    t.match(container?.labels, { ...request.labels, team: "birds" });
    t.equal(container?.state.kind, "running");
    const startedAtMs = container?.state.kind === "running" ? container.state.startedAtMs : 0;
    t.ok(startedAtMs > startedAfterMs && startedAtMs <= Date.now(), "the start has its time");
  });

  await t.test(
    "stops with SIGTERM when nothing else is said, and learns the exit code",
    async (t) => {
      const id = await runtime.run(shell("polite"), { signal });
      await whenReady(id);
      await runtime.stop(id, { graceMs: 10_000, signal });
      t.equal(await exitCodeOf(id), 3);
    },
  );

  await t.test("stops with the signal that is asked for", async (t) => {
    const id = await runtime.run(shell("polite"), { signal });
    await whenReady(id);
    await runtime.stop(id, { graceMs: 10_000, stopSignal: "SIGUSR1", signal });
    t.equal(await exitCodeOf(id), 4);
  });

  await t.test("stops with the signal of the template", async (t) => {
    const id = await runtime.run(shell("polite", { stopSignal: "SIGUSR1" }), { signal });
    await whenReady(id);
    await runtime.stop(id, { graceMs: 10_000, signal });
    t.equal(await exitCodeOf(id), 4);
  });

  await t.test("kills what ignores the signal after the grace period, not before", async (t) => {
    const id = await runtime.run(shell("stubborn"), { signal });
    await whenReady(id);
    const beginMs = performance.now();
    await runtime.stop(id, { graceMs: 400, signal });
    t.ok(performance.now() - beginMs >= 390, "the grace was given");
    t.equal(await exitCodeOf(id), 137);
  });

  await t.test("stopping and removing succeed for what stands still or is gone", async (t) => {
    const id = await runtime.run(shell("failing"), { signal });
    t.equal(await exitCodeOf(id), 7);
    await runtime.stop(id, { graceMs: 1_000, signal });
    await runtime.remove(id, { signal });
    await runtime.remove(id, { signal });
    await runtime.stop(id, { graceMs: 1_000, signal });
    t.notOk((await runtime.list({ signal })).some((container) => container.id === id));
  });

  await t.test("removes a container that runs", async (t) => {
    const id = await runtime.run(shell("stubborn"), { signal });
    await runtime.remove(id, { signal });
    t.notOk((await runtime.list({ signal })).some((container) => container.id === id));
  });

  await t.test(
    "an image that nobody has is image_not_found and leaves nothing behind",
    async (t) => {
      const { missingImage: image } = harness;
      const before = (await runtime.list({ signal })).length;
      await t.rejects(runtime.ensureImage(image, { signal }), { code: "image_not_found" });
      await t.rejects(runtime.run(containerRequest(taskTemplate({ image })), { signal }), {
        code: "image_not_found",
      });
      t.equal((await runtime.list({ signal })).length, before);
    },
  );

  await t.test("a start whose caller gives up leaves nothing behind", async (t) => {
    const before = (await runtime.list({ signal })).length;
    const abandon = new AbortController();
    const starting = runtime.run(shell("polite"), { signal: abandon.signal });
    abandon.abort(new Error("no longer wanted"));
    const id = await starting.catch(() => undefined);
    if (id !== undefined) await runtime.remove(id, { signal }); // It was faster.
    t.equal((await runtime.list({ signal })).length, before);
  });

  await t.test("a name is given once", async (t) => {
    const request = shell("polite");
    const id = await runtime.run(request, { signal });
    await t.rejects(runtime.run(request, { signal }), { code: "invalid_request" });
    const containers = await runtime.list({ signal });
    t.equal(containers.find((container) => container.id === id)?.state.kind, "running");
  });

  await t.test("a host port is bound, reported, and refused to a second container", async (t) => {
    const published = 20_000 + Math.floor(systemRandom.next() * 10_000);
    const hostPorts = [
      { target: 80, published, protocol: "tcp", mode: "host", appProtocol: "auto" },
      { target: 81, protocol: "tcp", mode: "host", appProtocol: "auto" },
    ] as const;
    const id = await runtime.run(shell("polite", { hostPorts: [...hostPorts] }), { signal });
    const container = await whenContainer(runtime, id, (each) => each !== undefined, soon());
    t.match(container?.hostPorts[0], { target: 80, hostPort: published, protocol: "tcp" });
    t.ok((container?.hostPorts[1]?.hostPort ?? 0) > 0, "a free one was found");
    const before = (await runtime.list({ signal })).length;
    const second = shell("polite", { hostPorts: [hostPorts[0]] });
    await t.rejects(runtime.run(second, { signal }), {
      code: "port_in_use",
      message: new RegExp(String(published)),
    });
    t.equal((await runtime.list({ signal })).length, before);
    await runtime.remove(id, { signal });
  });

  await t.test("exposed ports are reached at the endpoints, while it runs", async (t) => {
    const id = await runtime.run(
      containerRequest(
        taskTemplate({ image: harness.image, exposedPorts: [8080, 9090], ...harness.server }),
      ),
      { signal },
    );
    const container = await whenContainer(runtime, id, (each) => each !== undefined, soon());
    t.same(
      container?.endpoints.map(({ target }) => target),
      [8080, 9090],
    );
    const endpoint = container?.endpoints[0];
    if (harness.server !== undefined && endpoint !== undefined) {
      t.equal(await connects(endpoint, soon()), true);
    }
    await runtime.stop(id, { graceMs: 0, signal });
    const stopped = await whenContainer(runtime, id, isExited, soon());
    t.same(stopped?.endpoints, []);
  });

  await t.test("a container that shares another's network has no ports of its own", async (t) => {
    const owner = await runtime.run(shell("polite", { exposedPorts: [8080] }), { signal });
    const request = { ...shell("polite", { exposedPorts: [9090] }), networkOf: owner };
    const guest = await runtime.run(request, { signal });
    const found = await whenContainer(runtime, guest, (each) => each !== undefined, soon());
    t.match(found, { state: { kind: "running" }, endpoints: [], hostPorts: [] });
    const targets = (await runtime.list({ signal })).find(({ id }) => id === owner)?.endpoints;
    t.match(targets, [{ target: 8080 }]);
    await runtime.remove(owner, { signal });
    const before = (await runtime.list({ signal })).length;
    const late = { ...shell("polite"), networkOf: owner };
    await t.rejects(runtime.run(late, { signal }), { code: /^(invalid_request|engine_failed)$/ });
    t.equal((await runtime.list({ signal })).length, before, "nothing is left of it");
    await runtime.remove(guest, { signal });
  });

  await t.test("listeners hear of a crash", async (t) => {
    const id = await runtime.run(shell("polite"), { signal });
    await whenReady(id);
    const container = await whenContainer(runtime, id, (each) => each !== undefined, soon());
    if (container === undefined) throw new Error("it is not listed");
    await harness.killFromOutside(container);
    t.equal(await exitCodeOf(id), 137);
  });

  await t.test("listeners hear of a removal by somebody else", async (t) => {
    const id = await runtime.run(shell("polite"), { signal });
    await whenReady(id);
    const container = await whenContainer(runtime, id, (each) => each !== undefined, soon());
    if (container === undefined) throw new Error("it is not listed");
    await harness.removeFromOutside(container);
    t.equal(await whenContainer(runtime, id, (each) => each === undefined, soon()), undefined);
  });

  await t.test("a listener that has been taken back hears nothing", async (t) => {
    let calls = 0;
    runtime.subscribe(() => {
      calls += 1;
    })();
    const id = await runtime.run(shell("failing"), { signal });
    await exitCodeOf(id);
    t.equal(calls, 0);
  });

  await t.test("logs give every line with its stream and time", async (t) => {
    const id = await runtime.run(shell("failing"), { signal });
    await exitCodeOf(id);
    const lines = await collect(runtime.logs(id, { follow: false, signal: soon() }));
    const of = (stream: LogLine["stream"]) =>
      lines.filter((line) => line.stream === stream).map(({ text }) => text);
    t.same(of("stdout"), ["one", "two", "three"]);
    t.same(of("stderr"), ["oops"]);
    t.ok(lines.every(({ timeMs }) => Math.abs(Date.now() - timeMs) < 60_000));
  });

  await t.test("logs give the last lines only when asked to", async (t) => {
    const id = await runtime.run(shell("failing"), { signal });
    await exitCodeOf(id);
    t.equal((await collect(runtime.logs(id, { follow: false, tail: 2, signal }))).length, 2);
    t.equal((await collect(runtime.logs(id, { follow: false, tail: 0, signal }))).length, 0);
  });

  await t.test("followed logs go on until the container ends", async (t) => {
    const id = await runtime.run(shell("polite"), { signal });
    const texts: string[] = [];
    for await (const { stream, text } of runtime.logs(id, { follow: true, signal: soon() })) {
      if (stream === "stderr") continue; // Where shells tell of signals to their children.
      texts.push(text);
      if (text === "ready") await runtime.stop(id, { graceMs: 5_000, signal });
    }
    t.same(texts, ["ready", "bye"]);
  });

  await t.test("followed logs end at the abort and at the removal", async (t) => {
    const id = await runtime.run(shell("polite"), { signal });
    const abandon = new AbortController();
    for await (const { text } of runtime.logs(id, { follow: true, signal: abandon.signal })) {
      t.equal(text, "ready");
      abandon.abort();
    }
    for await (const _line of runtime.logs(id, { follow: true, signal: soon() })) {
      await runtime.remove(id, { signal });
    }
    t.pass("both ended");
  });

  await t.test("logs of what does not exist are not_found", async (t) => {
    const reading = collect(runtime.logs("0123456789abcdef", { follow: false, signal }));
    await t.rejects(reading, { code: "not_found" });
  });

  await t.test("exec gives exit code and output", async (t) => {
    const id = await runtime.run(shell("polite"), { signal });
    t.same(await runtime.exec(id, ["sh", "-c", "echo fine; exit 5"], { signal }), {
      exitCode: 5,
      output: "fine\n",
    });
  });

  await t.test("the program gets its environment, whatever the names", async (t) => {
    const template = taskTemplate({
      image: harness.image,
      entrypoint: ["env"],
      environment: { GREETING: "hello 'there'", "dotted.name": "us all" },
    });
    const id = await runtime.run(containerRequest(template), { signal });
    t.equal(await exitCodeOf(id), 0);
    const lines = await collect(runtime.logs(id, { follow: false, signal }));
    const texts = lines.map(({ text }) => text);
    t.ok(texts.includes("GREETING=hello 'there'"));
    t.ok(texts.includes("dotted.name=us all"), "a name that shells would drop");
  });

  await t.test("another runtime on the same machine adopts the containers", async (t) => {
    const survivor = await runtime.run(shell("polite"), { signal });
    const ended = await runtime.run(shell("failing"), { signal });
    await whenReady(survivor);
    await exitCodeOf(ended);
    const summary = (containers: readonly Container[]) =>
      containers.map(({ id, taskId, labels, state }) => ({ id, taskId, labels, state }));
    const before = summary(await runtime.list({ signal }));
    runtime = await harness.reopen();
    t.strictSame(summary(await runtime.list({ signal })), before);
    await runtime.stop(survivor, { graceMs: 5_000, signal });
    t.equal(await exitCodeOf(survivor), 3, "the exit code of an adopted container is learnt");
    const lines = await collect(runtime.logs(survivor, { follow: false, signal: soon() }));
    const printed = lines.filter(({ stream }) => stream === "stdout").map(({ text }) => text);
    t.same(printed, ["ready", "bye"]);
  });
}

/** Tries until something listens: the server may need a moment. */
async function connects(
  { address, port }: { readonly address: string; readonly port: number },
  signal: AbortSignal,
): Promise<boolean> {
  while (!signal.aborted) {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const socket = connect({ host: address, port });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    const isConnected = await promise;
    socket.destroy();
    if (isConnected) return true;
    await new Promise((next) => setTimeout(next, 50));
  }
  return false;
}
