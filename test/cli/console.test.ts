import { createReadStream } from "node:fs";
import { PassThrough } from "node:stream";
import t from "tap";
import { ApiClient, type ConsoleRequest } from "../../src/api/index.ts";
import { runConsole } from "../../src/cli/console.ts";
import { nodeId, taskId } from "../../src/kernel/index.ts";
import { memoryStreamPair } from "../../src/network/memory-stream.ts";

const { signal } = new AbortController();

t.test("input that cannot be read ends the command and says why", async (t) => {
  const pair = memoryStreamPair(nodeId("client"), nodeId("n1"), async () => undefined);
  const client = new ApiClient({
    send: () => Promise.reject(new Error("only the console is asked for")),
    openConsole: async () => pair.opener,
  });
  const terminal = {
    // As `skein exec -i web cat < /` has it: a directory.
    stdin: createReadStream("/"),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
  };
  const request: ConsoleRequest = {
    kind: "exec",
    taskId: taskId("t1"),
    command: ["cat"],
    environment: {},
    tty: false,
    stdin: true,
  };
  await t.rejects(runConsole(client, request, { terminal, tty: false, signal }), {
    message: /^The input cannot be read \(EISDIR/,
  });
});
