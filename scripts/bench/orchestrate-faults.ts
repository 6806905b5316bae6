import { setTimeout as sleep } from "node:timers/promises";
import { UnableToRun } from "./errors.ts";
import { described } from "./orchestrate-loads.ts";
import {
  machineNumbers,
  type OrchestrateRig,
  type ServiceOrder,
  type Side,
  untilWorks,
  withService,
} from "./orchestrate-sides.ts";
import { type Case, toCase } from "./report.ts";

/** Not slower than Swarm. */
const bar = 1;
/** What a lost machine ran is replaced in half the time. */
const replacementBar = 2;
const limitMs = 120_000;
const lossReplicas = 6;
const leaderLossReplicas = 4;
/** So often the change is tried again, at the survivors in turns. */
const tryEveryMs = 250;
const tryLimitMs = 10_000;
/** So that losses do not fall into one phase of anybody's timers. */
const jitterMs = 500;

/** From the power loss of a machine that does not lead until all replicas run elsewhere. */
export async function measurePowerLoss(rig: OrchestrateRig): Promise<readonly Case[]> {
  const peer: number[] = [];
  const ours: number[] = [];
  for (let round = 1; round <= rig.rounds; round += 1) {
    ours.push(await loseMachine(rig, rig.ours));
    peer.push(await loseMachine(rig, rig.swarm));
    rig.say(`power loss, round ${round}: ${described({ peer, ours })}`);
  }
  const name = "power loss of a machine to all running elsewhere";
  const common = { unit: "ms", better: "less", peerName: "swarm" } as const;
  return [toCase({ ...common, name, ours, peer, bar: replacementBar })];
}

async function loseMachine(rig: OrchestrateRig, side: Side): Promise<number> {
  const { watch, signal } = rig;
  const order: ServiceOrder = { replicas: lossReplicas, version: "1" };
  return await withService(rig, { side, order }, async () => {
    const leader = await side.leader();
    const victim = machineNumbers.find((machine) => machine !== leader) ?? 1;
    await sleep(rig.seconds * 1_000 + Math.random() * jitterMs, undefined, { signal });
    const lostAtMs = Date.now();
    await losePower(rig, victim);
    const what = `${side.name} has replaced what m${victim} ran`;
    await watch.until(() => watch.running.length === lossReplicas, { what, limitMs, signal });
    const tookMs = watch.lastStartAtMs - lostAtMs;
    rig.say(`${side.name} has replaced what m${victim} ran after ${Math.round(tookMs)} ms`);
    await restorePower(rig, victim);
    return tookMs;
  });
}

/** From the power loss of the leader until a survivor accepts a change, and acts on it. */
export async function measureLeaderLoss(rig: OrchestrateRig): Promise<readonly Case[]> {
  const accepted: { peer: number[]; ours: number[] } = { peer: [], ours: [] };
  const running: { peer: number[]; ours: number[] } = { peer: [], ours: [] };
  for (let round = 1; round <= rig.rounds; round += 1) {
    for (const [key, side] of [["peer", rig.swarm] as const, ["ours", rig.ours] as const]) {
      const took = await loseLeader(rig, side);
      accepted[key].push(took.acceptedMs);
      running[key].push(took.runningMs);
    }
    rig.say(`leader loss, round ${round}, accepted: ${described(accepted)}`);
    rig.say(`leader loss, round ${round}, running: ${described(running)}`);
  }
  const common = { unit: "ms", better: "less", peerName: "swarm", bar } as const;
  return [
    toCase({ ...common, name: "power loss of the leader to next change", ...accepted }),
    toCase({ ...common, name: "power loss of the leader to new replica", ...running }),
  ];
}

async function loseLeader(rig: OrchestrateRig, side: Side) {
  const { watch, signal } = rig;
  const leader = await side.leader();
  const survivors = machineNumbers.filter((machine) => machine !== leader);
  const replicas = leaderLossReplicas;
  // None of it runs at the leader, so that what starts afterwards is the new replica.
  const order: ServiceOrder = { replicas, version: "1", without: leader };
  return await withService(rig, { side, order }, async () => {
    if ((await side.leader()) !== leader) throw new UnableToRun("The leader changed by itself.");
    await sleep(rig.seconds * 1_000 + Math.random() * jitterMs, undefined, { signal });
    const lostAtMs = Date.now();
    await losePower(rig, leader);
    await untilAccepted({ side, survivors, replicas: replicas + 1, signal });
    const acceptedMs = Date.now() - lostAtMs;
    const what = `${side.name} has started the new replica`;
    await watch.until(() => watch.running.length === replicas + 1, { what, limitMs, signal });
    const runningMs = watch.lastStartAtMs - lostAtMs;
    await restorePower(rig, leader);
    return { acceptedMs, runningMs };
  });
}

/** New attempts do not wait for those before: a survivor may let them hang. */
async function untilAccepted(options: {
  readonly side: Side;
  readonly survivors: readonly number[];
  readonly replicas: number;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { side, survivors, replicas, signal } = options;
  const over = new AbortController();
  const attempts: Promise<void>[] = [];
  const deadline = performance.now() + limitMs;
  for (let i = 0; !over.signal.aborted; i += 1) {
    signal.throwIfAborted();
    if (performance.now() > deadline) throw new UnableToRun(`${side.name} accepts no change.`);
    const machine = survivors[i % survivors.length] ?? 1;
    const limits = [signal, over.signal, AbortSignal.timeout(tryLimitMs)];
    const attempt = side.scale(machine, replicas, AbortSignal.any(limits)).then(
      () => over.abort(),
      () => undefined,
    );
    attempts.push(attempt);
    const pause = sleep(tryEveryMs, undefined, { signal: over.signal }).catch(() => undefined);
    await pause;
  }
  await Promise.all(attempts);
}

async function losePower({ machines, watch }: OrchestrateRig, machine: number): Promise<void> {
  await machines.kill(machine);
  watch.forget(machine);
}

async function restorePower(rig: OrchestrateRig, machine: number): Promise<void> {
  const { machines, watch, ours, swarm, signal } = rig;
  await machines.start(machine);
  await watch.follow(machine);
  for (const side of [ours, swarm]) await side.boot(machine);
  for (const side of [ours, swarm]) {
    await untilWorks(`${side.name} is not whole again`, () => side.assertHealthy(), { signal });
  }
}
