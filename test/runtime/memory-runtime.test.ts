import t from "tap";
import { systemClock } from "../../src/kernel/io/system.ts";
import { type MemoryCommand, MemoryMachine, MemoryRuntime } from "../../src/runtime/index.ts";
import { consoleContract, runContractCommand } from "../contracts/console.contract.ts";
import {
  containerRequest,
  containerRuntimeContract,
  contractOwner,
  runContractProgram,
  taskTemplate,
} from "../contracts/container-runtime.contract.ts";

t.test("the memory runtime keeps the contract", async (t) => {
  await containerRuntimeContract(t, async () => {
    const machine = new MemoryMachine({
      clock: systemClock,
      program: runContractProgram,
      exec: (_request, argv) =>
        argv[2] === "echo fine; exit 5"
          ? { exitCode: 5, output: "fine\n" }
          : { exitCode: 127, output: "" },
    });
    machine.missingImages.add("nowhere");
    let runtime = new MemoryRuntime({ machine, ...contractOwner });
    return {
      runtime,
      image: "shell",
      missingImage: "nowhere",
      async reopen() {
        await runtime[Symbol.asyncDispose]();
        runtime = new MemoryRuntime({ machine, ...contractOwner });
        return runtime;
      },
      killFromOutside: async ({ id }) => machine.crash(id, 137),
      removeFromOutside: async ({ id }) => machine.remove(id),
      [Symbol.asyncDispose]: async () => await runtime[Symbol.asyncDispose](),
    };
  });
});

t.test("commands with streams in memory", async (t) => {
  const commands = new Map<string, MemoryCommand>();
  const machine = new MemoryMachine({
    clock: systemClock,
    command: (command) => {
      commands.set(command.request.argv.join(" "), command);
      runContractCommand(command);
    },
  });
  const runtime = new MemoryRuntime({ machine, ...contractOwner });
  const runs = async (_: string, mark: string) =>
    [...commands].some(([line, { gone }]) => line.includes(mark) && !gone.aborted);
  await consoleContract(t, { runtime, image: "shell", runs });
});

t.test("a memory machine", async (t) => {
  const { signal } = new AbortController();
  const request = containerRequest(taskTemplate({ exposedPorts: [80] }));

  t.test("shows a container as created during its start delay", async (t) => {
    const delay = Promise.withResolvers<void>();
    const clock = { ...systemClock, sleep: async () => await delay.promise };
    const machine = new MemoryMachine({ clock, startDelayMs: 1_000 });
    const runtime = new MemoryRuntime({ machine, ...contractOwner });
    const starting = runtime.run(request, { signal });
    t.equal((await runtime.list({ signal }))[0]?.state.kind, "created");
    delay.resolve();
    await starting;
    t.equal((await runtime.list({ signal }))[0]?.state.kind, "running");
  });

  t.test("says engine_unreachable while it is, and forgets nothing", async (t) => {
    const machine = new MemoryMachine({ clock: systemClock });
    const runtime = new MemoryRuntime({ machine, ...contractOwner });
    const id = await runtime.run(request, { signal });
    machine.isReachable = false;
    await t.rejects(runtime.list({ signal }), { code: "engine_unreachable" });
    machine.isReachable = true;
    t.equal((await runtime.list({ signal }))[0]?.id, id);
  });

  t.test("ends everything at a reboot", async (t) => {
    const machine = new MemoryMachine({ clock: systemClock });
    const runtime = new MemoryRuntime({ machine, ...contractOwner });
    await runtime.run(request, { signal });
    machine.reboot();
    t.match((await runtime.list({ signal }))[0]?.state, { kind: "exited", exitCode: 255 });
  });

  t.test("hides the containers of other nodes", async (t) => {
    const machine = new MemoryMachine({ clock: systemClock });
    const ours = new MemoryRuntime({ machine, ...contractOwner });
    const others = new MemoryRuntime({ machine, ...contractOwner, clusterId: "another" });
    const id = await ours.run(request, { signal });
    t.same(await others.list({ signal }), []);
    await others.remove(id, { signal });
    t.equal((await ours.list({ signal })).length, 1);
  });
});
