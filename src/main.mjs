// @ts-check
// One entry for everything: the proxy process, the daemon, and the command line. All else is
// loaded after the compile cache is on, which takes a third off every start; and only what
// is asked for, so that a command starts fast. Plain JavaScript, because this file alone comes
// before the cache: Node would load its type stripper for it, which costs as much as a command.
import { mkdirSync, readFileSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { homedir } from "node:os";

/** Compiled code is run as it is found: only its user may write here, whatever the umask. */
function openCompileCache() {
  const isRoot = process.getuid?.() === 0;
  const directory = isRoot ? "/var/cache/skein" : `${homedir()}/.cache/skein`;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch {
    // A home that cannot be written to: it goes without.
    return;
  }
  enableCompileCache(directory);
}

openCompileCache();

/** @type {{ version: string }} */
const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const [command, ...args] = process.argv.slice(2);

if (command === "proxy") {
  const at = args.indexOf("--socket");
  const socketPath = at < 0 ? undefined : args[at + 1];
  if (socketPath === undefined) {
    process.stderr.write(
      "skein: the proxy is started by the daemon; it takes --socket PATH [--stop]\n",
    );
    process.exitCode = 2;
  } else if (args.includes("--stop")) {
    // A proxy outlives its daemon; this ends one whose daemon is gone for good.
    const { stopProxyAt } = await import("./proxy/io/proxy-client.ts");
    await stopProxyAt(socketPath);
  } else {
    const { runProxyProcess } = await import("./proxy/io/proxy-process.ts");
    await runProxyProcess({ socketPath });
  }
} else {
  const { makeProgram, runProgram } = await import("./cli/program.ts");
  const { addDaemonCommand } = await import("./daemon/command.ts");
  const program = makeProgram(manifest.version);
  addDaemonCommand(program, { version: manifest.version, mainPath: import.meta.filename });
  process.exitCode = await runProgram(program, process.argv.slice(2));
}
