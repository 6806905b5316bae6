import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Machines, machinesUnavailable } from "../../test/e2e/machines.ts";
import { UnableToRun } from "./errors.ts";
import { EngineWatch } from "./orchestrate-engines.ts";
import { measureLeaderLoss, measurePowerLoss } from "./orchestrate-faults.ts";
import {
  measureCreate,
  measureHeal,
  measureMonitoredUpdate,
  measureUpdate,
} from "./orchestrate-loads.ts";
import { buildPackage, startOurs } from "./orchestrate-ours.ts";
import { machineNumbers, type OrchestrateRig } from "./orchestrate-sides.ts";
import { startSwarm } from "./orchestrate-swarm.ts";
import { type Bench, type BenchOptions, type Case, describeLoad } from "./report.ts";

const parts: Readonly<Record<string, (rig: OrchestrateRig) => Promise<readonly Case[]>>> = {
  "create-3": (rig) => measureCreate(rig, 3),
  "create-30": (rig) => measureCreate(rig, 30),
  "create-100": (rig) => measureCreate(rig, 100),
  heal: measureHeal,
  update: measureUpdate,
  "update-monitored": measureMonitoredUpdate,
  "power-loss": measurePowerLoss,
  "leader-loss": measureLeaderLoss,
};

/**
 * Three machines, each with an engine of its own, that are a Swarm of three managers and a
 * cluster of three of our daemons at once. Both get the same services in turns; what runs is
 * told by the engines.
 */
export const orchestrateBench: Bench = {
  name: "orchestrate",
  summary: "services on three machines of ours next to Docker Swarm on the same machines",
  loads: Object.keys(parts),
  defaults: { rounds: 3, seconds: 1 },
  run,
};

async function run(options: BenchOptions): Promise<readonly Case[]> {
  const { signal, say, rounds, seconds, loads } = options;
  const unavailable = machinesUnavailable();
  if (unavailable !== undefined) throw new UnableToRun(`This benchmark ${unavailable}.`);
  say(describeLoad());
  await using started = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "skein-bench-"));
  started.defer(() => rm(directory, { recursive: true, force: true }));
  const skein = await buildPackage(directory);
  // Swarm asks a registry for each task, though the image is there.
  const how = { skein, refusesLookups: true };
  const machines = started.use(await Machines.start(machineNumbers.length, how));
  signal.throwIfAborted();
  const watch = started.use(new EngineWatch(machines));
  for (const machine of machineNumbers) await watch.follow(machine);
  const swarm = await startSwarm(machines, signal);
  const ours = await startOurs(machines, { directory, signal });
  const rig = { machines, watch, ours, swarm, rounds, seconds, signal, say };
  const cases: Case[] = [];
  for (const [name, measure] of Object.entries(parts)) {
    if (!loads.includes(name)) continue;
    cases.push(...(await measure(rig)));
    say(`${name} done: ${describeLoad()}`);
  }
  return cases;
}
