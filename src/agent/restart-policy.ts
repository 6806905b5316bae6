import type { TaskTemplate } from "../spec/index.ts";

/** Below this a run counts as failed at once; a kill after it is not one of a row of kills. */
const quickRunMs = 10_000;
/** After a run of this length (or of the policy's window) the back-off starts anew. */
const calmRunMs = 30_000;
/** So many quick failures in a row are borne on one node; with the next it gives up. */
const maxQuickFailures = 5;
/** A container that ran at least this long was up when somebody killed it. */
const upMs = 1_000;
/** So many kills in a row are taken for accidents from outside; then they back off too. */
const maxFreeKills = 10;
const backOffFirstMs = 1_000;
const backOffMaxMs = 60_000;

/** What has to be remembered of a task's earlier containers to decide about the next. */
export type RestartHistory = {
  /** How often it was started again; never goes back. */
  readonly restarts: number;
  readonly quickFailures: number;
  readonly backOffSteps: number;
  readonly killsInARow: number;
  /** Restarts that count against the policy's `maxAttempts`. */
  readonly attempts: number;
};

export const newRestartHistory: RestartHistory = {
  restarts: 0,
  quickFailures: 0,
  backOffSteps: 0,
  killsInARow: 0,
  attempts: 0,
};

/** How a container, or the attempt to start one, came to its end. */
export type ContainerEnd = {
  /** `killed`: from outside, by a signal or by removing it; that is not the program's fault. */
  readonly cause: "exited" | "killed" | "unhealthy" | "start_failed";
  readonly exitCode?: number;
  /** A sentence for people. */
  readonly message: string;
  /** How long it did its work. */
  readonly workedForMs: number;
};

export type RestartDecision =
  | { readonly kind: "restart"; readonly delayMs: number; readonly history: RestartHistory }
  /** Final: it ended as it should, or its policy wants no restart, or this node gives up. */
  | { readonly kind: "completed" | "failed"; readonly history: RestartHistory };

/**
 * Decides what follows the end of a task's container. The first restart comes at once, the
 * next ones after 1 s, 2 s, 4 s … up to a minute, until it has run calmly for a while.
 */
export function decideRestart(
  policy: TaskTemplate["restart"],
  history: RestartHistory,
  end: ContainerEnd,
): RestartDecision {
  const hasSucceeded = end.cause === "exited" && end.exitCode === 0;
  if (policy.condition !== "any" && hasSucceeded) return { kind: "completed", history };
  if (policy.condition === "none") return { kind: "failed", history };

  const before = afterCalm(policy, history, end);
  const { maxAttempts } = policy;
  if (maxAttempts !== undefined && before.attempts >= maxAttempts) {
    return { kind: "failed", history };
  }
  const counted = { ...before, restarts: history.restarts + 1, attempts: before.attempts + 1 };
  if (isFreeKill(before, end)) {
    const next = { ...counted, killsInARow: before.killsInARow + 1 };
    return { kind: "restart", delayMs: policy.delayMs, history: next };
  }
  const isQuick = end.workedForMs < quickRunMs && end.cause !== "killed";
  const quickFailures = isQuick ? before.quickFailures + 1 : before.quickFailures;
  if (quickFailures > maxQuickFailures) return { kind: "failed", history };
  // What could not even be started is not helped by trying again in the same instant.
  const step =
    end.cause === "start_failed" ? Math.max(1, before.backOffSteps) : before.backOffSteps;
  return {
    kind: "restart",
    delayMs: Math.max(policy.delayMs, backOffMs(step)),
    history: { ...counted, quickFailures, backOffSteps: step + 1 },
  };
}

function afterCalm(
  policy: TaskTemplate["restart"],
  history: RestartHistory,
  { workedForMs }: ContainerEnd,
): RestartHistory {
  const windowMs = policy.windowMs > 0 ? policy.windowMs : calmRunMs;
  const isCalm = workedForMs >= windowMs;
  const isQuick = !isCalm && workedForMs < quickRunMs;
  return {
    restarts: history.restarts,
    quickFailures: isQuick ? history.quickFailures : 0,
    backOffSteps: isCalm ? 0 : history.backOffSteps,
    // Whoever keeps killing what works gets it back each time: that is no fault of its own.
    killsInARow: isQuick ? history.killsInARow : 0,
    // Without a window the attempts count for the task's whole life.
    attempts: isCalm && policy.windowMs > 0 ? 0 : history.attempts,
  };
}

function isFreeKill(history: RestartHistory, end: ContainerEnd): boolean {
  const wasUp = end.workedForMs >= upMs || history.killsInARow === 0;
  return end.cause === "killed" && wasUp && history.killsInARow < maxFreeKills;
}

function backOffMs(step: number): number {
  return step === 0 ? 0 : Math.min(backOffFirstMs * 2 ** (step - 1), backOffMaxMs);
}
