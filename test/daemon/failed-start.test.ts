import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t from "tap";
import { shortDirectory } from "../e2e/directory.ts";

const entry = new URL("../../src/main.mjs", import.meta.url).pathname;
const address = "127.0.96.1";

async function answers(target: { readonly path: string } | { readonly port: number }) {
  const socket = connect({ host: address, ...target });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function start(data: string) {
  const daemon = spawn(
    process.execPath,
    [
      ...[entry, "daemon", "--name=n1", `--data-dir=${data}`, `--listen=${address}:7946`],
      ...["--http-port=8080", "--runtime=process", "--timing=local"],
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let said = "";
  const isFounded = Promise.withResolvers<boolean>();
  for (const stream of [daemon.stdout, daemon.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("A new cluster.")) isFounded.resolve(true);
    });
  }
  const ended = once(daemon, "exit").finally(() => isFounded.resolve(false));
  return { daemon, ended, isFounded: isFounded.promise, said: () => said };
}

t.test(
  "a first start that fails takes its proxy along, and the next founds the cluster",
  async (t) => {
    const directory = shortDirectory(t);
    // A socket of the daemon's own is a folder with something in it: that is found after the proxy.
    const data = join(directory, "n1");
    const obstacle = join(data, "detour.sock");
    mkdirSync(join(obstacle, "full"), { recursive: true });
    const first = start(data);
    const [code] = await first.ended;
    t.not(code, 0, first.said());
    t.match(first.said(), /starting the proxy/);
    t.notOk(await answers({ path: join(data, "proxy.sock") }));
    t.notOk(await answers({ port: 7946 }));

    rmSync(obstacle, { recursive: true });
    const second = start(data);
    t.teardown(() => second.daemon.kill("SIGKILL"));
    const limit = setTimeout(() => second.daemon.kill("SIGINT"), 60_000);
    t.ok(await second.isFounded, second.said());
    clearTimeout(limit);
    second.daemon.kill("SIGINT");
    await second.ended;
  },
);
