import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { DaemonFlags } from "./settings.ts";

/** Adds `skein daemon` to the command line. The daemon itself is loaded only when it runs. */
export function addDaemonCommand(
  program: Command,
  skein: { readonly version: string; readonly mainPath: string },
): void {
  program
    .command("daemon")
    .description("run this machine's daemon; without --join it starts a new cluster")
    .option("--name <NAME>", "name in the cluster (default: the host name)")
    .option("--data-dir <DIR>", "where state is kept (default: /var/lib/skein)")
    .option("--listen <ADDR:PORT>", "the one port between machines (default: 0.0.0.0:7946)")
    .option("--advertise <ADDR:PORT>", "where others reach this machine, when behind NAT")
    .option("--join <ADDR,…>", "members to join through")
    .option(
      "--token <TOKEN>",
      "the join token; `ps` shows it, so better: SKEIN_TOKEN or --token-file",
    )
    .option("--token-file <FILE>", "a file that holds the join token")
    .option("--http-port <PORT>", "where host names are served (default: 80)")
    .option("--runtime <KIND>", "docker, process or auto (default: auto)")
    .option("--docker-network <NAME>", "the engine's network for tasks (default: its bridge)")
    .option("--label <K=V>", "a label for placement; may be given several times", collect)
    .option("--timing <PRESET>", "local, lan or wan: how fast failures are noticed (default: lan)")
    .option(
      "--voters <COUNT>",
      "of a new cluster at most so many nodes vote: 1, 3, 5 or 7 (default: 5)",
    )
    .option("--certificate-lifetime <DURATION>", "of nodes' certificates (default: 90d)")
    .option("--log-level <LEVEL>", "debug, info, warn or error (default: info)")
    .exitOverride()
    .action(async (flags: DaemonFlags) => {
      const { readSettings } = await import("./settings.ts");
      const { runDaemon } = await import("./run-daemon.ts");
      const settings = readSettings(flags, process.env, (path) => readFileSync(path, "utf8"));
      // From here on the secret lives in memory only; children must not inherit it.
      delete process.env["SKEIN_TOKEN"];
      process.exitCode = await runDaemon(settings, skein);
    });
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}
