import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t from "tap";
import { shortDirectory } from "../e2e/directory.ts";

const entry = new URL("../../src/main.ts", import.meta.url).pathname;
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

t.test("a daemon that cannot start takes with it the proxy that it started", async (t) => {
  const directory = shortDirectory(t);
  // A socket of the daemon's own is a folder with something in it: that is found after the proxy.
  const data = join(directory, "n1");
  mkdirSync(join(data, "detour.sock", "full"), { recursive: true });
  const daemon = spawn(
    process.execPath,
    [
      ...[entry, "daemon", "--name=n1", `--data-dir=${data}`, `--listen=${address}:7946`],
      ...["--http-port=8080", "--runtime=process", "--timing=local"],
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let said = "";
  for (const stream of [daemon.stdout, daemon.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
  }
  const [code] = await once(daemon, "exit");
  t.not(code, 0, said);
  t.match(said, /starting the proxy/);
  t.notOk(await answers({ path: join(data, "proxy.sock") }));
  t.notOk(await answers({ port: 7946 }));
});
