import { setTimeout as sleep } from "node:timers/promises";
import type { Machines } from "../../test/e2e/machines.ts";
import { UnableToRun } from "./errors.ts";
import { callEngine, type EngineWatch } from "./orchestrate-engines.ts";

export const machineNumbers = [1, 2, 3] as const;

export type ServiceOrder = {
  readonly replicas: number;
  readonly version: "1" | "2";
  /** Of an update, seconds. */
  readonly monitorSeconds?: number;
  /** A machine that gets none of it. */
  readonly without?: number;
  /** `none` where a container that ended is started again at once; else each side's default. */
  readonly restartDelay?: "none";
};

/** An orchestrator on the machines, with one service at most. */
export type Side = {
  readonly name: "ours" | "swarm";
  /** The command that a user gives, on machine 1; resolves when it has returned. */
  create(order: ServiceOrder): Promise<void>;
  /** Another version of the same. */
  update(order: ServiceOrder): Promise<void>;
  remove(): Promise<void>;
  /** By the API of a machine; resolves when it is accepted. */
  scale(machine: number, replicas: number, signal: AbortSignal): Promise<void>;
  leader(): Promise<number>;
  /** Throws, saying why, unless every machine is a member in full. */
  assertHealthy(): Promise<void>;
  /** Whatever has to be started on a machine that has power again. */
  boot(machine: number): Promise<void>;
};

export type OrchestrateRig = {
  readonly machines: Machines;
  readonly watch: EngineWatch;
  readonly ours: Side;
  readonly swarm: Side;
  readonly rounds: number;
  /** Of quiet, before each measurement. */
  readonly seconds: number;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
};

const pollMs = 200;
const healthyLimitMs = 120_000;
const emptyLimitMs = 120_000;

/** Tries until it does not throw. */
export async function untilWorks(
  what: string,
  attempt: () => Promise<void>,
  options: { readonly limitMs?: number; readonly signal: AbortSignal },
): Promise<void> {
  const { limitMs = healthyLimitMs, signal } = options;
  const deadline = performance.now() + limitMs;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (performance.now() > deadline) {
        throw new UnableToRun(`${what}: ${error instanceof Error ? error.message : error}`);
      }
    }
    await sleep(pollMs, undefined, { signal });
  }
}

/** Both sides are whole, nothing runs, nothing is left of what ran, and some quiet has passed. */
export async function untilQuiet({ machines, ours, swarm, seconds, signal }: OrchestrateRig) {
  for (const side of [ours, swarm]) {
    await untilWorks(`${side.name} is not whole`, () => side.assertHealthy(), { signal });
  }
  const attempt = async () => {
    for (const machine of machineNumbers) {
      const path = "/containers/json?all=1";
      const left = await callEngine<readonly unknown[]>(machines.engineSocket(machine), { path });
      if (left.length > 0) throw new Error(`${left.length} containers are left on m${machine}`);
    }
  };
  await untilWorks("The machines do not get empty", attempt, { limitMs: emptyLimitMs, signal });
  await sleep(seconds * 1_000, undefined, { signal });
}

/** Measures with one service of one side that is removed again, whatever happens. */
export async function withService<T>(
  rig: OrchestrateRig,
  { side, order }: { readonly side: Side; readonly order: ServiceOrder },
  measure: (fromMs: number) => Promise<T>,
): Promise<T> {
  await untilQuiet(rig);
  const fromMs = Date.now();
  await side.create(order);
  await rig.watch.until(() => rig.watch.running.length === order.replicas, {
    what: `${order.replicas} containers of ${side.name}`,
    limitMs: 120_000,
    signal: rig.signal,
  });
  const measured = await measure(fromMs);
  await side.remove();
  return measured;
}
