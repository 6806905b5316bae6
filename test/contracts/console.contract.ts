import type { Test } from "tap";
import { randomName } from "../../src/kernel/index.ts";
import { systemRandom } from "../../src/kernel/io/system.ts";
import type {
  ContainerConsole,
  ContainerRuntime,
  ExecRequest,
  MemoryCommand,
} from "../../src/runtime/index.ts";
import { containerRequest, taskTemplate } from "./container-runtime.contract.ts";

const scripts = {
  both: "cat; echo oops >&2; exit 5",
  environment: 'echo "$GREETING $(pwd)"',
  much: "head -c 4000000 /dev/zero",
  silent: "exec sleep 1000",
} as const;

/** What the contract's commands do, for a memory machine. */
export function runContractCommand(command: MemoryCommand): void {
  const { request, print, exit, onInput, onInputEnd } = command;
  switch (request.argv[2]) {
    case scripts.both:
      onInput((text) => print("stdout", text));
      onInputEnd(() => void print("stderr", "oops\n").then(() => exit(5)));
      break;
    case scripts.environment: {
      const { environment, workingDirectory } = request;
      void print("stdout", `${environment["GREETING"]} ${workingDirectory}\n`).then(() => exit(0));
      break;
    }
    case scripts.much: {
      const printAll = async () => {
        for (let i = 0; i < 40; i += 1) await print("stdout", "0".repeat(100_000));
        exit(0);
      };
      void printAll();
      break;
    }
    case undefined:
      exit(127);
      break;
    default:
      void print("stdout", "up\n");
  }
}

export async function outputOf(console: ContainerConsole) {
  const printed = { stdout: "", stderr: "" };
  for await (const { stream, bytes } of console.output()) {
    printed[stream] += Buffer.from(bytes).toString("latin1");
  }
  return { ...printed, outcome: await console.outcome() };
}

export const execRequest = (
  argv: readonly string[],
  options: Partial<ExecRequest> = {},
): ExecRequest => ({ argv, environment: {}, tty: false, stdin: false, ...options });

/** What a {@link ContainerRuntime} must do for commands with streams. */
export async function consoleContract(
  t: Test,
  of: {
    readonly runtime: ContainerRuntime;
    readonly image: string;
    /** Whether a process with this argument runs in the container. */
    readonly runs: (containerId: string, argument: string) => Promise<boolean>;
  },
): Promise<void> {
  const { runtime, image } = of;
  const signal = AbortSignal.timeout(60_000);
  const template = taskTemplate({ image, entrypoint: ["sh", "-c"], command: ["exec sleep 1000"] });
  const id = await runtime.run(containerRequest(template), { signal });
  t.teardown(async () => await runtime.remove(id, { signal: AbortSignal.timeout(20_000) }));
  const open = (script: string, options: Partial<ExecRequest> = {}) =>
    runtime.openExec(id, execRequest(["sh", "-c", script], options), { signal });

  await t.test("a command's input, both outputs and exit code are its own", async (t) => {
    await using console = await open(scripts.both, { stdin: true });
    await console.write(Buffer.from("one\n"));
    await console.write(Buffer.from("two\n"));
    console.endInput();
    t.match(await outputOf(console), {
      stdout: "one\ntwo\n",
      stderr: "oops\n",
      outcome: { kind: "exited", exitCode: 5 },
    });
    await console.write(Buffer.from("too late")); // Dropped, not a failure.
  });

  await t.test("it gets the variables and the folder that were asked for", async (t) => {
    await using console = await open(scripts.environment, {
      environment: { GREETING: "hello 'there'" },
      workingDirectory: "/bin",
    });
    t.match((await outputOf(console)).stdout, /^hello 'there' \/(usr\/)?bin\n$/);
  });

  await t.test("a command that is not there ends as engines say it", async (t) => {
    await using console = await runtime.openExec(id, execRequest(["no-such-command"]), { signal });
    const { outcome } = await outputOf(console);
    // Newer engines: 127.
    t.ok(outcome.kind === "exited" && [126, 127].includes(outcome.exitCode));
  });

  await t.test("output that is read slowly arrives whole", async (t) => {
    await using console = await open(scripts.much);
    let bytesRead = 0;
    for await (const { bytes } of console.output()) {
      bytesRead += bytes.byteLength;
      await new Promise(setImmediate);
    }
    t.equal(bytesRead, 4_000_000);
    t.same(await console.outcome(), { kind: "exited", exitCode: 0 });
  });

  await t.test("a command whose console is given up ends", async (t) => {
    const mark = randomName(systemRandom, 8);
    // The mark is the name of the child, which has to end as well.
    const script = `sh -c 'echo up; sleep 1000; : ${mark}'; :`;
    const console = await runtime.openExec(id, execRequest(["sh", "-c", script]), { signal });
    for await (const _output of console.output()) break;
    t.equal(await of.runs(id, mark), true);
    await console[Symbol.asyncDispose]();
    t.equal(await of.runs(id, mark), false);
  });

  await t.test("an abort ends what is read", async (t) => {
    const abandon = new AbortController();
    const request = execRequest(["sh", "-c", scripts.silent]);
    await using console = await runtime.openExec(id, request, { signal: abandon.signal });
    const reading = outputOf(console);
    abandon.abort(new Error("no longer wanted"));
    await t.rejects(reading, { message: "no longer wanted" });
  });

  await t.test("there is none in a container that does not run, or is not there", async (t) => {
    const ended = await runtime.run(containerRequest({ ...template, command: ["exit 0"] }), {
      signal,
    });
    await runtime.stop(ended, { graceMs: 0, signal });
    const request = execRequest(["true"]);
    await t.rejects(runtime.openExec(ended, request, { signal }), { code: "invalid_request" });
    await t.rejects(runtime.openExec("0123456789abcdef", request, { signal }), {
      code: "not_found",
    });
    await runtime.remove(ended, { signal });
  });

  await t.test("the end of the container is the end of its commands", async (t) => {
    const other = await runtime.run(containerRequest(template), { signal });
    const request = execRequest(["sh", "-c", scripts.silent]);
    await using console = await runtime.openExec(other, request, { signal });
    await runtime.remove(other, { signal });
    const outcome = await outputOf(console).catch(() => undefined);
    t.ok(outcome === undefined || outcome.outcome.kind === "exited");
  });
}
