import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import t from "tap";
import { DockerEngine } from "../../src/runtime/io/docker-engine.ts";

t.test("a call prints nothing of the other calls that are under way", async (t) => {
  // The path of a socket must be short.
  const directory = mkdtempSync(join(tmpdir(), "skein-"));
  const socketPath = join(directory, "engine.sock");
  const waiting = 8;
  const { promise: allWait, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  const server = createServer(() => {
    asked += 1;
    if (asked === waiting) resolve();
  }).listen(socketPath);
  const engine = await DockerEngine.open(socketPath);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true });
  });
  const { signal } = new AbortController();
  const calls = Array.from({ length: waiting }, () =>
    engine.call("It cannot be asked", () => engine.docker.info(), { signal }),
  );
  await allWait;

  // As the client does it for every request, whether anybody reads it or not.
  const agent: unknown = Reflect.get(engine.docker.modem, "agent");
  const printed = inspect(agent, { showHidden: true, depth: null });
  t.equal(printed, "[Agent]");

  engine[Symbol.dispose]();
  for (const call of calls) await t.rejects(call, { code: "engine_unreachable" });
});
