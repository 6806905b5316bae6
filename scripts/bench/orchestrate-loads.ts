import { setTimeout as sleep } from "node:timers/promises";
import { UnableToRun } from "./errors.ts";
import { callEngine } from "./orchestrate-engines.ts";
import {
  machineNumbers,
  type OrchestrateRig,
  type ServiceOrder,
  type Side,
  untilQuiet,
  withService,
} from "./orchestrate-sides.ts";
import { type Case, toCase } from "./report.ts";

/** Not slower than Swarm. */
const bar = 1;
const limitMs = 180_000;
/** At each engine; more at a time are not faster. */
const parallelStarts = 4;
const healReplicas = 5;
/** A container that is killed sooner is taken for one that does not work. */
const settledRunMs = 2_000;
const updateReplicas = 10;
const swarmMonitorSeconds = 5;
const updateName = `update of ${updateReplicas}, one at a time, start-first`;
const updateCase = { unit: "ms", better: "less", peerName: "swarm" } as const;

/** From the command until so many containers run, and how long bare engines take for them. */
export async function measureCreate(
  rig: OrchestrateRig,
  replicas: number,
): Promise<readonly Case[]> {
  const ours: number[] = [];
  const peer: number[] = [];
  const bare: number[] = [];
  const order: ServiceOrder = { replicas, version: "1" };
  const took = async (fromMs: number) => rig.watch.lastStartAtMs - fromMs;
  for (let round = 1; round <= rig.rounds; round += 1) {
    peer.push(await withService(rig, { side: rig.swarm, order }, took));
    ours.push(await withService(rig, { side: rig.ours, order }, took));
    bare.push(await startBare(rig, replicas));
    rig.say(`${replicas} replicas, round ${round}: ${described({ peer, ours, bare })}`);
  }
  const common = { unit: "ms", better: "less", ours } as const;
  return [
    toCase({ ...common, name: `${replicas} replicas run`, peer, peerName: "swarm", bar }),
    toCase({
      ...common,
      name: `${replicas} replicas run, next to bare engines`,
      peer: bare,
      peerName: "bare",
      bar: null,
    }),
  ];
}

/** Nothing but create and start, at all engines side by side. */
async function startBare(rig: OrchestrateRig, count: number): Promise<number> {
  const { machines, watch, signal } = rig;
  await untilQuiet(rig);
  const ids = new Map<number, string[]>(machineNumbers.map((machine) => [machine, []]));
  const waiting = Array.from({ length: count }, (_, i) => machineNumbers[i % 3] ?? 1);
  const fromMs = Date.now();
  const worker = async (machine: number, own: number[]) => {
    const socket = machines.engineSocket(machine);
    while (own.pop() !== undefined) {
      const body = { Image: "skein-test/web:1" };
      const create = { method: "POST", path: "/containers/create", body, signal } as const;
      const { Id } = await callEngine<{ readonly Id: string }>(socket, create);
      ids.get(machine)?.push(Id);
      await callEngine(socket, { method: "POST", path: `/containers/${Id}/start`, signal });
    }
  };
  const each = machineNumbers.flatMap((machine) => {
    const own = waiting.filter((other) => other === machine);
    return Array.from({ length: parallelStarts }, () => worker(machine, own));
  });
  await Promise.all(each);
  const what = `${count} bare containers`;
  await watch.until(() => watch.running.length === count, { what, limitMs, signal });
  const tookMs = watch.lastStartAtMs - fromMs;
  const removals = [...ids].map(async ([machine, own]) => {
    for (const id of own) {
      const path = `/containers/${id}?force=1`;
      await callEngine(machines.engineSocket(machine), { method: "DELETE", path, signal });
    }
  });
  await Promise.all(removals);
  return tookMs;
}

