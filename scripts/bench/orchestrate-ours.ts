import { copyFile, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ApiClient } from "../../src/api/index.ts";
import { socketTransport } from "../../src/api/io/http-transport.ts";
import type { Machines } from "../../test/e2e/machines.ts";
import { bundle } from "../bundle.ts";
import { root } from "../run.ts";
import { UnableToRun } from "./errors.ts";
import { machineNumbers, type ServiceOrder, type Side, untilWorks } from "./orchestrate-sides.ts";

/** Swarm has 7946, and cannot be told to take another. */
const port = 7950;
const scope = { namespace: "bench", name: "web" };

/** The published form of Skein: bundled, with its Node beside it. Returns the program. */
export async function buildPackage(directory: string): Promise<string> {
  const programs = { main: join(root, "src", "main.mjs") };
  await bundle({ programs, directory: join(directory, "dist") });
  await mkdir(join(directory, "bin"));
  await copyFile(join(root, "package.json"), join(directory, "package.json"));
  const skein = join(directory, "bin", "skein");
  await copyFile(join(root, "bin", "skein"), skein);
  await symlink(join(root, "node_modules"), join(directory, "node_modules"));
  return skein;
}

/** A daemon on each machine, with the defaults of users. */
export async function startOurs(
  machines: Machines,
  { directory, signal }: { readonly directory: string; readonly signal: AbortSignal },
): Promise<Side> {
  const file = join(directory, "compose.yaml");
  const listen = `--listen=0.0.0.0:${port}`;
  const skein = async (...args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await machines.skein(1, ...args);
    if (status !== 0) throw new UnableToRun(`skein ${args[0]} fails: ${stderr.trim()}`);
    return stdout.trim();
  };
  const api = (machine: number) =>
    new ApiClient(socketTransport(machines.pathOf(machine, "/run/skein/skein.sock")));
  const nodes = (machine = 1) => api(machine).call("listNodes", { signal });
  const up = async (order: ServiceOrder) => {
    await writeFile(file, compose(order));
    await skein("up", "-d", "-f", file);
  };
  const side: Side = {
    name: "ours",
    create: up,
    update: up,
    remove: async () => {
      await skein("down", "-f", file);
    },
    scale: async (machine, replicas, attempt) => {
      await api(machine).call("scaleService", {
        params: scope,
        query: { queue: "false" },
        body: { replicas },
        signal: attempt,
      });
    },
    leader: async () => {
      const leader = (await nodes()).find(({ role }) => role === "leader");
      return Number(leader?.name.slice(1) ?? 0);
    },
    assertHealthy: async () => {
      for (const machine of machineNumbers) {
        const list = await nodes(machine);
        const whole = list.filter(
          ({ status, role }) => status === "ready" && (role === "leader" || role === "voter"),
        );
        const hasLeader = whole.some(({ role }) => role === "leader");
        if (whole.length !== machineNumbers.length || !hasLeader) {
          throw new Error(`m${machine} sees ${whole.length} ready voters`);
        }
      }
    },
    boot: async (machine) => {
      machines.startDaemon(machine, listen);
    },
  };
  machines.startDaemon(1, listen);
  const first = async () => {
    const list = await nodes().catch(() => []);
    if (list.length !== 1) throw new Error(`no answer. Its log ends:\n${logEnd(machines)}`);
  };
  await untilWorks("The first daemon does not start", first, { limitMs: 20_000, signal });
  const token = await skein("token", "create");
  for (const machine of machineNumbers.slice(1)) {
    const seed = `--join=${machines.address(1)}:${port}`;
    machines.startDaemon(machine, listen, seed, "--token", token);
  }
  await untilWorks("Our daemons are not whole", () => side.assertHealthy(), { signal });
  return side;
}

function logEnd(machines: Machines): string {
  return machines.daemonLog(1).slice(-2_000);
}

function compose({ replicas, version, monitorSeconds = 0, without }: ServiceOrder): string {
  const constraints = without === undefined ? [] : [`node.hostname != m${without}`];
  return `name: bench
services:
  web:
    image: skein-test/web:${version}
    deploy:
      replicas: ${replicas}
      placement: { constraints: ${JSON.stringify(constraints)} }
      update_config: { parallelism: 1, order: start-first, delay: 0s, monitor: ${monitorSeconds}s }
`;
}
