/** How a task of a job ended; agreed, because it must never run again once it has succeeded. */
export type TaskResult = {
  readonly outcome: "succeeded" | "failed";
  readonly exitCode?: number;
  /** What went wrong, in a sentence; empty when nothing did. */
  readonly message: string;
  /** Wall clock of its node, ms. */
  readonly atMs: number;
};

/**
 * - `skipped`: was due while the run before was still going on.
 * - `replaced`: was stopped because a newer run took its place.
 */
export type JobRunState = "active" | "succeeded" | "failed" | "skipped" | "replaced";

/** One run of a job. A scheduled one is known by its due time, whoever starts it. */
export type JobRun = {
  /** Counts up within the service. */
  readonly number: number;
  readonly trigger: "deploy" | "schedule" | "manual";
  /** The due time that it belongs to, wall clock, ms. */
  readonly dueAtMs?: number;
  /** Its tasks are of this revision, even when the service has a newer one by now. */
  readonly revision: number;
  readonly startedAtMs: number;
  readonly state: JobRunState;
  readonly endedAtMs?: number;
  /** Why it ended as it did, in a sentence; empty after success. */
  readonly message: string;
};

/** What a plan decides about a run. */
export type RunChange =
  | { readonly kind: "start"; readonly run: JobRun }
  | {
      readonly kind: "end";
      readonly number: number;
      readonly state: Exclude<JobRunState, "active">;
      readonly atMs: number;
      readonly message: string;
    };

/** So many ended runs are remembered. */
export const maxEndedRuns = 20;

/** The runs after a change; undefined when the change does not fit them any more. */
export function withRunChange(
  runs: readonly JobRun[],
  change: RunChange,
): readonly JobRun[] | undefined {
  if (change.kind === "end") {
    const { number, state, atMs, message } = change;
    return runs.map((run) =>
      run.number === number && run.state === "active"
        ? { ...run, state, endedAtMs: atMs, message: message || run.message }
        : run,
    );
  }
  const isStale = runs.some(
    ({ number, dueAtMs }) =>
      number >= change.run.number || (dueAtMs !== undefined && dueAtMs === change.run.dueAtMs),
  );
  if (isStale) return undefined;
  const ended = runs.filter(({ state }) => state !== "active").slice(-maxEndedRuns + 1);
  return runs.filter((run) => run.state === "active" || ended.includes(run)).concat(change.run);
}