/** From the death of a container that is killed by hand until all run again. */
export async function measureHeal(rig: OrchestrateRig): Promise<readonly Case[]> {
  const samples: { ours: number[]; peer: number[]; patient: number[] } = {
    ours: [],
    peer: [],
    patient: [],
  };
  const order: ServiceOrder = { replicas: healReplicas, version: "1" };
  const heal = () => killOne(rig);
  const { ours, swarm } = rig;
  for (let round = 1; round <= rig.rounds; round += 1) {
    const impatient: ServiceOrder = { ...order, restartDelay: "none" };
    samples.peer.push(await withService(rig, { side: swarm, order: impatient }, heal));
    samples.ours.push(await withService(rig, { side: ours, order }, heal));
    samples.patient.push(await withService(rig, { side: swarm, order }, heal));
    rig.say(`heal, round ${round}: ${described(samples)}`);
  }
  const common = { unit: "ms", better: "less", ours: samples.ours, peerName: "swarm" } as const;
  const name = "container killed to all running again";
  return [
    toCase({ ...common, name: `${name}, no restart delay`, peer: samples.peer, bar }),
    toCase({ ...common, name: `${name}, defaults`, peer: samples.patient, bar: null }),
  ];
}

async function killOne({ machines, watch, signal }: OrchestrateRig): Promise<number> {
  await sleep(settledRunMs, undefined, { signal });
  const count = watch.running.length;
  const victim = watch.running[0];
  if (victim === undefined) throw new UnableToRun("There is nothing to kill.");
  const before = watch.lastStartAtMs;
  const path = `/containers/${victim.id}/kill`;
  await callEngine(machines.engineSocket(victim.machine), { method: "POST", path, signal });
  const isHealed = () => watch.running.length === count && watch.lastStartAtMs > before;
  await watch.until(isHealed, { what: "the killed container is replaced", limitMs, signal });
  return watch.lastStartAtMs - watch.lastDeathAtMs;
}

/** From the command until the last of the old containers has ended. */
export async function measureUpdate(rig: OrchestrateRig): Promise<readonly Case[]> {
  const ours: number[] = [];
  const peer: number[] = [];
  for (let round = 1; round <= rig.rounds; round += 1) {
    peer.push(await update(rig, rig.swarm, 0));
    ours.push(await update(rig, rig.ours, 0));
    rig.say(`update, round ${round}: ${described({ peer, ours })}`);
  }
  return [toCase({ ...updateCase, name: `${updateName}, monitor 0 s`, ours, peer, bar })];
}

/**
 * The same with Swarm's default for `monitor`, which is ours too and means another thing: Swarm
 * goes on and listens for failures meanwhile, we wait so long before we rely on each new one.
 */
export async function measureMonitoredUpdate(rig: OrchestrateRig): Promise<readonly Case[]> {
  const peer = [await update(rig, rig.swarm, swarmMonitorSeconds)];
  const ours = [await update(rig, rig.ours, swarmMonitorSeconds)];
  rig.say(`update with a monitor of ${swarmMonitorSeconds} s: ${described({ peer, ours })}`);
  const name = `${updateName}, monitor ${swarmMonitorSeconds} s`;
  return [toCase({ ...updateCase, name, ours, peer, bar: null })];
}

async function update(rig: OrchestrateRig, side: Side, monitorSeconds: number): Promise<number> {
  const { watch, signal } = rig;
  const order: ServiceOrder = { replicas: updateReplicas, version: "1", monitorSeconds };
  return await withService(rig, { side, order }, async () => {
    await sleep(rig.seconds * 1_000, undefined, { signal });
    const fromMs = Date.now();
    await side.update({ ...order, version: "2" });
    const isDone = () =>
      watch.running.length === updateReplicas &&
      watch.running.every(({ image }) => image.endsWith(":2"));
    await watch.until(isDone, { what: `${side.name} has updated all`, limitMs, signal });
    return watch.lastDeathAtMs - fromMs;
  });
}

/** The newest of each. */
export function described(samples: Readonly<Record<string, readonly number[]>>): string {
  return Object.entries(samples)
    .map(
      ([name, values]) =>
        `${name === "peer" ? "swarm" : name} ${Math.round(values.at(-1) ?? 0)} ms`,
    )
    .join(", ");
}
