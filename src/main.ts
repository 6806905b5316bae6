import { readFileSync } from "node:fs";
import { makeProgram, runProgram } from "./cli/program.ts";

// One entry for everything: the proxy process, the daemon, and the command line. The first
// two are loaded only when asked for, so that a command starts fast.
const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const [command, ...args] = process.argv.slice(2);

if (command === "proxy") {
  const { runProxyProcess } = await import("./proxy/io/proxy-process.ts");
  const socketPath = args[args.indexOf("--socket") + 1] ?? "";
  await runProxyProcess({ socketPath });
} else {
  const program = makeProgram(manifest.version);
  const { addDaemonCommand } = await import("./daemon/command.ts");
  addDaemonCommand(program, manifest.version);
  process.exitCode = await runProgram(program, process.argv.slice(2));
}
