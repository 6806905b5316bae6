import type { CommandResult, Machines } from "../../test/e2e/machines.ts";
import { UnableToRun } from "./errors.ts";
import { callEngine } from "./orchestrate-engines.ts";
import { machineNumbers, type ServiceOrder, type Side, untilWorks } from "./orchestrate-sides.ts";

type SwarmNode = {
  readonly Description: { readonly Hostname: string };
  readonly Status: { readonly State: string };
  readonly ManagerStatus?: { readonly Leader?: boolean; readonly Reachability: string };
};
type SwarmService = {
  readonly Version: { readonly Index: number };
  readonly Spec: Readonly<Record<string, unknown>>;
};

/** Docker Swarm, all three machines its managers. */
export async function startSwarm(machines: Machines, signal: AbortSignal): Promise<Side> {
  const docker = async (machine: number, ...args: readonly string[]) =>
    succeeded(await machines.execAsync(machine, ["docker", ...args]), args);
  const advertise = (machine: number) => `--advertise-addr=${machines.address(machine)}`;
  await docker(1, "swarm", "init", advertise(1));
  const { stdout } = await docker(1, "swarm", "join-token", "-q", "manager");
  for (const machine of machineNumbers.slice(1)) {
    const token = ["--token", stdout.trim(), advertise(machine), `${machines.address(1)}:2377`];
    await docker(machine, "swarm", "join", ...token);
  }
  const nodes = (machine = 1) =>
    callEngine<readonly SwarmNode[]>(machines.engineSocket(machine), { path: "/nodes" });
  const side: Side = {
    name: "swarm",
    create: async ({ replicas, version, monitorSeconds = 0, without, restartDelay }) => {
      const rollout = ["order=start-first", "parallelism=1", "delay=0s"];
      await docker(
        1,
        ...["service", "create", "-d", "-q", "--no-resolve-image", "--name=web"],
        ...[`--replicas=${replicas}`, `--update-monitor=${monitorSeconds}s`],
        ...rollout.map((setting) => `--update-${setting}`),
        ...(without === undefined ? [] : [`--constraint=node.hostname!=m${without}`]),
        ...(restartDelay === undefined ? [] : ["--restart-delay=0s"]),
        `skein-test/web:${version}`,
      );
    },
    update: async ({ version }: ServiceOrder) => {
      const image = `--image=skein-test/web:${version}`;
      await docker(1, "service", "update", "-d", "-q", "--no-resolve-image", image, "web");
    },
    remove: async () => {
      await docker(1, "service", "rm", "web");
    },
    scale: async (machine, replicas, attempt) => {
      const socket = machines.engineSocket(machine);
      const path = "/services/web";
      const { Version, Spec } = await callEngine<SwarmService>(socket, { path, signal: attempt });
      const body = { ...Spec, Mode: { Replicated: { Replicas: replicas } } };
      const update = `${path}/update?version=${Version.Index}`;
      await callEngine(socket, { method: "POST", path: update, body, signal: attempt });
    },
    leader: async () => {
      const leader = (await nodes()).find(({ ManagerStatus }) => ManagerStatus?.Leader === true);
      return Number(leader?.Description.Hostname.slice(1) ?? 0);
    },
    assertHealthy: async () => {
      const whole = (await nodes()).filter(
        ({ Status, ManagerStatus }) =>
          Status.State === "ready" && ManagerStatus?.Reachability === "reachable",
      );
      if (whole.length !== machineNumbers.length) throw new Error(`${whole.length} managers`);
    },
    // The engine joins again by itself.
    boot: async () => undefined,
  };
  await untilWorks("Swarm is not whole", () => side.assertHealthy(), { signal });
  return side;
}

function succeeded(result: CommandResult, args: readonly string[]): CommandResult {
  if (result.status === 0) return result;
  throw new UnableToRun(`docker ${args.slice(0, 2).join(" ")} fails: ${result.stderr.trim()}`);
}
