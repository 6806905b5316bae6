import type { HealthCheckSpec } from "../spec/index.ts";

/** What is known of the health of one container that is checked. */
export type ContainerHealth = {
  readonly health: "starting" | "healthy" | "unhealthy";
  /** What the last probe said when it failed; empty otherwise. */
  readonly message: string;
  readonly failuresInARow: number;
  readonly healthySinceMs?: number;
  /** How long it had been healthy when it became unhealthy; 0 when it never was. */
  readonly wasHealthyForMs: number;
};

export type ProbeResult =
  | { readonly kind: "passed" }
  | { readonly kind: "failed"; readonly message: string };

export const startingHealth: ContainerHealth = {
  health: "starting",
  message: "",
  failuresInARow: 0,
  wasHealthyForMs: 0,
};

/** Probes of a container that has not passed yet begin this close together. */
const firstProbeIntervalMs = 250;

/**
 * The health after one more probe. One pass makes it healthy. It becomes unhealthy after
 * `retries` failures in a row; before its first pass, when it has had its start period and
 * `retries` intervals: by then that many probes at the normal pace would have failed.
 */
export function nextHealth(
  spec: HealthCheckSpec,
  before: ContainerHealth,
  result: ProbeResult,
  { now, startedAtMs }: { readonly now: number; readonly startedAtMs: number },
): ContainerHealth {
  if (result.kind === "passed") {
    const healthySinceMs = before.health === "healthy" ? (before.healthySinceMs ?? now) : now;
    return { ...startingHealth, health: "healthy", healthySinceMs };
  }
  const failed = {
    ...before,
    message: result.message,
    failuresInARow: before.failuresInARow + 1,
  };
  if (before.health === "starting") {
    const patienceMs = spec.startPeriodMs + spec.retries * spec.intervalMs;
    const isOver = now - startedAtMs >= patienceMs;
    return isOver ? { ...failed, health: "unhealthy" } : failed;
  }
  if (before.health === "unhealthy" || failed.failuresInARow < spec.retries) return failed;
  const wasHealthyForMs = now - (before.healthySinceMs ?? now);
  return { ...failed, health: "unhealthy", wasHealthyForMs };
}

/**
 * The pause before the next probe. A container that starts is asked often at first, so that
 * it gets traffic as soon as it can serve, then at the pace of the start interval.
 */
export function probePauseMs(
  spec: HealthCheckSpec,
  { health, failuresInARow }: ContainerHealth,
): number {
  if (health !== "starting") return spec.intervalMs;
  const growingMs = firstProbeIntervalMs * 2 ** Math.min(failuresInARow, 10);
  return Math.min(growingMs, spec.startIntervalMs, spec.intervalMs);
}
